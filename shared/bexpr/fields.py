"""What a filter may ask of a value: for every field its kind, its operators, and how literals are read.

Consul derives this from Go types by reflection; here each struct that can be filtered is described once
(selectors are Consul's field names, attributes are ours).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from shared.bexpr.ast import MatchOperator as Op
from shared.gotext.numbers import parse_bool, parse_int, parse_uint

_COMPARE = frozenset({Op.EQUAL, Op.NOT_EQUAL})
_TEXT = _COMPARE | {Op.IN, Op.NOT_IN, Op.MATCHES, Op.NOT_MATCHES}
_EMPTINESS = frozenset({Op.IS_EMPTY, Op.IS_NOT_EMPTY})
_CONTAINER = _EMPTINESS | {Op.IN, Op.NOT_IN}


@dataclass(frozen=True, slots=True)
class FieldConfig:
    """`kind` is string, bool, int, uint, list, map or struct; `item` describes list items or map values."""

    kind: str
    operators: frozenset[Op]
    item: FieldConfig | None = None
    fields: StructFields = field(default_factory=dict)


StructFields: TypeAlias = Mapping[str, tuple[str, FieldConfig]]
"""Selector name -> (attribute of our struct, description)."""

STRING = FieldConfig("string", _TEXT)
BOOL = FieldConfig("bool", _COMPARE)
INT = FieldConfig("int", _COMPARE)
UINT = FieldConfig("uint", _COMPARE)


def list_of(item: FieldConfig) -> FieldConfig:
    """A list: of scalars it can be searched, of structs its items' fields can be selected ("any of them")."""
    if item.kind == "struct":
        return FieldConfig("list", _EMPTINESS, item, item.fields)
    return FieldConfig("list", _CONTAINER, item)


def map_of(value: FieldConfig) -> FieldConfig:
    """A map with string keys: `in` searches the keys, one more selector picks a value."""
    return FieldConfig("map", _CONTAINER, value)


def struct_of(fields: StructFields) -> FieldConfig:
    return FieldConfig("struct", frozenset(), None, fields)


def coerce(config: FieldConfig, raw: str) -> Any:
    """The literal `raw` as the field (or the items of the list) needs it. Raises ValueError.

    Texts are those of Go's strconv, which the API shows."""
    kind = config.kind
    if kind == "list" and config.item is not None:
        kind = config.item.kind
    if kind == "bool":
        return parse_bool(raw)
    if kind == "int":
        return parse_int(raw)
    if kind == "uint":
        return parse_uint(raw)
    return raw
