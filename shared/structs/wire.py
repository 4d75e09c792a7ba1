"""Msgpack as Consul speaks it: one raw family for text and bytes, no bin, no ext, no str8.

pack(value) -> bytes       byte-identical to Consul for what `to_wire` gives
unpack(data) -> value      str for every raw (surrogateescape keeps any bytes); raises WireTypeError
WireStream(pieces)         for streams of concatenated values"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgpack

from shared.structs.errors import WireTypeError

_MAX = 2**31 - 1
_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")
pack: Callable[[Any], bytes] = _packer.pack


def unpack(data: bytes | memoryview, **limits: Any) -> Any:
    """Decodes exactly one value. limits: of msgpack, as max_array_len."""
    try:
        return msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False, **limits)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireTypeError(f"malformed msgpack: {error or type(error).__name__}") from error


class WireStream:
    """Reads msgpack values and single bytes out of a stream that arrives in pieces."""

    __slots__ = ("_pieces", "_unpacker")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._unpacker: Any = msgpack.Unpacker(
            raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=_MAX
        )

    def _more(self) -> bool:
        for piece in self._pieces:
            if piece:
                self._unpacker.feed(piece)
                return True
        return False

    def byte(self) -> int | None:
        """The next single byte, None at the end of the stream."""
        while True:
            found = self._unpacker.read_bytes(1)
            if found:
                return int(found[0])
            if not self._more():
                return None

    def value(self) -> Any:
        """The next msgpack value. Raises WireTypeError if it is malformed or cut off."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                if not self._more():
                    raise WireTypeError("malformed msgpack: unexpected end of stream") from None
            except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
                raise WireTypeError(f"malformed msgpack: {error or type(error).__name__}") from error

    def values(self) -> Iterator[Any]:
        """All values up to the end of the stream."""
        while True:
            try:
                yield self._unpacker.unpack()
            except msgpack.OutOfData:
                if not self._more():
                    if self._unpacker.read_bytes(1):
                        raise WireTypeError("malformed msgpack: unexpected end of stream") from None
                    return
            except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
                raise WireTypeError(f"malformed msgpack: {error or type(error).__name__}") from error
