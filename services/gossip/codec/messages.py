"""memberlist's messages: a type byte, then one msgpack map."""

from dataclasses import dataclass
from typing import Any, Final

from services.gossip.codec.errors import PacketError
from services.gossip.codec.gomsgpack import BOOL, I64, RAW, RAW_OR_NIL, TEXT, U8, U16, U32, OmitEmpty, Struct

PING: Final = 0
INDIRECT_PING: Final = 1
ACK: Final = 2
SUSPECT: Final = 3
ALIVE: Final = 4
DEAD: Final = 5
PUSH_PULL: Final = 6
COMPOUND: Final = 7
USER: Final = 8
COMPRESS: Final = 9
ENCRYPT: Final = 10
NACK: Final = 11
HAS_CRC: Final = 12
ERR: Final = 13

STATE_ALIVE: Final = 0
STATE_SUSPECT: Final = 1
STATE_DEAD: Final = 2
STATE_LEFT: Final = 3


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? `node` is the name the sender expects at this address, empty for anybody."""

    seq_no: int
    node: str
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Please ping `node` at target:port for me, and answer with my seq_no (also with a nack, if wanted)."""

    seq_no: int
    target: bytes
    port: int
    node: str
    nack: bool
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    seq_no: int
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Nack:
    seq_no: int


@dataclass(frozen=True, slots=True)
class Err:
    """Why the acceptor of a stream gave up."""

    error: str


@dataclass(frozen=True, slots=True)
class Suspect:
    incarnation: int
    node: str
    source: str


@dataclass(frozen=True, slots=True)
class Dead:
    """`source` equal to `node` means that the node left by its own will."""

    incarnation: int
    node: str
    source: str


@dataclass(frozen=True, slots=True)
class Alive:
    """`vsn` is six bytes: memberlist protocol min, max, current, then Serf's."""

    incarnation: int
    node: str
    addr: bytes
    port: int
    meta: bytes
    vsn: bytes


@dataclass(frozen=True, slots=True)
class User:
    """A Serf message, its type byte included."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PushPullHeader:
    nodes: int
    user_state_len: int
    join: bool


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node in a push/pull. `state` is one of the STATE_ numbers."""

    name: str
    addr: bytes
    port: int
    meta: bytes
    incarnation: int
    state: int
    vsn: bytes


@dataclass(frozen=True, slots=True)
class UserHeader:
    user_msg_len: int


@dataclass(frozen=True, slots=True)
class Compressed:
    """`algo` 0 is LZW; `buf` holds a complete message, its type byte included."""

    algo: int
    buf: bytes


Message = Ping | IndirectPing | Ack | Nack | Err | Suspect | Dead | Alive | User

_OMIT_SOURCE = {"SourceAddr": OmitEmpty(RAW), "SourcePort": OmitEmpty(U16), "SourceNode": OmitEmpty(TEXT)}
PUSH_PULL_HEADER = Struct(PushPullHeader, Nodes=I64, UserStateLen=I64, Join=BOOL)
NODE_RECORD = Struct(NodeRecord, Name=TEXT, Addr=RAW, Port=U16, Meta=RAW, Incarnation=U32, State=I64, Vsn=RAW)
USER_HEADER = Struct(UserHeader, UserMsgLen=I64)
COMPRESSED = Struct(Compressed, Algo=U8, Buf=RAW)

_STRUCTS: dict[int, Struct[Any]] = {
    PING: Struct(Ping, SeqNo=U32, Node=TEXT, **_OMIT_SOURCE),
    INDIRECT_PING: Struct(IndirectPing, SeqNo=U32, Target=RAW, Port=U16, Node=TEXT, Nack=BOOL, **_OMIT_SOURCE),
    ACK: Struct(Ack, SeqNo=U32, Payload=RAW_OR_NIL),
    NACK: Struct(Nack, SeqNo=U32),
    ERR: Struct(Err, Error=TEXT),
    SUSPECT: Struct(Suspect, Incarnation=U32, Node=TEXT, From=TEXT),
    DEAD: Struct(Dead, Incarnation=U32, Node=TEXT, From=TEXT),
    ALIVE: Struct(Alive, Incarnation=U32, Node=TEXT, Addr=RAW, Port=U16, Meta=RAW, Vsn=RAW),
}
_ENCODE: dict[type, tuple[bytes, Struct[Any]]] = {
    struct.cls: (bytes([number]), struct) for number, struct in _STRUCTS.items()
}


def encode_message(message: Message) -> bytes:
    """Type byte and map of one message."""
    if type(message) is User:
        return b"\x08" + message.payload
    prefix, struct = _ENCODE[type(message)]
    return prefix + struct.encode(message)


def decode_message(data: bytes | memoryview) -> Message:
    """One bare message (no compound, compression, CRC or encryption around it). Raises PacketError."""
    if not data:
        raise PacketError("empty message")
    kind = data[0]
    if kind == USER:
        return User(bytes(data[1:]))
    struct = _STRUCTS.get(kind)
    if struct is None:
        raise PacketError(f"msg type ({kind}) not supported")
    message: Message = struct.decode(data[1:])
    return message


def load_message(kind: int, value: Any) -> Message:
    """A message whose map was unpacked already (streams). Raises PacketError."""
    struct = _STRUCTS.get(kind)
    if struct is None:
        raise PacketError(f"Received invalid msgType ({kind})")
    message: Message = struct.load(value)
    return message
