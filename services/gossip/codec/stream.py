"""Gossip streams: one message per direction and TCP connection, without an outer length unless encrypted."""

import struct
from dataclasses import dataclass
from typing import Any

from services.gossip.codec import limits
from services.gossip.codec.errors import PacketError, StreamError
from services.gossip.codec.gomsgpack import NeedMore, Reader
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    ACK,
    COMPRESS,
    COMPRESSED,
    ENCRYPT,
    ERR,
    NODE_RECORD,
    PING,
    PUSH_PULL,
    PUSH_PULL_HEADER,
    USER,
    USER_HEADER,
    Ack,
    Err,
    NodeRecord,
    Ping,
    PushPullHeader,
    User,
    UserHeader,
    encode_message,
    load_message,
)
from services.gossip.codec.packet import compress_message, inflate

_RECORD_FIELDS = 7
_RECORD_MEMORY = 256


@dataclass(frozen=True, slots=True)
class PushPull:
    """The whole state of one node: its view of the members, and Serf's part as bytes."""

    join: bool
    nodes: tuple[NodeRecord, ...]
    user_state: bytes


StreamMessage = PushPull | Ping | Ack | Err | User


def encode_stream(
    message: StreamMessage, keyring: Keyring | None = None, *, compress_up_to: int = limits.STREAM_COMPRESS_UP_TO
) -> bytes:
    """The bytes to write on a connection. Larger states are sent uncompressed: LZW in Python takes about 0.3 s per
    MB, longer than sending them, and every receiver takes both forms."""
    if isinstance(message, PushPull):
        header = PushPullHeader(len(message.nodes), len(message.user_state), message.join)
        data = b"".join(
            (
                bytes((PUSH_PULL,)),
                PUSH_PULL_HEADER.encode(header),
                *map(NODE_RECORD.encode, message.nodes),
                message.user_state,
            )
        )
    elif isinstance(message, User):
        data = bytes((USER,)) + USER_HEADER.encode(UserHeader(len(message.payload))) + message.payload
    else:
        data = encode_message(message)
    if len(data) <= compress_up_to:
        data = compress_message(data)
    if keyring is None:
        return data
    sealed_size = len(data) + 29
    header_bytes = struct.pack(">BI", ENCRYPT, sealed_size)
    return header_bytes + keyring.encrypt(data, header_bytes)


class StreamDecoder:
    """Reads the one message of a stream, in whatever pieces it arrives.

    feed() returns None until the message is complete; what follows it is ignored. Raises StreamError."""

    def __init__(self, keyring: Keyring | None = None, *, verify_incoming: bool = True) -> None:
        self._keyring = keyring
        self._verify_incoming = verify_incoming
        self._sealed: bytearray | None = None  # collects an encrypted message
        self._body: _Body | None = None
        self._received = 0

    @property
    def received(self) -> int:
        """Bytes fed so far."""
        return self._received

    @property
    def held(self) -> int:
        """Bytes of memory that the incomplete message takes, about: records take more than their encoding."""
        return self._received + (_RECORD_MEMORY * self._body.records if self._body is not None else 0)

    def feed(self, data: bytes) -> StreamMessage | None:
        self._received += len(data)
        if self._received > limits.STREAM_WIRE + 5:
            raise StreamError(f"Remote node state is larger than limit ({self._received})", reply=True)
        if not data:
            return None
        if self._sealed is not None:
            self._sealed += data
            return self._open_sealed()
        if self._body is None:
            if data[0] == ENCRYPT:
                if self._keyring is None:
                    raise StreamError("Remote state is encrypted and encryption is not configured", reply=True)
                self._sealed = bytearray(data)
                return self._open_sealed()
            if self._keyring is not None and self._verify_incoming:
                raise StreamError("Encryption is configured but remote state is not encrypted", reply=True)
            self._body = _Body(data[0])
            data = data[1:]
        return self._body.feed(data)

    def _open_sealed(self) -> StreamMessage | None:
        assert self._sealed is not None
        assert self._keyring is not None
        if len(self._sealed) < 5:
            return None
        header = bytes(self._sealed[:5])
        (length,) = struct.unpack_from(">I", header, 1)
        if length > limits.STREAM_WIRE:
            raise StreamError(f"Remote node state is larger than limit ({length})", reply=True)
        if len(self._sealed) < 5 + length:
            return None
        try:
            plain = self._keyring.decrypt(bytes(self._sealed[5 : 5 + length]), header)
        except PacketError as error:
            raise StreamError(str(error), reply=True) from None
        if not plain:
            raise StreamError("empty message inside an encrypted one", reply=True)
        self._sealed = None
        self._body = _Body(plain[0])
        return self._body.whole(plain[1:])


