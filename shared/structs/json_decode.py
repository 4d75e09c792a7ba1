"""Reads parsed JSON into a Struct the way Go's encoding/json fills a struct, with its error texts.

Keys match in any case, the exact spelling first; null leaves a plain field alone and empties a list, map or
pointer; a number for a text is an error that names struct, field path and Go type."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any, TypeVar

from shared.gotext import base64_text
from shared.gotext.durations import DurationError, parse_duration_ns
from shared.gotext.folding import fold
from shared.gotext.json_numbers import JsonFloat
from shared.gotext.quoting import quote
from shared.structs.errors import JsonError, JsonTypeError
from shared.structs.gotime import time_from_text
from shared.structs.json_plain import decode_plain
from shared.structs.schema import Attr, Kind, Struct

S = TypeVar("S", bound=Struct)


def decode_struct(cls: type[S], value: Any, path: str = "", strict: bool = True) -> S:
    """A new `cls` filled from a JSON object. Raises JsonTypeError.

    path: where the object is, for error texts. strict: whether unknown keys are refused."""
    plain = decode_plain(cls, value)
    return decode_fully(cls, value, path, strict) if plain is None else plain


def decode_fully(cls: type[S], value: Any, path: str = "", strict: bool = True) -> S:
    """The same, whatever the object is like."""
    try:
        return _filled(cls, value, path, strict)
    except JsonTypeError as error:
        raise (error if path else _first_refusal(cls, value, path, strict) or error) from None


def _filled(cls: type[S], value: Any, path: str, strict: bool) -> S:
    made = cls()
    if value is None:
        return made
    if not isinstance(value, dict):
        go_type = cls.json_decoder or f"{cls.go_package}.{cls.go_name}"
        text = f"json: cannot unmarshal {json_kind(value)} into Go value of type {go_type}"
        raise JsonTypeError(text, json_kind(value), go_type)
    exact, folded, aliases = _tables(cls)
    owner = "" if cls.json_decoder else cls.go_name
    refuse_unknown = strict and cls.json_strict
    late: list[tuple[Attr, str, Any]] = []
    durations: dict[str, tuple[Attr, Any]] = {}  # of a key that comes twice, only the last text is read
    for key, item in value.items():
        declared = exact.get(key) or folded.get(fold(key))
        if declared is not None and declared.kind.name in ("duration_text", "duration_any"):
            durations[declared.name] = declared, item
        elif declared is not None:
            _fill(made, declared, item, owner, path, refuse_unknown)
        elif (aliased := aliases.get(fold(key))) is not None:
            alias = next(name for name in aliased.aliases if name.lower() == fold(key))
            if item is not None and not aliased.kind.name.startswith("duration"):
                where = f"{path}.{alias}" if path else alias
                _decode(aliased.kind, aliased.go_type, item, owner, where, refuse_unknown)  # told in this order
            late.append((aliased, alias, item))
        elif refuse_unknown:
            raise JsonTypeError(f'json: unknown field "{key}"')
    for declared, item in durations.values():
        _fill(made, declared, item, owner, path, refuse_unknown)
    for declared, alias, item in late:
        if not getattr(made, declared.name):
            _fill(made, declared, item, owner, path, refuse_unknown, alias)
    made.after_json()
    return made


def _first_refusal(cls: type[Struct], value: Any, path: str, strict: bool) -> JsonError | None:
    """What a decoder of its own, somewhere below, says of its part: Go gives up there, while a value of another type
    is merely remembered until the end."""
    if not isinstance(value, dict):
        return None
    exact, folded, _ = _tables(cls)
    owner = "" if cls.json_decoder else cls.go_name
    for key, item in value.items():
        declared = exact.get(key) or folded.get(fold(key))
        if declared is not None and item is not None:
            where = f"{path}.{declared.json}" if path else str(declared.json)
            refusal = _refusal(declared.kind, declared.go_type, item, owner, where, strict)
            if refusal is not None:
                return refusal
    return None


def _refusal(kind: Kind, go_type: str, item: Any, owner: str, where: str, strict: bool) -> JsonError | None:
    if kind.name in ("struct", "opt"):
        assert kind.target is not None
        target = kind.target()
        if not target.json_decoder:
            return _first_refusal(target, item, where, strict)
        try:
            _decode_nested(kind, go_type, item, owner, where, strict)
        except JsonError as error:
            return error
    elif kind.name in ("list", "map") and isinstance(item, list if kind.name == "list" else dict):
        assert kind.inner is not None
        for each in item.values() if isinstance(item, dict) else item:
            refusal = None if each is None else _refusal(kind.inner, kind.inner.go_type, each, owner, where, strict)
            if refusal is not None:
                return refusal
    return None


@lru_cache(maxsize=256)
def _tables(cls: type[Struct]) -> tuple[dict[str, Attr], dict[str, Attr], dict[str, Attr]]:
    exact = {a.json: a for a in cls.attrs if a.json is not None}
    folded: dict[str, Attr] = {}
    for name, declared in exact.items():
        folded.setdefault(name.lower(), declared)
    aliases = {alias.lower(): a for a in cls.attrs for alias in a.aliases}
    return exact, folded, aliases


def _fill(
    made: Struct, declared: Attr, item: Any, owner: str, path: str, strict: bool, alias: str | None = None
) -> None:
    if item is None and declared.kind.name not in _NULLABLE:
        return
    name = alias or str(declared.json)
    where = f"{path}.{name}" if path else name
    setattr(made, declared.name, _decode(declared.kind, declared.go_type, item, owner, where, strict))


_NULLABLE = frozenset(("list", "map", "opt", "bytes", "any", "duration_readable"))
"""Kinds for which null says something."""


def _decode(kind: Kind, go_type: str, item: Any, owner: str, where: str, strict: bool) -> Any:
    name = kind.name
    if name == "duration_readable":
        return _readable_duration(item)
    if item is None:
        return None if name in _NULLABLE else _zero(kind)
    if name == "str" and isinstance(item, str):
        return item
    if name == "bool" and isinstance(item, bool):
        return item
    if name in ("int", "uint", "duration"):
        return _integer(kind, go_type, item, owner, where)
    if name == "float" and isinstance(item, int | float) and not isinstance(item, bool):
        return _float64(item, owner, where)
    if name in ("duration_text", "duration_any"):
        return _duration_ns(item, owner, where)
    if name == "time" and isinstance(item, str):
        return time_from_text(item)
    if name == "bytes" and isinstance(item, str):
        return _base64(item)
    if name == "bytes" and isinstance(item, list):
        octet = Kind("octet", "uint8")
        return bytes(_integer(octet, "uint8", 0 if each is None else each, owner, where) for each in item)
    if name == "any":
        return _free_form(item, owner, where)
    if name in ("struct", "opt"):
        return _decode_nested(kind, go_type, item, owner, where, strict)
    if name == "list" and isinstance(item, list):
        assert kind.inner is not None
        inner = kind.inner
        return [_decode(inner, inner.go_type, each, owner, where, strict) for each in item]
    if name == "map" and isinstance(item, dict):
        assert kind.inner is not None
        inner = kind.inner
        return {k: _decode(inner, inner.go_type, v, owner, where, strict) for k, v in item.items()}
    raise _mismatch(item, owner, where, go_type)


def _decode_nested(kind: Kind, go_type: str, item: Any, owner: str, where: str, strict: bool) -> Struct:
    assert kind.target is not None
    target = kind.target()
    if not target.json_decoder:
        if not isinstance(item, dict):
            raise _mismatch(item, owner, where, go_type.lstrip("*"))
        return decode_struct(target, item, where, strict)
    try:
        return decode_struct(target, item)  # a decoder of its own has its own opinion of unknown keys
    except JsonTypeError as error:
        if not error.shown:
            raise
        raise _error(error.shown, owner, where, error.go_type) from None


def _zero(kind: Kind) -> Any:
    if kind.name == "struct":
        assert kind.target is not None
        return kind.target()()
    return {"str": "", "bool": False, "float": 0.0}.get(kind.name, 0)


_INT64 = -(2**63), 2**63 - 1
_RANGES = {"uint": (0, 2**64 - 1), "uint8": (0, 255)}


def _integer(kind: Kind, go_type: str, item: Any, owner: str, where: str) -> int:
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise _mismatch(item, owner, where, go_type)
    literal = item.literal if isinstance(item, JsonFloat) else str(item)
    low, high = _RANGES.get(go_type) or _RANGES.get(kind.name, _INT64)
    if isinstance(item, float) or not low <= item <= high:
        raise _error(f"number {literal}", owner, where, go_type)
    return item


def _duration_ns(item: Any, owner: str, where: str) -> int:
    """A duration given as text ("10s") or as a number of nanoseconds; other types count as nothing."""
    if isinstance(item, str):
        try:
            return parse_duration_ns(item)
        except DurationError as error:
            raise JsonError(str(error)) from None
    if isinstance(item, int | float) and not isinstance(item, bool):
        number = int(_float64(item, owner, where))
        return number if abs(number) < 1 << 63 else -1 << 63  # what the conversion gives on amd64
    return 0


def _readable_duration(item: Any) -> int:
    """Nanoseconds of what api.ReadableDuration reads. Raises JsonError in its words."""
    if isinstance(item, str):
        return _duration_ns(item, "", "")
    if isinstance(item, int | float) and not isinstance(item, bool):
        number = float(item)
        return int(number) if abs(number) < 1 << 63 else -1 << 63
    literal = "null" if item is None else json.dumps(item, separators=(",", ":"))
    raise JsonError(f"strconv.ParseFloat: parsing {quote(literal)}: invalid syntax")


def _free_form(item: Any, owner: str, where: str) -> Any:
    """JSON for a Go interface{}: every number is a float64."""
    if isinstance(item, dict):
        return {k: _free_form(v, owner, where) for k, v in item.items()}
    if isinstance(item, list):
        return [_free_form(v, owner, where) for v in item]
    if isinstance(item, int | float) and not isinstance(item, bool):
        return _float64(item, owner, where)
    return item


def decode_free_form(value: Any) -> dict[str, Any] | None:
    """JSON for a Go map[string]interface{}: None for null. Raises JsonError for anything else but an object."""
    _refuse_huge(value)
    if value is None or isinstance(value, dict):
        return value
    kind = {"array": "slice", "number": "float64"}.get(json_kind(value), json_kind(value))
    raise JsonError(f"'' expected a map, got '{kind}'")


def _refuse_huge(value: Any) -> None:
    """Raises JsonTypeError for a number that is no float64."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _refuse_huge(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            fits = not math.isinf(float(value))
        except OverflowError:
            fits = False
        if not fits:
            shown = f"number {value.literal if isinstance(value, JsonFloat) else value}"
            raise JsonTypeError(f"json: cannot unmarshal {shown} into Go value of type float64", shown, "float64")


def _float64(item: int | float, owner: str, where: str) -> float:
    """Raises JsonTypeError for a number that is too large."""
    try:
        number = float(item)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        literal = item.literal if isinstance(item, JsonFloat) else str(item)
        raise _error(f"number {literal}", owner, where, "float64")
    return number


def _base64(item: str) -> bytes:
    try:
        return base64_text.decode(item.encode())
    except ValueError as error:
        raise JsonError(str(error)) from None


def json_kind(item: Any) -> str:
    """What Go's error texts call a parsed value."""
    if isinstance(item, bool):
        return "bool"
    if isinstance(item, str):
        return "string"
    if isinstance(item, int | float):
        return "number"
    return "array" if isinstance(item, list) else "object"


def _mismatch(item: Any, owner: str, where: str, go_type: str) -> JsonTypeError:
    return _error(json_kind(item), owner, where, go_type)


def _error(shown: str, owner: str, where: str, go_type: str) -> JsonTypeError:
    text = f"json: cannot unmarshal {shown} into Go struct field {owner}.{where} of type {go_type}"
    return JsonTypeError(text, shown, go_type)
