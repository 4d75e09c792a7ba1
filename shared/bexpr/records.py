"""Which fields of Consul's records a filter may name: derived from their declarations, minus what Consul hides.

fields_of(cls) -> StructFields   for create_filter(expression, fields_of(Node))"""

from __future__ import annotations

from functools import cache

from shared.bexpr.fields import BOOL, INT, STRING, UINT, FieldConfig, StructFields, list_of, map_of, struct_of
from shared.structs.schema import Kind, Struct

_HIDDEN = frozenset(
    {
        "CreateIndex",
        "ModifyIndex",
        "LocallyRegisteredAsSidecar",
        "SidecarService",
        "IngressHosts",
        "Definition",
        "Config",
        "ContentHash",
    }
)
"""Fields that Consul tags as not filterable, in every record that has them."""
_SCALARS = {"str": STRING, "bool": BOOL, "int": INT, "uint": UINT}


@cache
def fields_of(cls: type[Struct]) -> StructFields:
    """Selector -> (attribute, description) of every field of `cls` that a filter may name."""
    fields: dict[str, tuple[str, FieldConfig]] = {}
    for declared in cls.attrs:
        config = None if declared.wire in _HIDDEN else _config(declared.kind)
        if config is not None:
            fields[declared.wire] = (declared.name, config)
    return fields


def _config(kind: Kind) -> FieldConfig | None:
    """None for kinds that no operator applies to (times, free-form values)."""
    if kind.name in _SCALARS:
        return _SCALARS[kind.name]
    if kind.name in ("struct", "opt") and kind.target is not None:
        return struct_of(fields_of(kind.target()))
    inner = _config(kind.inner) if kind.inner is not None else None
    if inner is not None and kind.name == "list":
        return list_of(inner)
    if inner is not None and kind.name == "map":
        return map_of(inner)
    return None
