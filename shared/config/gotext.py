"""Texts as Go prints them: quoted strings, lists of errors."""

from __future__ import annotations

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}


def quote(text: str) -> str:
    """A double-quoted Go literal (%q). Bytes that were not UTF-8 (surrogates here) become \\x.."""
    return '"' + "".join(map(_quote_char, text)) + '"'


def _quote_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def error_list(reasons: list[str]) -> str:
    """Several errors as one, in the layout of HashiCorp's go-multierror."""
    if len(reasons) == 1:
        return f"1 error occurred:\n\t* {reasons[0]}\n\n"
    points = "\n\t".join(f"* {reason}" for reason in reasons)
    return f"{len(reasons)} errors occurred:\n\t{points}\n\n"
