"""Booleans, integers (base 0) and floats as Go's strconv reads them, error texts included."""

from __future__ import annotations

import math
import re

from shared.gotext.quoting import quote

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_OUT_OF_RANGE = 1 << 64
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[+-]?0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.IGNORECASE)
_SPECIAL = re.compile(r"[+-]?(inf|infinity)|nan", re.IGNORECASE)


class RangeError(ValueError):
    """The text is a number, but not one that fits."""


def parse_bool(text: str) -> bool:
    """Raises ValueError with strconv.ParseBool's text for anything but its twelve spellings."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_uint(text: str) -> int:
    """Unsigned 64-bit integer in any of Go's literal forms: 0x, 0o, 0b, a leading 0 for octal, underscores.

    Raises ValueError, RangeError."""
    value = _magnitude(text, "ParseUint", text)
    if value >= 1 << 64:
        raise RangeError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return value


def parse_int(text: str) -> int:
    """Signed 64-bit integer in the same forms. Raises ValueError, RangeError."""
    value = _magnitude(text[1:] if text[:1] in ("+", "-") else text, "ParseInt", text)
    if text.startswith("-"):
        value = -value
    if not -(1 << 63) <= value < 1 << 63:
        raise RangeError(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value


def parse_atoi(text: str) -> int:
    """Signed 64-bit integer, decimal only. Raises ValueError, RangeError."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
    try:
        value = -int(digits) if text.startswith("-") else int(digits)
    except ValueError:
        value = _OUT_OF_RANGE  # only its length is what Python refuses
    if not -(1 << 63) <= value < 1 << 63:
        raise RangeError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
    return value


def parse_float(text: str) -> float:
    """A float64, decimal or hexadecimal, infinite or not a number. Raises ValueError, RangeError."""
    if _SPECIAL.fullmatch(text):
        return float(text)
    try:
        if _HEXADECIMAL.fullmatch(text):
            return float.fromhex(text)
        if not _DECIMAL.fullmatch(text):
            raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")
        number = float(text)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise RangeError(f"strconv.ParseFloat: parsing {quote(text)}: value out of range")
    return number


def _magnitude(digits: str, function: str, text: str) -> int:
    invalid = ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    if not digits.isascii() or not digits[:1].isdigit() or digits != digits.strip():
        raise invalid
    old_octal = digits[0] == "0" and (digits[1:2].isdigit() or digits[1:2] == "_")
    try:
        return int("0o" + digits[1:] if old_octal else digits, 0)
    except ValueError:
        if digits.isdigit() and not old_octal:
            return _OUT_OF_RANGE  # only its length is what Python refuses
        raise invalid from None
