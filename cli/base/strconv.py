"""Text to number and back by the rules of Go's strconv, time and fmt packages, error texts included.

Scripts depend on what Consul accepts (`-detailed=T`, `-flags=0x2a`, `-wait=1m30s`) and on what it prints.
"""

from __future__ import annotations

import base64 as _base64
import binascii

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_BASES = {"0x": 16, "0b": 2, "0o": 8}
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_MAX_INT64 = 2**63 - 1
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


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


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a Go duration such as "1m30s" or "-1.5h". Raises ValueError with time's text."""
    bad = ValueError(f"time: invalid duration {quote(text)}")
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise bad
    total = 0
    while rest:
        number_length = _span(rest, "0123456789.")
        number, rest = rest[:number_length], rest[number_length:]
        if number.strip(".") == "" or number.count(".") > 1:
            raise bad
        unit_length = 0
        while unit_length < len(rest) and rest[unit_length] not in "0123456789.":
            unit_length += 1
        unit, rest = rest[:unit_length], rest[unit_length:]
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS_NS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        whole, _, fraction = number.partition(".")
        total += int(whole or "0") * _UNITS_NS[unit]
        if fraction:
            total += int(fraction) * _UNITS_NS[unit] // 10 ** len(fraction)
        if total > _MAX_INT64:
            raise bad
    return -total if text.startswith("-") else total


def _span(text: str, allowed: str) -> int:
    length = 0
    while length < len(text) and text[length] in allowed:
        length += 1
    return length


def format_duration(nanoseconds: int) -> str:
    """A duration as Go prints it: "1.5s", "2m0s", "300ms", "0s"."""
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if value == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if value < size * 1000 and value < 1_000_000_000:
            return f"{sign}{_decimal(value, size)}{unit}"
    minutes, rest = divmod(value, 60 * 1_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_decimal(rest, 1_000_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    if not fraction:
        return str(whole)
    return f"{whole}.{str(fraction).zfill(len(str(size)) - 1).rstrip('0')}"


def quote(text: str) -> str:
    """A double-quoted Go string literal (fmt's %q). Bytes that are not UTF-8 (surrogates here) become \\x.."""
    parts = ['"']
    for char in text:
        code = ord(char)
        if code in _ESCAPES:
            parts.append(_ESCAPES[code])
        elif 0xDC80 <= code <= 0xDCFF:
            parts.append(f"\\x{code - 0xDC00:02x}")
        elif char.isprintable():
            parts.append(char)
        elif code < 0x80:
            parts.append(f"\\x{code:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    parts.append('"')
    return "".join(parts)


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
