"""Raft's RPCs on the wire, byte for byte as hashicorp/raft 1.1.2 sends them. No sockets in here.

What that does not know is pre-vote: a request of its own, sent only to servers that know it, and three keys that it
skips (PreVoters in heartbeats, PreVote in RequestVote, Term in TimeoutNow); PreVote in an answer only to who sent such.

    request  = type byte, msgpack map (for InstallSnapshot `size` raw bytes follow)
    answer   = msgpack text of the error ("" for none), msgpack map, or nil with an error

Old msgpack flavour without bin type; map keys are sorted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgpack

from services.raft_node.core.codec import (
    EntryError,
    decode_configuration,
    decode_peers,
    encode_configuration,
    encode_peers,
)
from services.raft_node.core.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from services.raft_node.core.types import Entry

APPEND_ENTRIES, REQUEST_VOTE, INSTALL_SNAPSHOT, TIMEOUT_NOW, PRE_VOTE = range(5)

MAX_MESSAGE_BYTES: Final = 128 << 20
"""Largest request or answer, without the body of a snapshot: 64 entries of 1 MiB, and as much again."""
MAX_FIELD_BYTES: Final = 64 << 20
MAX_SNAPSHOT_BYTES: Final = 1 << 40
MAX_ENTRIES: Final = 4096
FEED_BYTES: Final = 64 << 10

_MAX_U64: Final = (1 << 64) - 1
_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")


class WireError(Exception):
    """The bytes are no Raft RPC. The connection is of no further use."""


class SnapshotPiece(NamedTuple):
    """Part of the body that follows an InstallSnapshot. `last` comes exactly once, with or without data."""

    data: bytes
    last: bool


# ---- encoding ---------------------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    """The type byte and the map. The body of a snapshot is sent behind it by the caller."""
    if isinstance(request, AppendEntries):
        kind, value = APPEND_ENTRIES, _append_entries(request)
    elif isinstance(request, RequestVote):
        kind = REQUEST_VOTE
        value = {
            "Candidate": request.candidate,
            "LastLogIndex": request.last_log_index,
            "LastLogTerm": request.last_log_term,
            "LeadershipTransfer": request.leadership_transfer,
            "ProtocolVersion": request.protocol_version,
            "Term": request.term,
        }
        if request.pre_vote:
            value["PreVote"] = True
    elif isinstance(request, PreVote):
        kind = PRE_VOTE
        value = {
            "Candidate": request.candidate,
            "LastLogIndex": request.last_log_index,
            "LastLogTerm": request.last_log_term,
            "ProtocolVersion": request.protocol_version,
            "Term": request.term,
        }
    elif isinstance(request, InstallSnapshot):
        kind = INSTALL_SNAPSHOT
        value = {
            "Configuration": encode_configuration(request.configuration),
            "ConfigurationIndex": request.configuration_index,
            "LastLogIndex": request.last_log_index,
            "LastLogTerm": request.last_log_term,
            "Leader": request.leader,
            "Peers": encode_peers(request.configuration),
            "ProtocolVersion": request.protocol_version,
            "Size": request.size,
            "SnapshotVersion": request.snapshot_version,
            "Term": request.term,
        }
    else:
        kind, value = TIMEOUT_NOW, {"ProtocolVersion": request.protocol_version}
        if request.term:
            value["Term"] = request.term
    packed: bytes = _packer.pack(value)
    return bytes((kind,)) + packed


def _append_entries(request: AppendEntries) -> dict[str, Any]:
    is_heartbeat = not (request.entries or request.prev_log_index or request.prev_log_term or request.leader_commit)
    entries = [
        {
            "Data": entry.data or None,
            "Extensions": entry.extensions or None,
            "Index": entry.index,
            "Term": entry.term,
            "Type": entry.type,
        }
        for entry in request.entries
    ]
    value: dict[str, Any] = {
        "Entries": None if is_heartbeat else entries,
        "Leader": request.leader,
        "LeaderCommitIndex": request.leader_commit,
        "PrevLogEntry": request.prev_log_index,
        "PrevLogTerm": request.prev_log_term,
        "ProtocolVersion": request.protocol_version,
        "Term": request.term,
    }
    if request.pre_voters:
        value["PreVoters"] = request.pre_voters
    return value


def encode_answer(reply: Reply | None, error: str = "") -> bytes:
    value: dict[str, Any] | None
    if error or reply is None:
        value = None
    elif isinstance(reply, AppendEntriesReply):
        value = {
            "LastLog": reply.last_log,
            "NoRetryBackoff": reply.no_retry_backoff,
            "ProtocolVersion": reply.protocol_version,
            "Success": reply.success,
            "Term": reply.term,
        }
        if reply.pre_vote:
            value["PreVote"] = True
    elif isinstance(reply, PreVoteReply):
        value = {
            "Granted": reply.granted,
            "ProtocolVersion": reply.protocol_version,
            "Term": reply.term,
        }
    elif isinstance(reply, RequestVoteReply):
        value = {
            "Granted": reply.granted,
            "Peers": None,
            "ProtocolVersion": reply.protocol_version,
            "Term": reply.term,
        }
    elif isinstance(reply, InstallSnapshotReply):
        value = {
            "ProtocolVersion": reply.protocol_version,
            "Success": reply.success,
            "Term": reply.term,
        }
    else:
        value = {"ProtocolVersion": reply.protocol_version}
    packed: bytes = _packer.pack(error) + _packer.pack(value)
    return packed


# ---- decoding ---------------------------------------------------------------------------------------------


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
            request = _request(self._kind, value)
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
        return (None, error) if error else (_reply(kind, value), "")


def request_kind(request: Request) -> int:
    if isinstance(request, AppendEntries):
        return APPEND_ENTRIES
    if isinstance(request, RequestVote):
        return REQUEST_VOTE
    if isinstance(request, PreVote):
        return PRE_VOTE
    return INSTALL_SNAPSHOT if isinstance(request, InstallSnapshot) else TIMEOUT_NOW


def _request(kind: int, value: Any) -> Request:
    fields = _Fields(value)
    if kind == APPEND_ENTRIES:
        return AppendEntries(
            fields.number(b"Term"),
            fields.text(b"Leader"),
            fields.number(b"PrevLogEntry"),
            fields.number(b"PrevLogTerm"),
            tuple(_entry(item) for item in fields.array(b"Entries")),
            fields.number(b"LeaderCommitIndex"),
            fields.integer(b"ProtocolVersion"),
            tuple(_name(item) for item in fields.array(b"PreVoters")),
        )
    if kind == REQUEST_VOTE:
        return RequestVote(
            fields.number(b"Term"),
            fields.text(b"Candidate"),
            fields.number(b"LastLogIndex"),
            fields.number(b"LastLogTerm"),
            fields.flag(b"LeadershipTransfer"),
            fields.integer(b"ProtocolVersion"),
            fields.flag(b"PreVote"),
        )
    if kind == PRE_VOTE:
        return PreVote(
            fields.number(b"Term"),
            fields.text(b"Candidate"),
            fields.number(b"LastLogIndex"),
            fields.number(b"LastLogTerm"),
            fields.integer(b"ProtocolVersion"),
        )
    if kind == INSTALL_SNAPSHOT:
        return _install_snapshot(fields)
    return TimeoutNow(fields.integer(b"ProtocolVersion"), fields.number(b"Term"))


def _install_snapshot(fields: _Fields) -> InstallSnapshot:
    version, size = fields.integer(b"SnapshotVersion"), fields.integer(b"Size")
    if not 0 <= size <= MAX_SNAPSHOT_BYTES:
        raise WireError(f"a snapshot of {size} bytes")
    last_index = fields.number(b"LastLogIndex")
    try:
        if version > 0:
            configuration = decode_configuration(fields.data(b"Configuration"))
            configuration_index = fields.number(b"ConfigurationIndex")
        else:
            configuration, configuration_index = decode_peers(fields.data(b"Peers")), last_index
    except EntryError as error:
        raise WireError(str(error)) from None
    return InstallSnapshot(
        fields.number(b"Term"),
        fields.text(b"Leader"),
        last_index,
        fields.number(b"LastLogTerm"),
        configuration,
        configuration_index,
        size,
        version,
        fields.integer(b"ProtocolVersion"),
    )


def _entry(item: Any) -> Entry:
    fields = _Fields(item)
    return Entry(
        fields.number(b"Index"),
        fields.number(b"Term"),
        fields.number(b"Type", 255),
        fields.data(b"Data"),
        fields.data(b"Extensions"),
    )


def _reply(kind: int, value: Any) -> Reply:
    fields = _Fields(value)
    version = fields.integer(b"ProtocolVersion")
    if kind == APPEND_ENTRIES:
        return AppendEntriesReply(
            fields.number(b"Term"),
            fields.number(b"LastLog"),
            fields.flag(b"Success"),
            fields.flag(b"NoRetryBackoff"),
            version,
            fields.flag(b"PreVote"),
        )
    if kind == REQUEST_VOTE:
        return RequestVoteReply(fields.number(b"Term"), fields.flag(b"Granted"), version)
    if kind == PRE_VOTE:
        return PreVoteReply(fields.number(b"Term"), fields.flag(b"Granted"), version)
    if kind == INSTALL_SNAPSHOT:
        return InstallSnapshotReply(fields.number(b"Term"), fields.flag(b"Success"), version)
    return TimeoutNowReply(version)


def _name(item: Any) -> str:
    if type(item) is not bytes:
        raise WireError("a server ID is no text")
    return item.decode("utf-8", "surrogateescape")


class _Fields:
    """A decoded map. Missing keys and nil are zero values, as in Go; unknown keys are skipped."""

    __slots__ = ("_values",)

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise WireError(f"a map was expected, not {type(value).__name__}")
        self._values = value

    def number(self, key: bytes, limit: int = _MAX_U64) -> int:
        value = self._values.get(key)
        if value is None:
            return 0
        if type(value) is not int or not 0 <= value <= limit:
            raise WireError(f"{key.decode()} is no unsigned number")
        return value

    def integer(self, key: bytes) -> int:
        value = self._values.get(key)
        if value is None:
            return 0
        if type(value) is not int:
            raise WireError(f"{key.decode()} is no number")
        return value

    def flag(self, key: bytes) -> bool:
        value = self._values.get(key)
        if value is not None and type(value) is not bool:
            raise WireError(f"{key.decode()} is no boolean")
        return bool(value)

    def data(self, key: bytes) -> bytes:
        value = self._values.get(key)
        if value is None:
            return b""
        if type(value) is not bytes:
            raise WireError(f"{key.decode()} is no byte string")
        return value

    def text(self, key: bytes) -> str:
        return self.data(key).decode("utf-8", "surrogateescape")

    def array(self, key: bytes) -> list[Any]:
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise WireError(f"{key.decode()} is no array")
        return value


def _text(value: Any) -> str:
    if type(value) is not bytes:
        raise WireError("an answer does not begin with a text")
    return value.decode("utf-8", "surrogateescape")
