"""Serf's messages, the payload of memberlist user messages: a type byte, then one msgpack map."""

from dataclasses import dataclass
from typing import Any, Final

from services.gossip.codec import limits
from services.gossip.codec.errors import PacketError
from services.gossip.codec.gomsgpack import (
    BOOL,
    FLOAT,
    I64,
    RAW,
    RAW_OR_NIL,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    NeedMore,
    Reader,
    Struct,
    list_of,
    map_of,
    pack,
    unpack,
)

LEAVE: Final = 0
JOIN: Final = 1
PUSH_PULL: Final = 2
USER_EVENT: Final = 3
QUERY: Final = 4
QUERY_RESPONSE: Final = 5
CONFLICT_RESPONSE: Final = 6
KEY_REQUEST: Final = 7
KEY_RESPONSE: Final = 8
RELAY: Final = 9

FLAG_ACK: Final = 1
FLAG_NO_BROADCAST: Final = 2

FILTER_NODES: Final = 0
FILTER_TAG: Final = 1

TAGS_MAGIC: Final = 0xFF


@dataclass(frozen=True, slots=True)
class LeaveIntent:
    ltime: int
    node: str
    prune: bool = False


@dataclass(frozen=True, slots=True)
class JoinIntent:
    ltime: int
    node: str


@dataclass(frozen=True, slots=True)
class PastEvent:
    name: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class PastEvents:
    """The user events of one Lamport time."""

    ltime: int
    events: tuple[PastEvent, ...] | None


@dataclass(frozen=True, slots=True)
class SerfState:
    """Serf's part of a push/pull. The clocks are the next values to use; `events` is the ring, mostly None."""

    ltime: int
    status_ltimes: dict[str, int]
    left_members: tuple[str, ...] | None
    event_ltime: int
    events: tuple[PastEvents | None, ...] | None
    query_ltime: int


@dataclass(frozen=True, slots=True)
class UserEventMessage:
    ltime: int
    name: str
    payload: bytes | None
    coalesce: bool


