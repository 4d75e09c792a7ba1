"""Go durations: "1m30s" to seconds and back, with the texts of Go's time package."""

from __future__ import annotations

import re

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d*)(\.\d*)?([^\d.]*)")
_MAX_NS = (1 << 63) - 1
_MAX_DIGITS = 19
"""Of a number below _MAX_NS; Python refuses to convert thousands."""


class DurationError(ValueError):
    """The text is not a duration; the message is the one Go gives."""


def parse_duration(text: str) -> float:
    """Seconds of a Go duration string such as "300ms", "-1.5h" or "2h45m".

    Raises DurationError for anything else, bare numbers included (only "0" needs no unit)."""
    return parse_duration_ns(text) / 1e9


def parse_duration_ns(text: str) -> int:
    """As parse_duration, in nanoseconds and exact."""
    invalid = f"time: invalid duration {_quote(text)}"
    rest, sign = text, 1
    if rest[:1] in ("-", "+"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise DurationError(invalid)
    total = 0
    while rest:
        if rest[0] != "." and rest[0] not in "0123456789":
            raise DurationError(invalid)
        match = _PART.match(rest)
        assert match is not None
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if not whole and len(fraction) < 2:
            raise DurationError(invalid)
        if not unit:
            raise DurationError(f"time: missing unit in duration {_quote(text)}")
        if unit not in _UNITS_NS:
            raise DurationError(f"time: unknown unit {_quote(unit)} in duration {_quote(text)}")
        if len(whole.lstrip("0")) > _MAX_DIGITS:
            raise DurationError(invalid)
        scale = _UNITS_NS[unit]
        total += int(whole[-_MAX_DIGITS:] or "0") * scale
        digits = fraction[1 : _MAX_DIGITS + 1]
        if digits:
            total += int(digits) * scale // 10 ** len(digits)
        if total > _MAX_NS:
            raise DurationError(invalid)
        rest = rest[match.end() :]
    return sign * total


def format_duration(seconds: float) -> str:
    """The shortest form Go prints: 90 -> "1m30s", 0.2 -> "200ms", 0 -> "0s"."""
    total = round(seconds * 1e9)
    sign, ns = ("-", -total) if total < 0 else ("", total)
    if ns == 0:
        return "0s"
    for unit, scale in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if ns < scale * 1000:
            return f"{sign}{_decimal(ns, scale)}{unit}"
    minutes, rest = divmod(ns, _UNITS_NS["m"])
    text = f"{_decimal(rest, _UNITS_NS['s'])}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = (f"{hours}h" if hours else "") + f"{minutes}m" + text
    return sign + text


def _quote(text: str) -> str:
    return f'"{text}"'  # Go 1.15 escapes nothing here


def _decimal(value: int, scale: int) -> str:
    whole, fraction = divmod(value, scale)
    if not fraction:
        return str(whole)
    return f"{whole}.{str(fraction).zfill(len(str(scale)) - 1).rstrip('0')}"

