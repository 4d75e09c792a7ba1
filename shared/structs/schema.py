"""Struct: a record declared once, from which every encoding of it is compiled.

    class Weights(Struct):
        passing: int = attr("Passing", INT)
        warning: int = attr("Warning", INT)

One line per field gives the Python name, the Go field name (which is the key on the wire and in JSON) and
the kind. From that a class gets, compiled by `compiler` when one of them is first called, so that importing
costs nothing:

    cls(**fields)                  every field has Go's zero value as its default; fields are slots, mutable
    value.to_wire() -> dict        keys in byte order, ready for `pack` (what Consul puts on the wire)
    cls.from_wire(mapping | None)  tolerant: unknown keys are ignored, nil or a missing key is the zero value;
                                   raises WireTypeError when a value has the wrong kind
    value.to_row() / cls.from_row  positional lists for the state store (not a public format)
    value.to_json() -> dict        keys in Go's order with Go's omitempty rules, ready for `gojson.dumps`
    cls.from_json(value)           strict as Consul's HTTP bodies: keys in any case, unknown keys refused;
                                   raises JsonTypeError with the text Go gives
    ==, repr, copy(), replace(**changes)

Python types: text is str, where bytes that are no UTF-8 are kept by surrogateescape; []byte is bytes | None;
lists and maps are list | None and dict | None, because nil and empty are different values in Go; durations
are int nanoseconds; times are the 15 raw bytes of the wire (see gotime)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, ClassVar, Self, dataclass_transform

__all__ = [
    "ANY",
    "BOOL",
    "BYTES",
    "DURATION",
    "DURATION_ANY",
    "DURATION_READABLE",
    "DURATION_TEXT",
    "FLOAT",
    "INT",
    "STR",
    "STRS",
    "STR_MAP",
    "TIME",
    "UINT",
    "Attr",
    "Kind",
    "Struct",
    "attr",
    "list_of",
    "map_of",
    "opt",
    "struct",
]


class Kind:
    """What a field holds. `name` selects the code the compiler writes; `inner` is the element of a list or
    map; `target` gives the class of a struct (a function, so that declarations may be mutually recursive)."""

    __slots__ = ("go_type", "inner", "name", "target")

    def __init__(
        self,
        name: str,
        go_type: str,
        inner: Kind | None = None,
        target: Callable[[], type[Struct]] | None = None,
    ) -> None:
        self.name, self.go_type, self.inner, self.target = name, go_type, inner, target

    def __repr__(self) -> str:
        return f"Kind({self.name}, {self.go_type})"


STR = Kind("str", "string")
BOOL = Kind("bool", "bool")
INT = Kind("int", "int")
UINT = Kind("uint", "uint64")
FLOAT = Kind("float", "float64")
BYTES = Kind("bytes", "[]uint8")
TIME = Kind("time", "time.Time")
ANY = Kind("any", "interface {}")
DURATION = Kind("duration", "time.Duration")
"""A duration that is a number of nanoseconds in JSON too."""
DURATION_ANY = Kind("duration_any", "time.Duration")
"""A duration that JSON shows as a number and accepts as text or number."""
DURATION_TEXT = Kind("duration_text", "time.Duration")
"""A duration that is text like "1m30s" in JSON and left out there when zero; read as text or number."""

DURATION_READABLE = Kind("duration_readable", "api.ReadableDuration")
"""A duration in a body of Consul's API package: text or a number; anything else, even null, is an error."""


def list_of(inner: Kind, go_type: str = "") -> Kind:
    """A Go slice: list | None. go_type: its name if it is a named type."""
    return Kind("list", go_type or f"[]{inner.go_type}", inner=inner)


def map_of(inner: Kind) -> Kind:
    """A Go map with string keys: dict | None."""
    return Kind("map", f"map[string]{inner.go_type}", inner=inner)


STRS = list_of(STR)
STR_MAP = map_of(STR)


def struct(target: Callable[[], type[Struct]], go_name: str = "") -> Kind:
    """A struct held by value: never None, nil on the wire is its zero value."""
    return Kind("struct", go_name, target=target)


def opt(target: Callable[[], type[Struct]], go_name: str = "") -> Kind:
    """A pointer to a struct: None is nil."""
    return Kind("opt", go_name, target=target)


class Attr:
    """One declared field: Python name, Go name, kind, and how JSON shows it."""

    __slots__ = ("aliases", "go_type", "json", "kind", "name", "omitempty", "wire")

    def __init__(
        self, wire: str, kind: Kind, json: str | None, omitempty: bool, aliases: tuple[str, ...], go_type: str
    ) -> None:
        self.name = ""
        self.wire, self.kind, self.json, self.omitempty = wire, kind, json, omitempty
        self.aliases, self.go_type = aliases, go_type or kind.go_type


