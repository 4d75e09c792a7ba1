"""Texts as Go formats them: %q of a string, and the rules and error texts of UUIDs."""

from __future__ import annotations

import re

_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_NEEDS_ESCAPE = re.compile(r"[^ !#-\[\]-~]")


def quote(text: str) -> str:
    """A Go string literal, as %q and %#v print it."""
    return f'"{_NEEDS_ESCAPE.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if char.isprintable():
        return char
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in the usual form."""
    return _UUID.fullmatch(text) is not None


def uuid_problem(text: str) -> str | None:
    """Why a text is not a UUID, in the words of the parser Consul uses for node ids. None if it is one."""
    if is_uuid(text):
        return None
    if _byte_length(text) != 36:
        return "uuid string is wrong length"
    if any(text[at : at + 1] != "-" for at in (8, 13, 18, 23)):
        return "uuid is improperly formatted"
    return _hex_problem("".join((text[:8], text[9:13], text[14:18], text[19:23], text[24:36])))


def uuid_index_problem(text: str) -> str | None:
    """Why a text cannot be looked up in a table keyed by UUID, None if it can."""
    if is_uuid(text):
        return None
    if _byte_length(text) != 36:
        return "UUID must be 36 characters"
    hyphens = text.count("-")
    if hyphens > 4:
        return f'UUID should have maximum of 4 "-"; got {hyphens}'
    digits = text.replace("-", "")
    if _byte_length(digits) % 2:
        return "Input (without hyphens) must be even length"
    problem = _hex_problem(digits)
    return None if problem is None else f"Invalid UUID: {problem}"


def _byte_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _hex_problem(digits: str) -> str | None:
    for char in digits:
        if char not in "0123456789abcdefABCDEF":
            shown = f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
            return f"encoding/hex: invalid byte: {shown}"
    return None
