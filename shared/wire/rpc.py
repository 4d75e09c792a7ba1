"""msgpack-rpc as Consul speaks it: four msgpack values per call, no length prefix.

A request is a header {Seq, ServiceMethod} and a body, a response a header {Error, Seq, ServiceMethod} and a
body (an empty map when Error is set). Text and bytes share msgpack's old "raw" family on the wire; they are
decoded as str with `surrogateescape`, so that nothing is lost: `to_bytes` gives the exact bytes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack

MESSAGE_BYTES_MAX = 64 << 20
"""A peer may not make us hold more than this for one header and body."""
RESPONSE_BYTES_MAX = MESSAGE_BYTES_MAX - (64 << 10)
"""The same for answers: what is taken in has to fit into one frame to a local process as well."""
ITEMS_MAX = 1 << 20
"""Longest list or map in a message."""
IDLE_BUFFER_BYTES_MAX = 1 << 16
"""A decoder that has held more than this is replaced when it is idle: its buffer never shrinks by itself."""


class WireError(Exception):
    """The bytes are not msgpack-rpc. `method` and `seq` are known if the header was good and the body not."""

    def __init__(self, message: str, *, method: str | None = None, seq: int = 0) -> None:
        self.method, self.seq = method, seq
        super().__init__(message)


class TooLargeError(WireError):
    """A message that is longer than will be held. Asking once more would end in the same way."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `body` is a dict with str keys, None, or (from hand-made clients) a list. packed: its very bytes, if
    they came in one piece."""

    seq: int
    method: str
    body: Any
    packed: bytes | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `error` is "" on success, and `body` is to be ignored otherwise. It is bytes of msgpack if it was
    wanted so."""

    seq: int
    method: str
    error: str
    body: Any


def to_bytes(value: str | bytes | None) -> bytes:
    """The bytes that came as `value`."""
    if value is None:
        return b""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape", autoreset=True)


def pack(value: Any) -> bytes:
    """`value` in Consul's flavour of msgpack: raw family only, shortest integers, floats of 8 bytes."""
    packed: bytes = _packer.pack(value)
    return packed


def encode_request(seq: int, method: str, body: Any) -> bytes:
    return encode_request_header(seq, method) + pack({} if body is None else body)


def encode_request_header(seq: int, method: str) -> bytes:
    """What stands before a body that is encoded already."""
    return pack({"Seq": seq, "ServiceMethod": method})


def encode_response(seq: int, method: str, body: Any) -> bytes:
    """A success. A body of None is encoded as nil, which Go reads as the zero value."""
    return encode_response_header(seq, method) + pack(body)


def encode_response_header(seq: int, method: str) -> bytes:
    """What stands before the body of a success that is encoded already."""
    return pack({"Error": "", "Seq": seq, "ServiceMethod": method})


def encode_error(seq: int, method: str, error: str) -> bytes:
    return pack({"Error": error, "Seq": seq, "ServiceMethod": method}) + b"\x80"


class _Values:
    """The msgpack values in a stream of bytes, with a bound on what an incomplete one may hold."""

    __slots__ = ("_bytes_max", "_held", "_largest", "_unpacker", "fed")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._unpacker = self._fresh()
        self._held = 0
        self._largest = 0
        self.fed = 0
        """Position behind all that was fed."""

    def _fresh(self) -> Any:
        return msgpack.Unpacker(
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            read_size=4096,
            max_buffer_size=self._bytes_max,
            # A length is believed only so far: the lists for it are allocated before its items arrive.
            max_array_len=ITEMS_MAX,
            max_map_len=ITEMS_MAX,
        )

    @property
    def held_bytes(self) -> int:
        """Bytes fed that no complete message has used yet."""
        return self._held

    @property
    def position(self) -> int:
        """Where the next value begins, on the scale of `fed`."""
        position: int = self._unpacker.tell()
        return position

    def feed(self, data: bytes) -> None:
        self.fed += len(data)
        self._held += len(data)
        self._largest = max(self._largest, self._held)
        try:
            self._unpacker.feed(data)  # bounds one value that is incomplete, not the items of one that go on for ever
            if self._held > self._bytes_max:
                raise msgpack.exceptions.BufferFull
        except msgpack.exceptions.BufferFull:
            raise TooLargeError(f"message is larger than {self._bytes_max} bytes") from None

    def next(self) -> Any:
        """The next value. Raises msgpack's OutOfData if it is incomplete, WireError if it is not msgpack."""
        return self._checked(self._unpacker.unpack)

    def skip(self) -> None:
        """Go past the next value. Raises as `next`."""
        self._checked(self._unpacker.skip)

    @staticmethod
    def _checked(take: Callable[[], Any]) -> Any:
        try:
            return take()
        except msgpack.exceptions.OutOfData:
            raise
        except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
            raise WireError(f"codec.decoder: {error or type(error).__name__}") from None

    def message_done(self, position_before: int) -> int:
        """Account for a finished message that began at `position_before`; returns where the next begins."""
        position: int = self._unpacker.tell()
        self._held -= position - position_before
        if self._held == 0 and self._largest > IDLE_BUFFER_BYTES_MAX:
            self._unpacker = self._fresh()
            self._largest = self.fed = 0
            return 0
        return position


