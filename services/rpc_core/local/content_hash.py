"""The hash of a service as the agent shows it, by which clients wait for changes of it (?hash=).

Equal to Consul's, so that a client can go from one kind of agent to the other: the algorithm of Go's hashstructure
over the type that is shown. FNV-1 with 64 bits of numbers (little endian, 8 bytes), text and names; lists are
chained in order, structs and maps are the XOR of their fields' and pairs' hashes."""

from __future__ import annotations

import struct as packing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from shared.structs.agent import AgentConnect, AgentService
from shared.structs.schema import Kind, Struct

_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF
_NAMES = {"Weights": "AgentWeights"}
"""Go's names of types that the client library has under another name."""


def content_hash(service: AgentService) -> str:
    """The hash in hexadecimal without leading zeros. `service.content_hash` must be empty."""
    return f"{_hash_struct(service):x}"


def _fnv(data: bytes) -> int:
    value = _OFFSET
    for byte in data:
        value = (value * _PRIME & _MASK) ^ byte
    return value


@lru_cache(maxsize=1024)
def _text(text: str) -> int:
    return _fnv(text.encode("utf-8", "surrogateescape"))


def _pair(first: int, second: int) -> int:
    return _fnv(packing.pack("<QQ", first, second))


_NIL = _fnv(bytes(8))
"""A nil pointer or interface is hashed as the integer 0."""


def _hash_struct(value: Struct) -> int:
    name = type(value).go_name
    total = _text(_NAMES.get(name, name))
    for declared in value.attrs:
        field = getattr(value, declared.name)
        total ^= _pair(_text(declared.wire), _hash_field(declared.kind, field))
    if isinstance(value, AgentConnect):
        total ^= _pair(_text("SidecarService"), _NIL)
    return total


def _hash_field(kind: Kind, value: Any) -> int:
    if kind.name == "list":
        return _hash_items(value or (), kind.inner)
    if kind.name == "map":
        return _hash_pairs(value or {}, kind.inner)
    if kind.name == "int" or kind.name == "uint":
        return _fnv((value & _MASK).to_bytes(8, "little"))
    return _hash_value(value)


def _hash_items(items: Any, inner: Kind | None) -> int:
    one: Callable[[Any], int] = _hash_value if inner is None else lambda item: _hash_field(inner, item)
    total = 0
    for item in items:
        total = _pair(total, one(item))
    return total


def _hash_pairs(pairs: dict[str, Any], inner: Kind | None) -> int:
    one: Callable[[Any], int] = _hash_value if inner is None else lambda item: _hash_field(inner, item)
    total = 0
    for key, item in pairs.items():
        total ^= _pair(_text(key), one(item))
    return total


def _hash_value(value: Any) -> int:
    """A value whose type says how: text, flags, nested structs, and what a free-form configuration holds, in which
    every number is a float64."""
    if isinstance(value, Struct):
        return _hash_struct(value)
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return _NIL
    if isinstance(value, bool):
        return _fnv(b"\x01" if value else b"\x00")
    if isinstance(value, int | float):
        return _fnv(packing.pack("<d", value))
    if isinstance(value, dict):
        return _hash_pairs(value, None)
    return _hash_items(value, None)