class _Body:
    """The message behind the encryption layer; one more level if it is compressed."""

    def __init__(self, kind: int, max_bytes: int = limits.STREAM_WIRE, *, compressible: bool = True) -> None:
        if kind == COMPRESS and not compressible:
            raise StreamError("compressed message inside a compressed one")
        if kind not in (COMPRESS, PUSH_PULL, USER, PING, ACK, ERR):
            raise StreamError(f"Received invalid msgType ({kind})")
        self._kind = kind
        self._reader = Reader(max_bytes)
        self._header: PushPullHeader | UserHeader | None = None
        self._nodes: list[NodeRecord] = []
        self._tail = bytearray()

    @property
    def records(self) -> int:
        """Nodes read so far."""
        return len(self._nodes)

    def whole(self, data: bytes) -> StreamMessage:
        """Read a message that is complete in `data`."""
        message = self.feed(data)
        if message is None:
            raise StreamError("message ends too early")
        return message

    def feed(self, data: bytes) -> StreamMessage | None:
        try:
            self._reader.feed(data)
            return self._read()
        except NeedMore:
            return None
        except StreamError:
            raise
        except PacketError as error:
            raise StreamError(str(error), reply=self._kind == COMPRESS) from None

    def _read(self) -> StreamMessage | None:
        if self._kind == PUSH_PULL:
            return self._read_push_pull()
        if self._kind == USER:
            return self._read_user()
        value: Any = self._reader.read()
        if self._kind == COMPRESS:
            plain = inflate(COMPRESSED.load(value), limits.STREAM_INFLATED)
            inner = _Body(plain[0], limits.STREAM_INFLATED, compressible=False)
            return inner.whole(plain[1:])
        message = load_message(self._kind, value)
        assert isinstance(message, Ping | Ack | Err)
        return message

    def _read_push_pull(self) -> StreamMessage | None:
        if self._header is None:
            self._header = PUSH_PULL_HEADER.load(self._reader.read())
            _check_count("nodes", self._header.nodes, limits.STREAM_NODES)
            _check_count("bytes of user state", self._header.user_state_len, limits.STREAM_USER_STATE)
        assert isinstance(self._header, PushPullHeader)
        while len(self._nodes) < self._header.nodes:
            record = self._reader.read()
            if type(record) is not dict or len(record) < _RECORD_FIELDS:
                # Nobody leaves fields out; a record of one byte would cost us a thousand times its sending.
                raise PacketError("incomplete record of a node")
            self._nodes.append(NODE_RECORD.load(record))
        if not self._collect(self._header.user_state_len):
            return None
        return PushPull(self._header.join, tuple(self._nodes), bytes(self._tail))

    def _read_user(self) -> StreamMessage | None:
        if self._header is None:
            self._header = USER_HEADER.load(self._reader.read())
            _check_count("bytes of user message", self._header.user_msg_len, limits.STREAM_USER_STATE)
        assert isinstance(self._header, UserHeader)
        return User(bytes(self._tail)) if self._collect(self._header.user_msg_len) else None

    def _collect(self, count: int) -> bool:
        if len(self._tail) < count:
            self._tail += self._reader.read_bytes(count - len(self._tail))
        return len(self._tail) == count


def _check_count(what: str, count: int, limit: int) -> None:
    if not 0 <= count <= limit:
        raise StreamError(f"{count} {what} announced, the limit is {limit}")
