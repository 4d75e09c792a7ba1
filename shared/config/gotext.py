"""What encoding/base64 says about bad keys."""

from __future__ import annotations

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
