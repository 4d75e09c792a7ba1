"""Reads parsed JSON into a Struct where nothing about it is out of the ordinary, which is nearly always.

Keys are spelled as Go spells them and values have the type of their field. Whatever is not like that is left to
`json_decode`, which gives the very same records, and knows what to say of mistakes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

from shared.structs.schema import Kind, Struct

S = TypeVar("S", bound=Struct)

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1


class _UnusualError(Exception):
    """Something here is for the full decoder."""


_Read = Callable[[Any], Any]


def decode_plain(cls: type[S], value: Any) -> S | None:
    """A new `cls` filled from a JSON object, None if the full decoder has to do it."""
    try:
        return _filled(cls, value) if value.__class__ is dict else None
    except _UnusualError:
        return None


def _filled(cls: type[S], value: dict[str, Any]) -> S:
    made = cls()
    table = _table(cls)
    for key, item in value.items():
        try:
            name, wanted, read = table[key]
        except KeyError:
            raise _UnusualError from None
        if item.__class__ is not wanted:
            raise _UnusualError
        setattr(made, name, item if read is None else read(item))
    made.after_json()
    return made


@lru_cache(maxsize=256)
def _table(cls: type[Struct]) -> dict[str, tuple[str, type, _Read | None]]:
    """By JSON key: the field's name, the only type that is read here, and what is done with it."""
    made: dict[str, tuple[str, type, _Read | None]] = {}
    for declared in cls.attrs:
        how = _reader(declared.kind, declared.go_type)
        if declared.json is not None and how is not None:
            made[declared.json] = (declared.name, *how)
    return made


def _reader(kind: Kind, go_type: str) -> tuple[type, _Read | None] | None:
    """The type and the reading of a kind; None for one that the full decoder has to read."""
    if kind.name in ("str", "bool"):
        return (str if kind.name == "str" else bool), None
    if kind.name in ("int", "duration") and go_type in ("int", "int64", "time.Duration"):
        return int, _int64
    if kind.name in ("struct", "opt"):
        assert kind.target is not None
        target = kind.target()
        return dict, lambda item: _filled(target, item)
    if kind.name in ("list", "map") and kind.inner is not None and kind.inner.name in ("str", "struct", "opt"):
        inner = _reader(kind.inner, kind.inner.go_type)
        assert inner is not None
        return (list, _each(*inner)) if kind.name == "list" else (dict, _each_value(*inner))
    return None


def _int64(item: int) -> int:
    if not _INT64_MIN <= item <= _INT64_MAX:
        raise _UnusualError
    return item


def _each(wanted: type, read: _Read | None) -> _Read:
    def read_list(items: list[Any]) -> list[Any]:
        for item in items:
            if item.__class__ is not wanted:
                raise _UnusualError
        return items if read is None else [read(item) for item in items]

    return read_list


def _each_value(wanted: type, read: _Read | None) -> _Read:
    def read_map(items: dict[str, Any]) -> dict[str, Any]:
        for item in items.values():
            if item.__class__ is not wanted:
                raise _UnusualError
        return items if read is None else {key: read(item) for key, item in items.items()}

    return read_map
