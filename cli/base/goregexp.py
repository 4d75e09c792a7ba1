"""Regular expressions given by users. Go's RE2 syntax and Python's agree on what is used here in practice.

Errors are told in the words of Go's regexp/syntax. Look-around and back-references, which RE2 does not
have, are refused.
"""

from __future__ import annotations

import re

_ERRORS = (
    ("missing ), unterminated subpattern", "missing closing ): `{pattern}`"),
    ("unbalanced parenthesis", "unexpected ): `{pattern}`"),
    ("unterminated character set", "missing closing ]: `{rest}`"),
    ("nothing to repeat", "missing argument to repetition operator: `{char}`"),
    ("multiple repeat", "invalid nested repetition operator: `{before}{char}`"),
    ("bad escape (end of pattern)", "trailing backslash at end of expression: ``"),
    ("bad escape", "invalid escape sequence: `{escape}`"),
    ("bad character range", "invalid character class range: `{rest}`"),
    ("unknown extension", "invalid or unsupported Perl syntax: `{group}`"),
)
_PERL_ONLY = ("(?=", "(?!", "(?<=", "(?<!", "(?(", "(?#")


class RegexpError(ValueError):
    """The expression is not one; the message is Go's."""


def compile_regexp(pattern: str) -> re.Pattern[str]:
    """Raises RegexpError."""
    for group in _PERL_ONLY:
        if group in pattern:
            shown = group[:3] if group.startswith("(?<") else group
            raise RegexpError(f"error parsing regexp: invalid or unsupported Perl syntax: `{shown}`")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RegexpError(f"error parsing regexp: {_explain(error, pattern)}") from None


def _explain(error: re.error, pattern: str) -> str:
    at = error.pos or 0
    for text, form in _ERRORS:
        if error.msg.startswith(text):
            return form.format(
                pattern=pattern,
                rest=pattern[at:],
                char=pattern[at : at + 1],
                before=pattern[max(at - 1, 0) : at],
                escape=pattern[at : at + 2],
                group=pattern[max(at - 1, 0) : at + 2],
            )
    return f"{error.msg}: `{pattern}`"
