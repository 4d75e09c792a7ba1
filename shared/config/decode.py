"""Decoding of a parsed source by the schema: types checked, keys spelled canonically, strangers named.

Messages are those of Go's mapstructure, which is what Consul's users see for a value of the wrong type."""

from __future__ import annotations

from typing import Any

from shared.config.hcl1 import Blocks
from shared.config.schema import (
    ANY,
    BOOL,
    FLOAT,
    INT,
    STRING,
    UNSIGNED,
    ListOf,
    MapOf,
    Struct,
    Type,
)

_INT64_LIMIT = 1 << 63
_BITS = {"uint": 64, "uint32": 32, "uint64": 64}


class DecodeError(ValueError):
    """Values of the wrong type. `reasons` has one text per value."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        points = "\n".join(sorted(f"* {reason}" for reason in reasons))
        super().__init__(f"{len(reasons)} error(s) decoding:\n\n{points}")


class Decoded:
    """What a source says. `tree`: canonical keys only; `used` and `unknown`: dotted paths, in order."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.used: list[str] = []
        self.unknown: list[str] = []


def decode(raw: dict[str, Any], schema: Struct) -> Decoded:
    """Raises DecodeError if any value does not fit; unknown keys are only reported."""
    result = Decoded()
    errors: list[str] = []
    result.tree = _struct("", raw, schema, result, errors)
    if errors:
        raise DecodeError(errors)
    return result


def _value(name: str, value: Any, kind: Type, result: Decoded, errors: list[str]) -> Any:
    """The value as the schema wants it. On an error it is added to the list and the return has no meaning."""
    value = _single(value, kind)
    if isinstance(kind, Struct):
        decoded: Any = _struct(name, value, kind, result, errors)
    elif isinstance(kind, ListOf):
        decoded = _list(name, value, kind, result, errors)
    elif isinstance(kind, MapOf):
        decoded = _map(name, value, kind, result, errors)
    elif kind is ANY:
        decoded = value
    else:
        decoded = _scalar(name, value, kind, errors)
    result.used.append(name)
    return decoded


def _single(value: Any, kind: Type) -> Any:
    """HCL 1 cannot tell one block from a list of one: a list of one stands for its element."""
    if not isinstance(value, list) or isinstance(kind, ListOf) or len(value) != 1:
        return value
    if kind is ANY:
        _unwrap_inside(value[0])
    return value[0]


def _unwrap_inside(value: Any) -> None:
    """Lists of one below a free-form value, replaced by their element wherever they are a map's value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, list) and len(inner) == 1:
                value[key] = inner[0]
            _unwrap_inside(inner)
    elif isinstance(value, list):
        for inner in value:
            _unwrap_inside(inner)


def _struct(name: str, value: Any, kind: Struct, result: Decoded, errors: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        errors.append(f"'{name}' expected a map, got '{_go_kind(value)}'")
        return {}
    value = _translate(value, kind)
    unused = dict.fromkeys(value)
    folded = {key.casefold(): key for key in reversed(value)}
    tree: dict[str, Any] = {}
    errors_before = len(errors)
    for field, field_kind in kind.fields.items():
        key = field if field in value else folded.get(field)
        if key is None:
            continue
        unused.pop(key, None)
        if value[key] is not None:
            path = f"{name}.{field}" if name else field
            tree[field] = _value(path, value[key], field_kind, result, errors)
    if len(errors) == errors_before:
        result.unknown.extend(f"{name}.{key}" if name else key for key in unused)
    return tree


def _translate(value: dict[str, Any], kind: Struct) -> dict[str, Any]:
    """Older spellings replaced by the current ones."""
    if not kind.aliases:
        return value
    translated: dict[str, Any] = {}
    for key, inner in value.items():
        current = kind.aliases.get(key.lower(), key)
        translated[current] = value.get(current, inner)
    return translated


def _list(name: str, value: Any, kind: ListOf, result: Decoded, errors: list[str]) -> list[Any]:
    if not isinstance(value, list):
        errors.append(f"'{name}': source data must be an array or slice, got {_go_kind(value)}")
        return []
    return [
        _zero(kind.element) if element is None else _value(f"{name}[{position}]", element, kind.element, result, errors)
        for position, element in enumerate(value)
    ]


def _map(name: str, value: Any, kind: MapOf, result: Decoded, errors: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        errors.append(f"'{name}' expected a map, got '{_go_kind(value)}'")
        return {}
    return {
        key: _zero(kind.element) if inner is None else _value(f"{name}[{key}]", inner, kind.element, result, errors)
        for key, inner in value.items()
    }


def _zero(kind: Type) -> Any:
    if kind is STRING:
        return ""
    return {} if isinstance(kind, Struct | MapOf) else None


def _scalar(name: str, value: Any, kind: Type, errors: list[str]) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is STRING and isinstance(value, str):
        return value
    if kind is BOOL and isinstance(value, bool):
        return value
    if kind is INT and is_number:
        return int(value) if abs(value) < _INT64_LIMIT else -_INT64_LIMIT  # what the conversion gives in Go
    if kind is FLOAT and is_number:
        return float(value)
    if kind in UNSIGNED and is_number:
        if value >= 0:
            return int(value) & ((1 << _BITS[kind.name]) - 1)
        shown = f"{value:f}" if isinstance(value, float) else value
        errors.append(f"cannot parse '{name}', {shown} overflows uint")
        return 0
    errors.append(f"'{name}' expected type '{kind.name}', got unconvertible type '{_go_type(value)}'")
    return None


def _go_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "map"
    return "slice" if isinstance(value, list) else _go_type(value)


def _go_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Blocks):
        return "[]map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, dict):
        return "map[string]interface {}"
    return {str: "string", int: "int", float: "float64"}[type(value)]