@dataclass(frozen=True, slots=True)
class QueryMessage:
    """addr/port/source_node: whom to answer. timeout_ns: nanoseconds. flags: FLAG_ bits."""

    ltime: int
    id: int
    addr: bytes
    port: int
    source_node: str
    filters: tuple[bytes, ...] | None
    flags: int
    relay_factor: int
    timeout_ns: int
    name: str
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class QueryResponseMessage:
    ltime: int
    id: int
    source: str
    flags: int
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member as told in a conflict answer."""

    name: str
    addr: bytes
    port: int
    tags: dict[str, str]
    status: int
    protocol_min: int
    protocol_max: int
    protocol_cur: int
    delegate_min: int
    delegate_max: int
    delegate_cur: int


@dataclass(frozen=True, slots=True)
class KeyRequest:
    key: bytes


@dataclass(frozen=True, slots=True)
class KeyResponse:
    result: bool
    message: str
    keys: tuple[str, ...] | None
    primary_key: str


@dataclass(frozen=True, slots=True)
class RelayAddress:
    ip: bytes
    port: int
    zone: str = ""


@dataclass(frozen=True, slots=True)
class RelayHeader:
    address: RelayAddress | None
    name: str


@dataclass(frozen=True, slots=True)
class Relay:
    """`payload` is a complete Serf message to hand on to the address."""

    address: RelayAddress
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class CoordinateMessage:
    """A Vivaldi coordinate as ack payload; seconds."""

    vec: tuple[float, ...] | None
    error: float
    adjustment: float
    height: float


@dataclass(frozen=True, slots=True)
class TagFilter:
    tag: str
    expr: str


SerfMessage = LeaveIntent | JoinIntent | UserEventMessage | QueryMessage | QueryResponseMessage | Relay

_PAST_EVENT = Struct(PastEvent, Name=TEXT, Payload=RAW_OR_NIL)
_PAST_EVENTS = Struct(PastEvents, LTime=U64, Events=list_of(_PAST_EVENT.kind))
_RELAY_ADDRESS = Struct(RelayAddress, IP=RAW, Port=U16, Zone=TEXT)
_RELAY_HEADER = Struct(RelayHeader, DestAddr=_RELAY_ADDRESS.kind, DestName=TEXT)
_TAG_FILTER = Struct(TagFilter, Tag=TEXT, Expr=TEXT)
_COORDINATE = Struct(CoordinateMessage, Vec=list_of(FLOAT), Error=FLOAT, Adjustment=FLOAT, Height=FLOAT)
_MEMBER = Struct(
    MemberRecord,
    Name=TEXT,
    Addr=RAW,
    Port=U16,
    Tags=map_of(TEXT),
    Status=I64,
    ProtocolMin=U8,
    ProtocolMax=U8,
    ProtocolCur=U8,
    DelegateMin=U8,
    DelegateMax=U8,
    DelegateCur=U8,
)
_KEY_REQUEST = Struct(KeyRequest, Key=RAW)
_KEY_RESPONSE = Struct(KeyResponse, Result=BOOL, Message=TEXT, Keys=list_of(TEXT), PrimaryKey=TEXT)
_STATE = Struct(
    SerfState,
    LTime=U64,
    StatusLTimes=map_of(U64),
    LeftMembers=list_of(TEXT),
    EventLTime=U64,
    Events=list_of(_PAST_EVENTS.kind),
    QueryLTime=U64,
)
_STRUCTS: dict[int, Struct[Any]] = {
    LEAVE: Struct(LeaveIntent, LTime=U64, Node=TEXT, Prune=BOOL),
    JOIN: Struct(JoinIntent, LTime=U64, Node=TEXT),
    USER_EVENT: Struct(UserEventMessage, LTime=U64, Name=TEXT, Payload=RAW_OR_NIL, CC=BOOL),
    QUERY: Struct(
        QueryMessage,
        LTime=U64,
        ID=U32,
        Addr=RAW,
        Port=U16,
        SourceNode=TEXT,
        Filters=list_of(RAW),
        Flags=U32,
        RelayFactor=U8,
        Timeout=I64,
        Name=TEXT,
        Payload=RAW_OR_NIL,
    ),
    QUERY_RESPONSE: Struct(QueryResponseMessage, LTime=U64, ID=U32, From=TEXT, Flags=U32, Payload=RAW_OR_NIL),
}
_ENCODE: dict[type, tuple[bytes, Struct[Any]]] = {
    struct.cls: (bytes([number]), struct) for number, struct in _STRUCTS.items()
}


def encode_serf(message: SerfMessage) -> bytes:
    """Type byte and map; for a relay its header, then the message inside."""
    if isinstance(message, Relay):
        header = RelayHeader(message.address, message.name)
        return bytes((RELAY,)) + _RELAY_HEADER.encode(header) + message.payload
    prefix, struct = _ENCODE[type(message)]
    return prefix + struct.encode(message)


def decode_serf(payload: bytes) -> SerfMessage:
    """The message in a memberlist user message. Raises PacketError."""
    if not payload:
        raise PacketError("empty Serf message")
    kind = payload[0]
    if kind == RELAY:
        return _decode_relay(payload[1:])
    struct = _STRUCTS.get(kind)
    if struct is None:
        raise PacketError(f"Received message of unknown type: {kind}")
    message: SerfMessage = struct.decode(memoryview(payload)[1:])
    return message


def _decode_relay(body: bytes) -> Relay:
    reader = Reader(limits.UDP_RECEIVE)
    try:
        reader.feed(body)
        header = _RELAY_HEADER.load(reader.read())
    except NeedMore:
        raise PacketError("relay header ends too early") from None
    if header.address is None or len(header.address.ip) not in (4, 16) or not header.address.port:
        raise PacketError("relay without a usable address")
    return Relay(header.address, header.name, body[reader.consumed :])


def encode_state(state: SerfState) -> bytes:
    """The user state of a push/pull."""
    return bytes((PUSH_PULL,)) + _STATE.encode(state)


def decode_state(data: bytes) -> SerfState:
    """The user state of a push/pull. Raises PacketError."""
    if not data:
        raise PacketError("Remote state is zero bytes")
    if data[0] != PUSH_PULL:
        raise PacketError(f"Remote state has bad type prefix: {data[0]}")
    return _STATE.decode(memoryview(data)[1:], limits.STREAM_ARRAY)


def encode_tags(tags: dict[str, str]) -> bytes:
    """Tags as node Meta."""
    return bytes((TAGS_MAGIC,)) + pack(tags)


_TAGS = map_of(TEXT)


def decode_tags(meta: bytes) -> dict[str, str]:
    """Tags of a node. Meta without the magic byte is the bare role, as Serf protocol 2 has it. Raises PacketError."""
    if not meta or meta[0] != TAGS_MAGIC:
        return {"role": meta.decode("utf-8", "surrogateescape")}
    tags: dict[str, str] = _TAGS.load(unpack(memoryview(meta)[1:]))
    return tags


def encode_conflict_response(member: MemberRecord | None) -> bytes:
    return bytes((CONFLICT_RESPONSE,)) + (pack(None) if member is None else _MEMBER.encode(member))


def decode_conflict_response(payload: bytes) -> MemberRecord | None:
    return _MEMBER.load_or_none(_unpack_typed(payload, CONFLICT_RESPONSE))


def encode_key_request(key: bytes) -> bytes:
    return bytes((KEY_REQUEST,)) + _KEY_REQUEST.encode(KeyRequest(key))


def decode_key_request(payload: bytes | None) -> bytes:
    return _KEY_REQUEST.load(_unpack_typed(payload or b"", KEY_REQUEST)).key


def encode_key_response(response: KeyResponse) -> bytes:
    return bytes((KEY_RESPONSE,)) + _KEY_RESPONSE.encode(response)


def decode_key_response(payload: bytes) -> KeyResponse:
    return _KEY_RESPONSE.load(_unpack_typed(payload, KEY_RESPONSE))


def _unpack_typed(payload: bytes, kind: int) -> Any:
    if not payload or payload[0] != kind:
        raise PacketError(f"want a Serf message of type {kind}")
    return unpack(memoryview(payload)[1:])


def encode_node_filter(names: tuple[str, ...]) -> bytes:
    return bytes((FILTER_NODES,)) + pack(list(names))


def encode_tag_filter(tag: str, expr: str) -> bytes:
    return bytes((FILTER_TAG,)) + _TAG_FILTER.encode(TagFilter(tag, expr))


_NAMES = list_of(TEXT)


def decode_filter(data: bytes) -> tuple[str, ...] | TagFilter:
    """A query filter: names of the nodes meant, or an expression on a tag. Raises PacketError."""
    if not data:
        raise PacketError("empty query filter")
    if data[0] == FILTER_NODES:
        names: tuple[str, ...] | None = _NAMES.load(unpack(memoryview(data)[1:]))
        return names or ()
    if data[0] == FILTER_TAG:
        return _TAG_FILTER.decode(memoryview(data)[1:])
    raise PacketError(f"query has unrecognized filter type: {data[0]}")


PING_PAYLOAD_VERSION: Final = 1


def encode_coordinate(coordinate: CoordinateMessage) -> bytes:
    """An ack payload."""
    return bytes((PING_PAYLOAD_VERSION,)) + _COORDINATE.encode(coordinate)


def decode_coordinate(payload: bytes) -> CoordinateMessage:
    """Raises PacketError."""
    if payload[:1] != bytes((PING_PAYLOAD_VERSION,)):
        raise PacketError(f"Unsupported ping version: {payload[0] if payload else 'none'}")
    return _COORDINATE.decode(memoryview(payload)[1:])
