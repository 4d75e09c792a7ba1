"""Go's string literals, as strconv.Unquote reads them."""

from __future__ import annotations

import re

_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


def unquote(literal: str) -> str:
    """The string a Go literal stands for, in double quotes or back quotes.

    Raises ValueError("invalid syntax") as strconv.Unquote does: raw newline, unknown escape, bad code point."""
    mark, body = literal[0], literal[1:-1]
    if mark == "`":
        return body.replace("\r", "")
    if "\n" in body:
        raise ValueError("invalid syntax")
    out, at = bytearray(), 0
    while at < len(body):
        if body[at] != "\\":
            end = body.find("\\", at)
            end = len(body) if end < 0 else end
            out += body[at:end].encode("utf-8", "surrogateescape")
            at = end
            continue
        match = _ESCAPE.match(body, at)
        if match is None:
            raise ValueError("invalid syntax")
        out += _unescaped(match)
        at = match.end()
    return out.decode("utf-8", "replace")


def _unescaped(match: re.Match[str]) -> bytes:
    two, four, eight, octal, short = match.groups()
    if two is not None:
        return bytes([int(two, 16)])
    if octal is not None and int(octal, 8) < 256:
        return bytes([int(octal, 8)])
    if short in _SHORT:
        return _SHORT[short].encode()
    code = int(four or eight or "-1", 16)
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise ValueError("invalid syntax")
    return chr(code).encode()
