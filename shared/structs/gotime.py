"""Go's time.Time: its text, and its 15 raw bytes on the wire.

time_to_text(raw) -> RFC 3339 with nanoseconds   time_from_text(text) -> raw
time_from_unix_ns(ns) -> raw (UTC)               ZERO_TIME = Go's zero time"""

from __future__ import annotations

import re
from struct import Struct as Packing

from shared.structs.errors import JsonError

_TIME = Packing(">BqIh")
_YEAR_1_TO_UNIX_S = 62135596800
UTC_MARKER = -1
ZERO_TIME = _TIME.pack(1, 0, 0, UTC_MARKER)


def time_from_unix_ns(unix_ns: int) -> bytes:
    """Raw wire bytes of a moment, marked UTC."""
    seconds, ns = divmod(unix_ns, 1_000_000_000)
    return _TIME.pack(1, seconds + _YEAR_1_TO_UNIX_S, ns, UTC_MARKER)


def time_to_unix_ns(raw: bytes) -> int:
    """Nanoseconds since 1970 of raw wire bytes. Raises ValueError if they are no time."""
    version, seconds, ns, _offset = _unpack(raw)
    del version
    return (seconds - _YEAR_1_TO_UNIX_S) * 1_000_000_000 + ns


def time_to_text(raw: bytes) -> str:
    """RFC 3339 with as many fraction digits as needed, as Go's JSON shows a time."""
    from datetime import datetime, timedelta

    _version, seconds, ns, offset_min = _unpack(raw)
    shown_min = 0 if offset_min == UTC_MARKER else offset_min
    moment = datetime(1, 1, 1) + timedelta(seconds=seconds, minutes=shown_min)
    fraction = f".{ns:09d}".rstrip("0").rstrip(".")
    if offset_min in (UTC_MARKER, 0):
        zone = "Z"
    else:
        hours, minutes = divmod(abs(offset_min), 60)
        zone = f"{'-' if offset_min < 0 else '+'}{hours:02d}:{minutes:02d}"
    return f"{moment.isoformat()}{fraction}{zone}"


_TEXT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)


def time_from_text(text: str) -> bytes:
    """Raw wire bytes of an RFC 3339 text. Raises JsonError."""
    from datetime import datetime

    match = _TEXT.fullmatch(text)
    if match is None:
        raise JsonError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}"')
    try:
        moment = datetime(*(int(part) for part in match.groups()[:6]))  # type: ignore[arg-type]
    except ValueError as error:
        raise JsonError(f'parsing time "{text}": {error}') from error
    since = moment - datetime(1, 1, 1)
    seconds = since.days * 86400 + since.seconds
    ns = int((match.group(7) or "0")[:9].ljust(9, "0"))
    zone = match.group(8)
    if zone == "Z":
        return _TIME.pack(1, seconds, ns, UTC_MARKER)
    offset_min = int(zone[1:3]) * 60 + int(zone[4:6])
    if zone[0] == "-":
        offset_min = -offset_min
    return _TIME.pack(1, seconds - offset_min * 60, ns, offset_min)


def _unpack(raw: bytes) -> tuple[int, int, int, int]:
    if len(raw) != _TIME.size or raw[0] != 1:
        raise ValueError(f"not a binary time: {raw.hex()}")
    version, seconds, ns, offset = _TIME.unpack(raw)
    return version, seconds, ns, offset
