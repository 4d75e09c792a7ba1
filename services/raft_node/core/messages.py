"""The four RPCs of hashicorp/raft 1.1.2 as values. Bytes are the codec's business.

Addresses are "ip:port" text. Leaders and candidates are known by address on the wire, servers by ID in the
configuration."""

from __future__ import annotations

from typing import Final, NamedTuple

from services.raft_node.core.types import Configuration, Entry

PROTOCOL_VERSION: Final = 3
PROTOCOL_VERSION_MIN: Final = 2
UNSUPPORTED_PROTOCOL: Final = "operation not supported with current protocol version"
SNAPSHOT_VERSION: Final = 1


class AppendEntries(NamedTuple):
    """A heartbeat has only term and leader set."""

    term: int
    leader: str
    prev_log_index: int = 0
    prev_log_term: int = 0
    entries: tuple[Entry, ...] = ()
    leader_commit: int = 0
    protocol_version: int = PROTOCOL_VERSION


class AppendEntriesReply(NamedTuple):
    """last_log: last index of the follower before it worked on the request."""

    term: int
    last_log: int
    success: bool
    no_retry_backoff: bool = False
    protocol_version: int = PROTOCOL_VERSION


class RequestVote(NamedTuple):
    term: int
    candidate: str
    last_log_index: int
    last_log_term: int
    leadership_transfer: bool = False
    protocol_version: int = PROTOCOL_VERSION


class RequestVoteReply(NamedTuple):
    term: int
    granted: bool
    protocol_version: int = PROTOCOL_VERSION


class InstallSnapshot(NamedTuple):
    """The head of an InstallSnapshot; `size` bytes of state follow it on the connection."""

    term: int
    leader: str
    last_log_index: int
    last_log_term: int
    configuration: Configuration
    configuration_index: int
    size: int
    snapshot_version: int = SNAPSHOT_VERSION
    protocol_version: int = PROTOCOL_VERSION


class InstallSnapshotReply(NamedTuple):
    term: int
    success: bool
    protocol_version: int = 0


class TimeoutNow(NamedTuple):
    protocol_version: int = PROTOCOL_VERSION


class TimeoutNowReply(NamedTuple):
    protocol_version: int = 0


Request = AppendEntries | RequestVote | InstallSnapshot | TimeoutNow
Reply = AppendEntriesReply | RequestVoteReply | InstallSnapshotReply | TimeoutNowReply
