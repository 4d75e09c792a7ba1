"""A packrat PEG machine that reports failures the way pigeon-generated Go parsers do.

A rule is built from combinators; each is a function (parser, position) -> (value, end) or None on failure.
The machine records, for the farthest position at which something was wanted, the set of what was wanted:
that set is the error message. Results are remembered per (rule, position), so parsing takes linear time
where the original goes exponential on nested parentheses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.bexpr.errors import FilterError
from shared.gotext.quoting import quote

Result = tuple[Any, int] | None
Parse = Callable[["Parser", int], Result]
Action = Callable[..., Any]


class Parser:
    """One run over `text`. `errors` collects messages that rules raise themselves, in order."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.errors: list[str] = []
        self._farthest = 0
        self._wanted: set[str] = set()
        self._inverted = False
        self._memo: dict[tuple[str, int, bool], Result] = {}

    def run(self, start: Parse) -> Any:
        """The value of the start rule. Raises FilterError with every recorded message, one per line."""
        result = start(self, 0)
        if result is None and not self.errors:
            wanted = sorted(want for want in self._wanted if want != "!.")
            if "!." in self._wanted:
                wanted.append("EOF")
            listed = wanted[0] if len(wanted) == 1 else f"{', '.join(wanted[:-1])} or {wanted[-1]}"
            self.errors.append(f"{position(self.text, self._farthest)}: no match found, expected: {listed}")
        if self.errors:
            raise FilterError("\n".join(dict.fromkeys(self.errors)))
        assert result is not None
        return result[0]

    def want(self, matched: bool, at: int, what: str) -> None:
        """Note that `what` was tried at `at`; inside a negative lookahead a success is the failure."""
        if matched != self._inverted or at < self._farthest:
            return
        if at > self._farthest:
            self._farthest = at
            self._wanted.clear()
        self._wanted.add("!" + what if self._inverted else what)

    def error(self, at: int, rule: str, message: str) -> None:
        self.errors.append(f"{position(self.text, at)}: rule {rule}: {message}")


def position(text: str, at: int) -> str:
    """Line, column in characters, offset in bytes: `1:12 (11)`."""
    before = text[:at]
    line_start = before.rfind("\n") + 1
    column = at - line_start + 1
    line = before.count("\n") + 1
    if at < len(text) and text[at] == "\n":
        line, column = line + 1, 0  # the reader counts a line as begun once its newline is the next rune
    return f"{line}:{column} ({len(before.encode())})"


def literal(text: str) -> Parse:
    quoted = quote(text)

    def parse(parser: Parser, at: int) -> Result:
        matched = parser.text.startswith(text, at)
        parser.want(matched, at, quoted)
        return (text, at + len(text)) if matched else None

    return parse


def char_class(shown: str, chars: str) -> Parse:
    """One character out of `chars`; `shown` is its spelling in error messages."""
    allowed = frozenset(chars)

    def parse(parser: Parser, at: int) -> Result:
        matched = at < len(parser.text) and parser.text[at] in allowed
        parser.want(matched, at, shown)
        return (parser.text[at], at + 1) if matched else None

    return parse


def any_char(parser: Parser, at: int) -> Result:
    matched = at < len(parser.text)
    parser.want(matched, at, ".")
    return (parser.text[at], at + 1) if matched else None


def sequence(*parts: Parse) -> Parse:
    """All parts one after another; the value is the list of theirs."""

    def parse(parser: Parser, at: int) -> Result:
        values = []
        for part in parts:
            result = part(parser, at)
            if result is None:
                return None
            value, at = result
            values.append(value)
        return values, at

    return parse


def choice(*alternatives: Parse) -> Parse:
    def parse(parser: Parser, at: int) -> Result:
        for alternative in alternatives:
            result = alternative(parser, at)
            if result is not None:
                return result
        return None

    return parse


def optional(part: Parse) -> Parse:
    def parse(parser: Parser, at: int) -> Result:
        return part(parser, at) or (None, at)

    return parse


def repeat(part: Parse, least: int = 0) -> Parse:
    def parse(parser: Parser, at: int) -> Result:
        values = []
        while (result := part(parser, at)) is not None:
            value, at = result
            values.append(value)
        return (values, at) if len(values) >= least else None

    return parse


def follows(part: Parse) -> Parse:
    def parse(parser: Parser, at: int) -> Result:
        return None if part(parser, at) is None else (None, at)

    return parse


def not_follows(part: Parse) -> Parse:
    def parse(parser: Parser, at: int) -> Result:
        parser._inverted = not parser._inverted
        result = part(parser, at)
        parser._inverted = not parser._inverted
        return (None, at) if result is None else None

    return parse


def text_of(part: Parse) -> Parse:
    """The matched text itself as the value."""

    def parse(parser: Parser, at: int) -> Result:
        result = part(parser, at)
        return None if result is None else (parser.text[at : result[1]], result[1])

    return parse


def action(part: Parse, build: Callable[[Any], Any], rule: str = "") -> Parse:
    """`build` makes the value; a ValueError of it becomes a message at the start of the match."""

    def parse(parser: Parser, at: int) -> Result:
        result = part(parser, at)
        if result is None:
            return None
        try:
            return build(result[0]), result[1]
        except ValueError as error:
            parser.error(at, rule, str(error))
            return "", result[1]

    return parse


def fail(rule: str, message: str) -> Parse:
    """Never matches, and leaves a message of its own: what this point of the grammar means is a mistake."""

    def parse(parser: Parser, at: int) -> Result:
        parser.error(at, rule, message)
        return None

    return parse


def memo(name: str, part: Parse) -> Parse:
    """Remember the result per position (and per polarity, which decides what counts as a failure)."""

    def parse(parser: Parser, at: int) -> Result:
        key = (name, at, parser._inverted)
        if key in parser._memo:
            return parser._memo[key]
        result = parser._memo[key] = part(parser, at)
        return result

    return parse


def forward(lookup: Callable[[], Parse]) -> Parse:
    """A reference to a rule that is defined later."""

    def parse(parser: Parser, at: int) -> Result:
        return lookup()(parser, at)

    return parse