def attr(
    wire: str,
    kind: Kind,
    *,
    json: str | None = "",
    omitempty: bool = False,
    aliases: tuple[str, ...] = (),
    go_type: str = "",
) -> Any:
    """Declares a field.

    wire: Go's field name, "" for a field that exists in JSON only. json: its JSON name if that differs, None
    if it never appears there. aliases: other JSON keys that fill it when the main one left it empty.
    go_type: the type an error text names."""
    return Attr(wire, kind, wire if json == "" else json, omitempty, aliases, go_type)


_COMPILED = ("__init__", "to_wire", "to_row", "to_json", "__eq__", "from_wire", "from_row")
_compiling: dict[str, Any] = {}
"""The methods that compile their class at the first call, as Struct defines them."""


@dataclass_transform(eq_default=True)
def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What gets the values of these attributes at once."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


class StructType(type):
    """Turns attr() declarations into slots and keeps them in `attrs`, in order."""

    attrs: tuple[Attr, ...]

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any], **kwargs: Any) -> StructType:
        attrs: list[Attr] = []
        for base in bases:
            attrs.extend(getattr(base, "attrs", ()))
        own = [key for key, value in body.items() if isinstance(value, Attr)]
        for key in own:
            declared: Attr = body.pop(key)
            declared.name = key
            attrs.append(declared)
        if bases:
            # A base may be compiled already; this class starts with the compiling methods again.
            for method in _COMPILED:
                body.setdefault(method, _compiling[method])
        body["__slots__"] = tuple(own)
        body["attrs"] = tuple(attrs)
        body["_all"] = staticmethod(_getter([declared.name for declared in attrs]))
        body.setdefault("go_name", name)
        made = super().__new__(mcs, name, bases, body, **kwargs)
        if not bases:
            _compiling.update({method: body[method] for method in _COMPILED})
        return made


class Struct(metaclass=StructType):
    """Base of all records. The methods below compile the class at their first call and are replaced then."""

    attrs: ClassVar[tuple[Attr, ...]]
    _all: ClassVar[staticmethod[[Any], tuple[Any, ...]]]
    go_name: ClassVar[str]
    """The Go type an error text names (without package)."""
    go_package: ClassVar[str] = "structs"
    json_strict: ClassVar[bool] = True
    """Whether unknown JSON keys are refused."""
    json_decoder: ClassVar[str] = ""
    """Set where the Go type has a JSON decoder of its own: how error texts name the type that it decodes
    into. Errors from inside of it are reported for the field that holds it."""
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, *args: Any, **fields: Any) -> None:
        compile_struct(type(self))
        self.__init__(*args, **fields)  # type: ignore[misc]

    def to_wire(self) -> dict[str, Any]:
        compile_struct(type(self))
        return self.to_wire()

    def to_row(self) -> list[Any]:
        compile_struct(type(self))
        return self.to_row()

    def to_json(self) -> dict[str, Any]:
        compile_struct(type(self))
        return self.to_json()

    @classmethod
    def from_wire(cls, mapping: Mapping[Any, Any] | None) -> Self:
        compile_struct(cls)
        return cls.from_wire(mapping)

    @classmethod
    def from_row(cls, row: list[Any]) -> Self:
        compile_struct(cls)
        return cls.from_row(row)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads parsed JSON (from `gojson.loads`). None gives the zero value, as JSON null does in Go."""
        from shared.structs.json_decode import decode_struct

        return decode_struct(cls, value)

    def after_json(self) -> None:
        """What is left to do once the fields have been read from JSON."""

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return bool(self._all(self) == self._all(other))

    def __repr__(self) -> str:
        shown = ", ".join(f"{a.name}={getattr(self, a.name)!r}" for a in self.attrs)
        return f"{type(self).__name__}({shown})"

    def copy(self) -> Self:
        """A shallow copy: lists, maps and structs inside are shared."""
        return type(self)(*self._all(self))

    def replace(self, **changes: Any) -> Self:
        """A shallow copy with some fields changed."""
        made = self.copy()
        for name, value in changes.items():
            setattr(made, name, value)
        return made


def compile_struct(cls: type[Struct]) -> None:
    """Compiles the methods of a class. Imported late: the compiler is needed only once something is used."""
    from shared.structs.compiler import compile_class

    compile_class(cls)
