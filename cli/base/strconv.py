"""Text to booleans, numbers and bytes by the rules of Go's strconv and encoding/base64, error texts included.

Scripts depend on what Consul accepts: `-detailed=T`, `-flags=0x2a`. Durations and quoting are in
shared/gotext.
"""

from __future__ import annotations

import base64 as _base64
import binascii

from shared.gotext.quoting import quote

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_BASES = {"0x": 16, "0b": 2, "0o": 8}


class RangeError(ValueError):
    """The text is a number, but not one that fits."""


def parse_bool(text: str) -> bool:
    """Raises ValueError with strconv.ParseBool's text for anything but its twelve spellings."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_uint(text: str, bits: int = 64) -> int:
    """Unsigned integer in any of Go's literal forms (base prefix, underscores). Raises ValueError, RangeError."""
    value = _magnitude(text, "ParseUint", text)
    if value >= 1 << bits:
        raise RangeError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return value


def parse_int(text: str, bits: int = 64) -> int:
    """Signed integer in any of Go's literal forms. Raises ValueError, RangeError."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    value = _magnitude(digits, "ParseInt", text)
    if text.startswith("-"):
        value = -value
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise RangeError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value


def _magnitude(digits: str, function: str, text: str) -> int:
    invalid = ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    if not digits or digits[0] in "+-_" or not digits.isascii() or digits != digits.strip():
        raise invalid
    base = _BASES.get(digits[:2].lower(), 8 if len(digits) > 1 and digits[0] == "0" else 10)
    body = digits[2:] if digits[:2].lower() in _BASES else digits
    try:
        return int(body.removeprefix("_"), base)
    except ValueError:
        raise invalid from None


def base64_decode(text: bytes) -> bytes:
    """Padded standard base64, line breaks ignored. Raises ValueError saying at which byte it is wrong."""
    clean = text.replace(b"\n", b"").replace(b"\r", b"")
    try:
        if len(clean) % 4 or clean.endswith(b"==="):  # Python lets surplus padding pass
            raise binascii.Error
        return _base64.b64decode(clean, validate=True)
    except binascii.Error:
        raise ValueError(f"illegal base64 data at input byte {_corrupt_at(text)}") from None


def _corrupt_at(text: bytes) -> int:
    """Offset that encoding/base64 reports: the first byte which cannot continue a valid encoding."""
    alphabet = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    in_quantum = 0
    for offset, byte in enumerate(text):
        if byte in b"\r\n":
            continue
        if byte in alphabet:
            in_quantum = (in_quantum + 1) % 4
        elif byte == 0x3D and in_quantum >= 2:
            return _corrupt_padding(text, offset, in_quantum)
        else:
            return offset
    # Ran out inside a quantum: the fault is said to lie where that quantum began.
    return len(text) - in_quantum


def _corrupt_padding(text: bytes, offset: int, in_quantum: int) -> int:
    rest = [at for at in range(offset + 1, len(text)) if text[at] not in b"\r\n"]
    if in_quantum == 2:
        if not rest:
            return len(text)
        if text[rest[0]] != 0x3D:
            return rest[0] - 1
        rest = rest[1:]
    return rest[0] if rest else len(text)
