"""Durations as Go's time package writes and reads them: "1m30s", "1.5ms", "-2h0m0s"."""

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
_PART = re.compile(r"(\d*)(\.\d*)?([^\d.]*)", re.ASCII)
_MAX_NS = (1 << 63) - 1
_MAX_DIGITS = 19
"""Of a number below _MAX_NS; Python refuses to convert thousands."""


class DurationError(ValueError):
    """The text is not a duration; the message is the one Go gives."""


def parse_duration_s(text: str) -> float:
    """As parse_duration_ns, in seconds."""
    return parse_duration_ns(text) / 1e9


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a Go duration string such as "300ms", "-1.5h" or "2h45m".

    Raises DurationError for anything else, bare numbers included (only "0" needs no unit)."""
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


def format_duration_s(seconds: float) -> str:
    """As format_duration_ns: 90 -> "1m30s", 0.2 -> "200ms", 0 -> "0s"."""
    return format_duration_ns(round(seconds * 1e9))


def format_duration_ns(ns: int) -> str:
    """The text Go's Duration.String gives: "0s", "1.5ms", "1m30s", "-2h0m0s"."""
    if ns == 0:
        return "0s"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < 1_000:
        return f"{sign}{ns}ns"
    if ns < 1_000_000:
        return f"{sign}{_decimal(ns, 1_000)}µs"
    if ns < 1_000_000_000:
        return f"{sign}{_decimal(ns, 1_000_000)}ms"
    minutes, rest_ns = divmod(ns, 60_000_000_000)
    text = f"{_decimal(rest_ns, 1_000_000_000)}s"
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
