"""Free-form data into a Struct as Consul's config entry bodies are read: keys in any case or in snake_case, values
of nearly any type.

    decode(cls, raw) -> (record, unused)   unused: paths of the keys that fit no field; raises WeakDecodeError
    json_numbers(raw) -> raw               what JSON makes of it in Go: every number a float64

The rules and texts are those of Go's mapstructure with weakly typed input and Consul's two hooks: a list of one
element counts as that element unless a list is wanted (HCL makes lists of all blocks), and declared aliases stand
for their field. Numbers in `raw` may be int or float; Go's JSON knows float64 only, and texts name that type."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from shared.gotext.durations import DurationError, parse_duration_ns
from shared.gotext.folding import fold
from shared.gotext.numbers import RangeError, parse_bool, parse_float, parse_int, parse_uint
from shared.gotext.quoting import quote
from shared.structs.schema import Kind, Struct

S = TypeVar("S", bound=Struct)


class WeakDecodeError(ValueError):
    """One or more values do not fit; the text lists them all, sorted."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        lines = "\n".join(sorted(f"* {reason}" for reason in reasons))
        super().__init__(f"{len(reasons)} error(s) decoding:\n\n{lines}")


def decode(cls: type[S], raw: dict[str, Any]) -> tuple[S, list[str]]:
    """A record of `cls` and the paths of unused keys. Raises WeakDecodeError."""
    decoder = _Decoder()
    made = decoder.record(cls, "", raw)
    return made, decoder.unused


class _Misfit(Exception):
    """A value that cannot become what is wanted."""


class _Misfits:
    """Gathers what does not fit of all the parts of a value."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        try:
            yield
        except WeakDecodeError as error:
            self._reasons += error.reasons
        except _Misfit as error:
            self._reasons.append(str(error))

    def complain(self) -> None:
        """Raises WeakDecodeError if there are any."""
        if self._reasons:
            raise WeakDecodeError(self._reasons)


class _Decoder:
    def __init__(self) -> None:
        self.unused: list[str] = []

    def record(self, cls: type[S], path: str, raw: Any) -> S:
        if not isinstance(raw, dict):
            raise _Misfit(f"'{path}' expected a map, got '{_kind(raw)}'")
        raw = _translated(cls, raw)
        made = cls()
        left = dict.fromkeys(raw)
        misfits = _Misfits()
        for declared in cls.attrs:
            key = _find(raw, declared.wire)
            if key is None:
                continue
            left.pop(key, None)
            if raw[key] is None:
                continue
            where = f"{path}.{declared.wire}" if path else declared.wire
            with misfits.gathered():
                setattr(made, declared.name, self.value(declared.kind, declared.go_type, where, raw[key]))
        misfits.complain()
        self.unused += [f"{path}.{key}" if path else key for key in left]
        return made

    def value(self, kind: Kind, go_type: str, path: str, raw: Any) -> Any:
        """`raw`, which is not nil, as a value of `kind`."""
        name = kind.name
        if name == "list":
            assert kind.inner is not None
            return self.items(kind.inner, path, raw)
        if name == "any":
            return _free_form(raw)
        raw = _unwrapped(raw)
        if name in ("struct", "opt"):
            assert kind.target is not None
            # A pointer and what it points to are decoded one after the other, and each takes a list away.
            return self.record(kind.target(), path, _unwrapped(raw) if name == "opt" else raw)
        if name == "map":
            assert kind.inner is not None
            return self.mapping(kind.inner, path, raw)
        if name == "duration_text" and isinstance(raw, str):
            return _duration(path, raw)
        return {"str": _text, "bool": _boolean, "float": _number}.get(name, _integer)(path, go_type, raw)

    def items(self, inner: Kind, path: str, raw: Any) -> list[Any]:
        """A list; anything else is a list of one, but an empty map is an empty list."""
        if not isinstance(raw, list):
            raw = [] if raw == {} else [raw]
        found: list[Any] = []
        misfits = _Misfits()
        for at, item in enumerate(raw):
            with misfits.gathered():
                found.append(self.element(inner, f"{path}[{at}]", item))
        misfits.complain()
        return found

    def mapping(self, inner: Kind, path: str, raw: Any) -> dict[str, Any]:
        if isinstance(raw, list):
            merged: dict[str, Any] = {}
            for at, item in enumerate(raw):
                if item is not None:
                    merged |= self.mapping(inner, f"{path}[{at}]", _unwrapped(item))
            return merged
        if not isinstance(raw, dict):
            raise _Misfit(f"'{path}' expected a map, got '{_kind(raw)}'")
        found: dict[str, Any] = {}
        misfits = _Misfits()
        for key, item in raw.items():
            with misfits.gathered():
                found[key] = self.element(inner, f"{path}[{key}]", item)
        misfits.complain()
        return found

    def element(self, kind: Kind, path: str, raw: Any) -> Any:
        """An element of a list or map; nil leaves its zero value."""
        if raw is not None:
            return self.value(kind, kind.go_type, path, raw)
        if kind.name == "struct":
            assert kind.target is not None
            return kind.target()()
        return {"str": "", "bool": False, "float": 0.0, "int": 0}.get(kind.name)


def _find(raw: dict[str, Any], name: str) -> str | None:
    """The key that means a field: its own spelling first, then any other."""
    if name in raw:
        return name
    folded = fold(name)
    return next((key for key in raw if fold(key) == folded), None)


def _translated(cls: type[Struct], raw: dict[str, Any]) -> dict[str, Any]:
    """Aliases replaced by the lower-case name of their field, unless that is there already."""
    rules = {alias.lower(): declared.wire.lower() for declared in cls.attrs for alias in declared.aliases}
    if not rules:
        return raw
    result: dict[str, Any] = {}
    for key, item in raw.items():
        canonical = rules.get(key.lower())
        if canonical is None:
            result[key] = item
        else:
            result[canonical] = raw.get(canonical, item)
    return result


def _unwrapped(raw: Any) -> Any:
    return raw[0] if isinstance(raw, list) and len(raw) == 1 else raw


def _free_form(raw: Any) -> Any:
    """A value of any type. A list of one is its element, with the lists of one in the maps inside taken out too."""
    if isinstance(raw, list) and len(raw) == 1:
        return _without_lists_of_one(raw[0])
    return raw


def _without_lists_of_one(value: Any) -> Any:
    if isinstance(value, dict):
        unpacked = {key: _without_lists_of_one(item) for key, item in value.items()}
        return {key: _unwrapped(item) for key, item in unpacked.items()}
    if isinstance(value, list):
        return [_without_lists_of_one(item) for item in value]
    return value


def json_numbers(value: Any) -> Any:
    """A copy in which every number is a float."""
    if isinstance(value, dict):
        return {key: json_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_numbers(item) for item in value]
    return _float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def _kind(raw: Any) -> str:
    """Go's reflect.Kind of a decoded value."""
    if isinstance(raw, bool):
        return "bool"
    if isinstance(raw, int | float):
        return "int" if isinstance(raw, int) else "float64"
    if isinstance(raw, str):
        return "string"
    return "slice" if isinstance(raw, list) else "map"


