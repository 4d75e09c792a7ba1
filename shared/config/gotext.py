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


def quote_ascii(text: str) -> str:
    """The same with nothing but ASCII in it (%+q)."""
    return "".join(char if char.isascii() else _escape(ord(char)) for char in quote(text))


def _quote_char(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    return _escape(code)


def _escape(code: int) -> str:
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def error_list(reasons: list[str]) -> str:
    """Several errors as one, in the layout of HashiCorp's go-multierror."""
    if len(reasons) == 1:
        return f"1 error occurred:\n\t* {reasons[0]}\n\n"
    points = "\n\t".join(f"* {reason}" for reason in reasons)
    return f"{len(reasons)} errors occurred:\n\t{points}\n\n"


_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def base64_error(text: str) -> str | None:
    """What encoding/base64 says about text that is not padded standard base64; None if it is."""
    filled = 0  # characters in the current group of four
    characters = [(at, char) for at, char in enumerate(text) if char not in "\r\n"]
    for number, (at, char) in enumerate(characters):
        if char in _BASE64:
            filled = (filled + 1) % 4
            continue
        if char != "=" or filled < 2:
            return _corrupt(at)
        rest = characters[number + 1 :]
        if filled == 2:
            if not rest:
                return _corrupt(len(text))
            if rest[0][1] != "=":
                return _corrupt(rest[0][0])
            rest = rest[1:]
        return _corrupt(rest[0][0]) if rest else None
    return _corrupt(len(text) - filled) if filled else None


def _corrupt(offset: int) -> str:
    return f"illegal base64 data at input byte {offset}"
