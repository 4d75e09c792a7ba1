"""Raft's RPCs on the wire, byte for byte as hashicorp/raft 1.1.2 sends them. No sockets in here.

    request  = type byte, msgpack map (for InstallSnapshot `size` raw bytes follow)
    answer   = msgpack text of the error ("" for none), msgpack map, or nil with an error

Old msgpack flavour without bin type; map keys are sorted. What is in the maps: `wire_messages`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgpack

from services.raft_node.core.messages import InstallSnapshot, Reply, Request
from services.raft_node.wire_messages import (
    APPEND_ENTRIES,
    INSTALL_SNAPSHOT,
    PRE_VOTE,
    REQUEST_VOTE,
    TIMEOUT_NOW,
    WireError,
    reply_from,
    reply_map,
    request_from,
    request_kind,
    request_map,
)

__all__ = [
    "APPEND_ENTRIES",
    "INSTALL_SNAPSHOT",
    "PRE_VOTE",
    "REQUEST_VOTE",
    "TIMEOUT_NOW",
    "AnswerDecoder",
    "RequestDecoder",
    "SnapshotPiece",
    "WireError",
    "encode_answer",
    "encode_request",
    "request_kind",
]

MAX_MESSAGE_BYTES: Final = 128 << 20
"""Largest request or answer, without the body of a snapshot: 64 entries of 1 MiB, and as much again."""
MAX_FIELD_BYTES: Final = 64 << 20
MAX_ENTRIES: Final = 4096
FEED_BYTES: Final = 64 << 10

_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")


class SnapshotPiece(NamedTuple):
    """Part of the body that follows an InstallSnapshot. `last` comes exactly once, with or without data."""

    data: bytes
    last: bool


def encode_request(request: Request) -> bytes:
    """The type byte and the map. The body of a snapshot is sent behind it by the caller."""
    kind, value = request_map(request)
    packed: bytes = _packer.pack(value)
    return bytes((kind,)) + packed


def encode_answer(reply: Reply | None, error: str = "") -> bytes:
    value = None if error or reply is None else reply_map(reply)
    packed: bytes = _packer.pack(error) + _packer.pack(value)
    return packed


class _Stream:
    """Bytes that arrive in pieces, taken as single bytes, msgpack values or raw runs. Bounded."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=False,
            max_buffer_size=MAX_MESSAGE_BYTES + FEED_BYTES,
            max_str_len=MAX_FIELD_BYTES,
            max_bin_len=MAX_FIELD_BYTES,
            max_array_len=MAX_ENTRIES,
            max_map_len=64,
            max_ext_len=64,
        )
        self._fed = 0
        self._message_start = 0

    def feed(self, data: bytes | memoryview) -> None:
        self._unpacker.feed(data)
        self._fed += len(data)

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not taken; those of an unfinished value count as taken while it is read."""
        return int(self._fed - self._unpacker.tell())

    def begin_message(self) -> None:
        self._message_start = int(self._unpacker.tell())

    def raw(self, size: int) -> bytes:
        """At most `size` bytes, as many as are there."""
        data: bytes = self._unpacker.read_bytes(min(size, self.buffered))
        return data

    def value(self) -> Any:
        """The next msgpack value; raises _Incomplete if it is not all there, WireError."""
        try:
            return self._unpacker.unpack()
        except msgpack.OutOfData:
            if self._fed - self._message_start > MAX_MESSAGE_BYTES:
                raise WireError(f"a message is larger than {MAX_MESSAGE_BYTES} bytes") from None
            raise _Incomplete from None
        except (msgpack.UnpackException, ValueError, TypeError, RecursionError) as error:
            raise WireError(f"not msgpack: {error}") from None


class _Incomplete(Exception):
    pass


class RequestDecoder:
    """What a peer sends on one connection, cut anywhere -> requests, and pieces of snapshot bodies.

    Raises WireError; it is of no further use then."""

    def __init__(self) -> None:
        self._stream = _Stream()
        self._kind: int | None = None
        self._body_left: int | None = None

    @property
    def in_message(self) -> bool:
        """Whether a request has begun that is not complete."""
        return self._kind is not None or self._body_left is not None or self._stream.buffered > 0

    def feed(self, data: bytes) -> Iterator[Request | SnapshotPiece]:
        """Decodes as it is iterated over: a request is yielded before what follows it is looked at."""
        view = memoryview(data)
        for start in range(0, len(data), FEED_BYTES):
            self._stream.feed(view[start : start + FEED_BYTES])
            yield from self._decode()

    def _decode(self) -> Iterator[Request | SnapshotPiece]:
        stream = self._stream
        while True:
            if self._body_left is not None:
                piece = stream.raw(self._body_left)
                self._body_left -= len(piece)
                last = self._body_left == 0
                if last:
                    self._body_left = None
                if piece or last:
                    yield SnapshotPiece(piece, last)
                if not last:
                    return
            if self._kind is None:
                kind = stream.raw(1)
                if not kind:
                    return
                if kind[0] > PRE_VOTE:
                    raise WireError(f"unknown rpc type {kind[0]}")
                self._kind = kind[0]
                stream.begin_message()
            try:
                value = stream.value()
            except _Incomplete:
                return
            request = request_from(self._kind, value)
            self._kind = None
            if isinstance(request, InstallSnapshot):
                self._body_left = request.size
            yield request


class AnswerDecoder:
    """What a peer answers on one connection, in the order of the requests. `expect` what was asked, then feed.

    Raises WireError."""

    def __init__(self) -> None:
        self._stream = _Stream()
        self._error: str | None = None

    def feed(self, data: bytes, kind: int) -> tuple[Reply | None, str] | None:
        """(reply, "") or (None, error) of the outstanding request of this kind, None if it is not complete."""
        self._stream.feed(data)
        try:
            if self._error is None:
                self._error = _text(self._stream.value())
            value = self._stream.value()
        except _Incomplete:
            return None
        error, self._error = self._error, None
        self._stream.begin_message()
        return (None, error) if error else (reply_from(kind, value), "")


def _text(value: Any) -> str:
    if type(value) is not bytes:
        raise WireError("an answer does not begin with a text")
    return value.decode("utf-8", "surrogateescape")