def _fields(header: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Header fields by name; Go's decoder takes a struct as an array in declaration order, too."""
    if isinstance(header, dict):
        return tuple(header.get(name) for name in names)
    if isinstance(header, list):
        return tuple((*header, *(None for _ in names))[: len(names)])
    raise WireError(f"codec.decoder: header is {type(header).__name__}, not a map")


def _text(value: Any, what: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise WireError(f"codec.decoder: {what} is {type(value).__name__}, not text")
    return value


def _sequence(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise WireError("codec.decoder: Seq is not an unsigned number")
    return value


class RequestDecoder:
    """Calls out of bytes that may be cut anywhere. After a WireError the stream cannot be read further."""

    __slots__ = ("_header", "_start", "_values")

    def __init__(self) -> None:
        self._values = _Values(MESSAGE_BYTES_MAX)
        self._header: tuple[int, str] | None = None
        self._start = 0

    @property
    def held_bytes(self) -> int:
        return self._values.held_bytes

    @property
    def is_between_calls(self) -> bool:
        """Nothing of a call has been read: any stream may go on with this decoder."""
        return self._header is None and self._values.held_bytes == 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Complete calls, one by one. Raises WireError; with its `method` set it can be answered."""
        values, begin = self._values, self._values.fed
        values.feed(data)
        while True:
            try:
                if self._header is None:
                    method, seq = _fields(values.next(), ("ServiceMethod", "Seq"))
                    self._header = (_sequence(seq), _text(method, "ServiceMethod"))
                seq, method = self._header
                body_at = values.position - begin
                try:
                    body = values.next()
                except WireError as error:
                    raise WireError(str(error), method=method, seq=seq) from None
            except msgpack.exceptions.OutOfData:
                return
            self._header = None
            packed = data[body_at : values.position - begin] if self._start >= begin else None
            self._start = values.message_done(self._start)
            if self._start < begin:
                begin = self._start  # the scale began anew, behind the last byte
            yield Request(seq, method, body, packed)


class ResponseDecoder:
    """Answers out of bytes that may be cut anywhere. After a WireError the stream cannot be read further."""

    __slots__ = ("_body_at", "_header", "_kept", "_start", "_values")

    def __init__(self) -> None:
        self._values = _Values(RESPONSE_BYTES_MAX)
        self._header: tuple[int, str, str] | None = None
        self._start = 0
        self._body_at = 0
        self._kept: list[bytes] = []
        """What came of an answer whose body is wanted in msgpack."""

    @property
    def held_bytes(self) -> int:
        return self._values.held_bytes

    @property
    def is_between_calls(self) -> bool:
        """Nothing of an answer has been read: any stream may go on with this decoder."""
        return self._header is None and self._values.held_bytes == 0

    def feed(self, data: bytes, *, packed: bool = False) -> Iterator[Response]:
        """Complete answers, one by one. packed: give the body in msgpack; to be the same for all of an answer, which is
        then the only one. Raises WireError."""
        values = self._values
        values.feed(data)
        if packed:
            self._kept.append(data)
        while True:
            try:
                if self._header is None:
                    method, seq, error = _fields(values.next(), ("ServiceMethod", "Seq", "Error"))
                    self._header = (_sequence(seq), _text(method, "ServiceMethod"), _text(error, "Error"))
                    self._body_at = values.position - self._start
                seq, method, error = self._header
                body: Any = None
                if packed:
                    values.skip()
                else:
                    body = values.next()
            except msgpack.exceptions.OutOfData:
                return
            self._header = None
            if packed:
                kept = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
                body = kept[self._body_at : values.position - self._start]
                self._kept.clear()
            self._start = values.message_done(self._start)
            yield Response(seq, method, error, body)
