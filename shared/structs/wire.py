"""Msgpack as Consul speaks it: one raw family for text and bytes, no bin, no ext, no str8.

pack(value) -> bytes       byte-identical to Consul for what `to_wire` gives
unpack(data) -> value      str for every raw (surrogateescape keeps any bytes); raises WireTypeError
WireStream(data)           for streams of concatenated values"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from shared.structs.errors import WireTypeError

_MAX = 2**31 - 1
_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")
pack: Callable[[Any], bytes] = _packer.pack


def unpack(data: bytes | memoryview) -> Any:
    """Decodes exactly one value."""
    try:
        return msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise WireTypeError(f"malformed msgpack: {error or type(error).__name__}") from error


class WireStream:
    """Reads concatenated msgpack values and single type bytes out of one buffer."""

    __slots__ = ("_data", "_unpacker", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data, self.position = data, position
        self._unpacker = _unpacker()
        self._unpacker.feed(memoryview(data)[position:])

    def __bool__(self) -> bool:
        return self.position < len(self._data)

    def byte(self) -> int:
        """The next single byte. Raises WireTypeError at the end."""
        try:
            value = self._unpacker.read_bytes(1)
        except ValueError as error:
            raise WireTypeError(str(error)) from error
        if not value:
            raise WireTypeError("unexpected end of stream")
        self.position += 1
        return int(value[0])

    def value(self) -> Any:
        """The next msgpack value. Raises WireTypeError if it is malformed or cut."""
        before = self._unpacker.tell()
        try:
            decoded = self._unpacker.unpack()
        except (ValueError, msgpack.UnpackException) as error:
            raise WireTypeError(f"malformed msgpack: {error or type(error).__name__}") from error
        self.position += self._unpacker.tell() - before
        return decoded


def _unpacker() -> Any:
    return msgpack.Unpacker(
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_buffer_size=_MAX,
    )