def _misfit(path: str, go_type: str, raw: Any) -> _Misfit:
    shown = {"slice": "[]interface {}", "map": "map[string]interface {}"}.get(_kind(raw), _kind(raw))
    return _Misfit(f"'{path}' expected type '{go_type}', got unconvertible type '{shown}'")


def _text(path: str, go_type: str, raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "1" if raw else "0"
    if isinstance(raw, int | float):
        return str(raw) if isinstance(raw, int) else _plain_decimal(raw)
    raise _misfit(path, go_type, raw)


def _plain_decimal(value: float) -> str:
    """Without an exponent, with as few digits as tell the number apart."""
    from decimal import Decimal

    return format(Decimal(repr(value)).normalize(), "f")


def _boolean(path: str, go_type: str, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, int | float):
        return raw != 0
    if isinstance(raw, str):
        if not raw:
            return False
        try:
            return parse_bool(raw)
        except ValueError as error:
            raise _Misfit(f"cannot parse '{path}' as bool: {error}") from None
    raise _misfit(path, go_type, raw)


def _integer(path: str, go_type: str, raw: Any) -> int:
    """Fractions are cut off, and what does not fit wraps as Go's conversions do."""
    unsigned = go_type.startswith("uint")
    bits = 32 if go_type == "uint32" else 64
    if isinstance(raw, bool):
        return int(raw)
    if isinstance(raw, int | float):
        return _wrapped(_truncated(_float(raw)), bits, unsigned)
    if isinstance(raw, str):
        try:
            number = parse_uint(raw) if unsigned else parse_int(raw)
            if number >> bits > 0:
                raise RangeError(f"strconv.ParseUint: parsing {quote(raw)}: value out of range")
            return number
        except ValueError as error:
            raise _Misfit(f"cannot parse '{path}' as {'uint' if unsigned else 'int'}: {error}") from None
    raise _misfit(path, go_type, raw)


def _truncated(value: float) -> int:
    return int(value) if abs(value) < 1 << 63 else -(1 << 63)  # what the conversion gives on amd64


def _wrapped(value: int, bits: int, unsigned: bool) -> int:
    value %= 1 << bits
    return value if unsigned or value < 1 << (bits - 1) else value - (1 << bits)


def _number(path: str, go_type: str, raw: Any) -> float:
    if isinstance(raw, bool | int | float):
        return _float(raw)
    if isinstance(raw, str):
        try:
            return parse_float(raw)
        except ValueError as error:
            raise _Misfit(f"cannot parse '{path}' as float: {error}") from None
    raise _misfit(path, go_type, raw)


def _duration(path: str, raw: str) -> int:
    try:
        return parse_duration_ns(raw)
    except DurationError as error:
        raise _Misfit(f"error decoding '{path}': {error}") from None
