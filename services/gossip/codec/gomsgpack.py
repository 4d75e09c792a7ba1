"""msgpack as Go's codec 0.5.5 writes and reads it: one map per struct, text and bytes alike as old raw strings.

A `Struct` binds a dataclass to its wire form. Wire maps have their keys sorted; the order of the dataclass fields is
that of the Go declaration, which is also the order if a peer sends the struct as an array. Reading is strict where
Go is strict: a `bin` value for a text field is an error, integers must fit, unknown keys are skipped, nil and missing
keys mean the zero value."""

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgpack

from services.gossip.codec import limits
from services.gossip.codec.errors import PacketError

T = TypeVar("T")

# Text keeps bytes that are no UTF-8 as lone surrogates, so that what a peer sent is passed on unchanged.
_TEXT_ERRORS = "surrogateescape"


class Kind(NamedTuple):
    """How one field goes to the wire and comes back. `load` gets None for nil and for a missing key."""

    load: Callable[[Any], Any]
    dump: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _integer(low: int, high: int) -> Kind:
    def load(value: Any) -> int:
        if value is None:
            return 0
        if type(value) is not int or not low <= value <= high:
            raise PacketError(f"want an integer from {low} to {high}, got {_show(value)}")
        return value

    return Kind(load, _same)


def _load_text(value: Any) -> str:
    if value is None:
        return ""
    if type(value) is not str:
        raise PacketError(f"want text, got {_show(value)}")
    if len(value) > limits.TEXT:
        raise PacketError(f"text of {len(value)} characters is over the limit of {limits.TEXT}")
    return value


def _load_raw(value: Any) -> bytes:
    if value is None:
        return b""
    if type(value) is str:
        return value.encode("utf-8", _TEXT_ERRORS)
    if type(value) is bytes:
        return value
    raise PacketError(f"want bytes, got {_show(value)}")


def _load_bool(value: Any) -> bool:
    if value is None:
        return False
    if type(value) is not bool:
        raise PacketError(f"want a boolean, got {_show(value)}")
    return value


def _load_float(value: Any) -> float:
    if value is None:
        return 0.0
    if type(value) is not float and type(value) is not int:
        raise PacketError(f"want a number, got {_show(value)}")
    return float(value)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


U8 = _integer(0, 0xFF)
U16 = _integer(0, 0xFFFF)
U32 = _integer(0, 0xFFFFFFFF)
U64 = _integer(0, 0xFFFFFFFFFFFFFFFF)
I64 = _integer(-(1 << 63), (1 << 63) - 1)
BOOL = Kind(_load_bool, _same)
FLOAT = Kind(_load_float, _same)
TEXT = Kind(_load_text, _same)
RAW = Kind(_load_raw, _same)
RAW_OR_NIL = Kind(lambda value: None if value is None else _load_raw(value), _same)


def list_of(kind: Kind) -> Kind:
    """A slice. nil and the empty slice stay apart (None and ()), because they differ on the wire."""

    def load(value: Any) -> tuple[Any, ...] | None:
        if value is None:
            return None
        if type(value) is not list:
            raise PacketError(f"want an array, got {_show(value)}")
        return tuple(map(kind.load, value))

    def dump(value: Any) -> list[Any] | None:
        return None if value is None else [kind.dump(item) for item in value]

    return Kind(load, dump)


