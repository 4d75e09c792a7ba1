"""The messages of Raft as maps of msgpack, in both directions: fields of hashicorp/raft 1.1.2, in the order of names.

What that does not know is pre-vote: a request of its own, sent only to servers that know it, and three keys that it
skips (PreVoters in heartbeats, PreVote in RequestVote, Term in TimeoutNow); PreVote in an answer only to who sent such.

    request_map, reply_map     message -> map (of a request: with its kind)
    request_from, reply_from   map as it was unpacked, with byte strings -> message; WireError if it is none"""

from __future__ import annotations

from typing import Any, Final

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
"""Kinds of requests, and of the answers to them."""

MAX_SNAPSHOT_BYTES: Final = 1 << 40

_MAX_U64: Final = (1 << 64) - 1


class WireError(Exception):
    """The bytes are no Raft RPC. The connection is of no further use."""


def request_kind(request: Request) -> int:
    if isinstance(request, AppendEntries):
        return APPEND_ENTRIES
    if isinstance(request, RequestVote):
        return REQUEST_VOTE
    if isinstance(request, PreVote):
        return PRE_VOTE
    return INSTALL_SNAPSHOT if isinstance(request, InstallSnapshot) else TIMEOUT_NOW


def request_map(request: Request) -> tuple[int, dict[str, Any]]:
    """Kind and map."""
    if isinstance(request, AppendEntries):
        return APPEND_ENTRIES, _append_entries_map(request)
    if isinstance(request, RequestVote):
        return REQUEST_VOTE, _request_vote_map(request)
    if isinstance(request, PreVote):
        return PRE_VOTE, _pre_vote_map(request)
    if isinstance(request, InstallSnapshot):
        return INSTALL_SNAPSHOT, _install_snapshot_map(request)
    return TIMEOUT_NOW, _timeout_now_map(request)


def request_from(kind: int, value: Any) -> Request:
    fields = _Fields(value)
    if kind == APPEND_ENTRIES:
        return _append_entries(fields)
    if kind == REQUEST_VOTE:
        return _request_vote(fields)
    if kind == PRE_VOTE:
        return _pre_vote(fields)
    if kind == INSTALL_SNAPSHOT:
        return _install_snapshot(fields)
    return _timeout_now(fields)


def reply_map(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, AppendEntriesReply):
        value: dict[str, Any] = {
            "LastLog": reply.last_log,
            "NoRetryBackoff": reply.no_retry_backoff,
            "ProtocolVersion": reply.protocol_version,
            "Success": reply.success,
            "Term": reply.term,
        }
        if reply.pre_vote:
            value["PreVote"] = True
        return value
    if isinstance(reply, PreVoteReply):
        return {"Granted": reply.granted, "ProtocolVersion": reply.protocol_version, "Term": reply.term}
    if isinstance(reply, RequestVoteReply):
        return {
            "Granted": reply.granted,
            "Peers": None,
            "ProtocolVersion": reply.protocol_version,
            "Term": reply.term,
        }
    if isinstance(reply, InstallSnapshotReply):
        return {"ProtocolVersion": reply.protocol_version, "Success": reply.success, "Term": reply.term}
    return {"ProtocolVersion": reply.protocol_version}


def reply_from(kind: int, value: Any) -> Reply:
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


# ---- AppendEntries ----------------------------------------------------------------------------------------------


def _append_entries_map(request: AppendEntries) -> dict[str, Any]:
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


def _append_entries(fields: _Fields) -> AppendEntries:
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


def _entry(item: Any) -> Entry:
    fields = _Fields(item)
    return Entry(
        fields.number(b"Index"),
        fields.number(b"Term"),
        fields.number(b"Type", 255),
        fields.data(b"Data"),
        fields.data(b"Extensions"),
    )


def _name(item: Any) -> str:
    if type(item) is not bytes:
        raise WireError("a server ID is no text")
    return item.decode("utf-8", "surrogateescape")


# ---- votes ------------------------------------------------------------------------------------------------------


def _request_vote_map(request: RequestVote) -> dict[str, Any]:
    value: dict[str, Any] = {
        "Candidate": request.candidate,
        "LastLogIndex": request.last_log_index,
        "LastLogTerm": request.last_log_term,
        "LeadershipTransfer": request.leadership_transfer,
        "ProtocolVersion": request.protocol_version,
        "Term": request.term,
    }
    if request.pre_vote:
        value["PreVote"] = True
    return value


def _request_vote(fields: _Fields) -> RequestVote:
    return RequestVote(
        fields.number(b"Term"),
        fields.text(b"Candidate"),
        fields.number(b"LastLogIndex"),
        fields.number(b"LastLogTerm"),
        fields.flag(b"LeadershipTransfer"),
        fields.integer(b"ProtocolVersion"),
        fields.flag(b"PreVote"),
    )


def _pre_vote_map(request: PreVote) -> dict[str, Any]:
    return {
        "Candidate": request.candidate,
        "LastLogIndex": request.last_log_index,
        "LastLogTerm": request.last_log_term,
        "ProtocolVersion": request.protocol_version,
        "Term": request.term,
    }


def _pre_vote(fields: _Fields) -> PreVote:
    return PreVote(
        fields.number(b"Term"),
        fields.text(b"Candidate"),
        fields.number(b"LastLogIndex"),
        fields.number(b"LastLogTerm"),
        fields.integer(b"ProtocolVersion"),
    )


def _timeout_now_map(request: TimeoutNow) -> dict[str, Any]:
    value: dict[str, Any] = {"ProtocolVersion": request.protocol_version}
    if request.term:
        value["Term"] = request.term
    return value


def _timeout_now(fields: _Fields) -> TimeoutNow:
    return TimeoutNow(fields.integer(b"ProtocolVersion"), fields.number(b"Term"))


# ---- InstallSnapshot ----------------------------------------------------------------------------------------------


def _install_snapshot_map(request: InstallSnapshot) -> dict[str, Any]:
    return {
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


# ---- fields -----------------------------------------------------------------------------------------------------


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
