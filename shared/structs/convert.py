"""Conversions the generated codecs call for values that are not already as they should be."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from shared.gotext.durations import format_duration_ns
from shared.structs.errors import WireTypeError
from shared.structs.gotime import ZERO_TIME, time_to_text
from shared.structs.schema import Struct

__all__ = ["ZERO_TIME", "format_duration_ns", "time_to_text"]


def _wrong(value: object, expected: str, where: str) -> WireTypeError:
    return WireTypeError(f"{where}: expected {expected}, got {type(value).__name__}")


def as_mapping(cls: type[Struct], value: object) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise _wrong(value, "a map", cls.go_name)


def wire_str(value: object, where: str) -> str:
    if value.__class__ is str:
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise _wrong(value, "text", where)


def wire_bool(value: object, where: str) -> bool:
    if value is None:
        return False
    if isinstance(value, bool):
        return value
    raise _wrong(value, "a bool", where)


def wire_int(value: object, where: str) -> int:
    if value is None:
        return 0
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer() and -(2.0**63) <= value < 2.0**64:
        return int(value)
    raise _wrong(value, "an integer", where)


def wire_uint(value: object, where: str) -> int:
    number = value if value.__class__ is int else wire_int(value, where)
    if number < 0:
        raise WireTypeError(f"{where}: expected an unsigned integer, got {number}")
    return number


def wire_float(value: object, where: str) -> float:
    if value.__class__ is float:
        return value
    if value is None:
        return 0.0
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise _wrong(value, "a number", where)


def wire_bytes(value: object, where: str) -> bytes | None:
    """Bytes of a raw. An empty raw is nil, as Consul's decoder makes it."""
    if not value:
        if value is None or value in ("", b""):
            return None
        raise _wrong(value, "bytes", where)
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise _wrong(value, "bytes", where)


def wire_time(value: object, where: str) -> bytes:
    raw = wire_bytes(value, where)
    if raw is None:
        return ZERO_TIME
    if len(raw) != len(ZERO_TIME):
        raise _wrong(value, "a time", where)
    return raw


def wire_list(value: object, where: str) -> list[Any] | tuple[Any, ...]:
    if isinstance(value, list | tuple):
        return value
    raise _wrong(value, "a list", where)


def wire_map(value: object, where: str) -> Mapping[Any, Any]:
    if isinstance(value, Mapping):
        return value
    raise _wrong(value, "a map", where)


_zero_rows: dict[type[Struct], list[Any]] = {}


def row_or_none(value: Struct, cls: type[Struct]) -> list[Any] | None:
    """The row of a nested struct, None for a zero value: most services have an empty proxy part."""
    zero = _zero_rows.get(cls)
    if zero is None:
        zero = _zero_rows[cls] = cls().to_row()
    row = value.to_row()
    return None if row == zero else row


def json_bytes(value: bytes | None) -> str | None:
    """Base64, or null for nil. A KV value that is empty is nil by the time it is stored."""
    return None if value is None else b64encode(value).decode("ascii")


def json_map(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """A map in the order Go prints it: sorted by key."""
    if value is None or len(value) < 2:
        return value
    return dict(sorted(value.items()))


def json_any(value: Any) -> Any:
    """A free-form value with every map inside sorted."""
    if isinstance(value, dict):
        return {str(k): json_any(v) for k, v in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, list | tuple):
        return [json_any(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value