def map_of(kind: Kind) -> Kind:
    """A map from text. Order is kept: Go's is random, and receivers compare some maps as bytes."""

    def load(value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if type(value) is not dict:
            raise PacketError(f"want a map, got {_show(value)}")
        return {_load_text(key): kind.load(item) for key, item in value.items()}

    def dump(value: Any) -> dict[str, Any]:
        return {key: kind.dump(item) for key, item in value.items()}

    return Kind(load, dump)


class OmitEmpty(NamedTuple):
    """Marks a field that stays off the wire while it has its zero value."""

    kind: Kind


class Struct(Generic[T]):
    """The wire form of dataclass `cls`; keyword arguments name the wire keys in the order of its fields."""

    def __init__(self, cls: type[T], **fields: Kind | OmitEmpty) -> None:
        attributes = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        if len(attributes) != len(fields):
            raise TypeError(f"{cls.__name__} has {len(attributes)} fields, {len(fields)} wire names given")
        self.cls = cls
        self._declared = [
            (attribute, wire, kind.kind if isinstance(kind, OmitEmpty) else kind, isinstance(kind, OmitEmpty))
            for attribute, (wire, kind) in zip(attributes, fields.items(), strict=True)
        ]
        self._sorted = sorted(self._declared, key=lambda entry: entry[1])
        self._loaders = [(wire, kind.load) for _, wire, kind, _ in self._declared]

    def dump(self, value: T) -> dict[str, Any]:
        """The map to pack, keys in wire order."""
        packed = {}
        for attribute, wire, kind, omit_empty in self._sorted:
            item = getattr(value, attribute)
            if item or not omit_empty:
                packed[wire] = kind.dump(item)
        return packed

    def load(self, value: Any) -> T:
        """The dataclass for an unpacked map (or array). Raises PacketError."""
        if type(value) is dict:
            get = value.get
            return self.cls(*[load(get(wire)) for wire, load in self._loaders])
        if type(value) is list:
            padded = value + [None] * (len(self._declared) - len(value))
            return self.cls(*[entry[2].load(item) for entry, item in zip(self._declared, padded, strict=False)])
        raise PacketError(f"want a map for {self.cls.__name__}, got {_show(value)}")

    def load_or_none(self, value: Any) -> T | None:
        return None if value is None else self.load(value)

    def encode(self, value: T) -> bytes:
        return pack(self.dump(value))

    def decode(self, data: bytes | memoryview, max_array: int = limits.PACKET_ARRAY) -> T:
        """Read one struct from the start of `data`; bytes after it are ignored, as Go does."""
        return self.load(unpack(data, max_array))

    @property
    def kind(self) -> Kind:
        """This struct as the kind of a field (nil allowed)."""
        return Kind(self.load_or_none, lambda value: None if value is None else self.dump(value))


_PACKER = msgpack.Packer(use_bin_type=False, unicode_errors=_TEXT_ERRORS)
"""Kept, because each has a buffer of 256 KB, which the C library maps and unmaps every time. For one thread only."""


def pack(value: Any) -> bytes:
    """One msgpack object in the old family: never str8, bin or ext."""
    packed: bytes = _PACKER.pack(value)
    return packed


def _no_ext(code: int, data: bytes) -> Any:
    raise PacketError(f"msgpack extension type {code} is not used in gossip")


_UNPACK: dict[str, Any] = {
    "raw": False,
    "unicode_errors": _TEXT_ERRORS,
    "strict_map_key": True,
    "ext_hook": _no_ext,
    "max_map_len": limits.STREAM_MAP,
}


def unpack(data: bytes | memoryview, max_array: int = limits.PACKET_ARRAY) -> Any:
    """The first msgpack object in `data`. Raises PacketError.

    The unpacker makes room for an array as soon as it reads the header, and nests up to 1024 deep; so packets,
    which hold small arrays only, get a small max_array."""
    try:
        return msgpack.unpackb(data, max_array_len=max_array, **_UNPACK)
    except msgpack.ExtraData as extra:
        return extra.unpacked
    except PacketError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise PacketError(f"msgpack: {str(error) or type(error).__name__}") from None


class Reader:
    """A sequence of msgpack objects and raw bytes that arrives in pieces, for streams."""

    def __init__(self, max_bytes: int) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=max_bytes, max_array_len=limits.PACKET_ARRAY, **_UNPACK)

    def feed(self, data: bytes | memoryview) -> None:
        """Raises PacketError when more than max_bytes are buffered."""
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull:
            raise PacketError("message is larger than the limit") from None

    def read(self) -> Any:
        """The next object. Raises NeedMore while it is incomplete, PacketError if it is malformed."""
        try:
            return self._unpacker.unpack()
        except msgpack.OutOfData:
            raise NeedMore from None
        except PacketError:
            raise
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            raise PacketError(f"msgpack: {str(error) or type(error).__name__}") from None

    def read_bytes(self, count: int) -> bytes:
        """Up to `count` raw bytes, as many as have arrived."""
        data: bytes = self._unpacker.read_bytes(count)
        return data

    @property
    def consumed(self) -> int:
        """Bytes used up so far by what was read."""
        position: int = self._unpacker.tell()
        return position


class NeedMore(Exception):
    """The object is not complete yet; feed and try again."""
