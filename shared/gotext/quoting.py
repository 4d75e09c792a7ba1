"""Strings as Go quotes them in messages."""

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


def quote_ascii(text: str) -> str:
    """The same with nothing but ASCII in it (%+q)."""
    return "".join(char if char.isascii() else _code_escape(ord(char)) for char in quote(text))


def _quote_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    return _code_escape(code)


def _code_escape(code: int) -> str:
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
