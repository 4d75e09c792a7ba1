"""The RPCs of hashicorp/raft 1.1.2 as values, and pre-vote. Bytes are the codec's business.

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
    """A heartbeat has only term and leader set, and from a leader that knows pre-vote:

    pre_voters: IDs of the servers that know it, the leader among them. hashicorp/raft 1.1.2 skips this key."""

    term: int
    leader: str
    prev_log_index: int = 0
    prev_log_term: int = 0
    entries: tuple[Entry, ...] = ()
    leader_commit: int = 0
    protocol_version: int = PROTOCOL_VERSION
    pre_voters: tuple[str, ...] = ()


class AppendEntriesReply(NamedTuple):
    """last_log: last index of the follower before it worked on the request.

    pre_vote: the follower knows pre-vote; said only in answer to a leader that does."""

    term: int
    last_log: int
    success: bool
    no_retry_backoff: bool = False
    protocol_version: int = PROTOCOL_VERSION
    pre_vote: bool = False


class RequestVote(NamedTuple):
    """pre_vote: the candidate knows pre-vote; a key that hashicorp/raft 1.1.2 skips."""

    term: int
    candidate: str
    last_log_index: int
    last_log_term: int
    leadership_transfer: bool = False
    protocol_version: int = PROTOCOL_VERSION
    pre_vote: bool = False


class RequestVoteReply(NamedTuple):
    term: int
    granted: bool
    protocol_version: int = PROTOCOL_VERSION


class PreVote(NamedTuple):
    """Whether the receiver would vote for the sender in `term`; it promises nothing (Raft thesis 9.6).

    The type byte and the names are those of hashicorp/raft 1.7. Sent only to servers that are known to know it."""

    term: int
    candidate: str
    last_log_index: int
    last_log_term: int
    protocol_version: int = PROTOCOL_VERSION


class PreVoteReply(NamedTuple):
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
    """term: of the leader that hands over; 0 from hashicorp/raft 1.1.2, which neither sends nor reads it."""

    protocol_version: int = PROTOCOL_VERSION
    term: int = 0


class TimeoutNowReply(NamedTuple):
    protocol_version: int = 0


Request = AppendEntries | RequestVote | PreVote | InstallSnapshot | TimeoutNow
Reply = AppendEntriesReply | RequestVoteReply | PreVoteReply | InstallSnapshotReply | TimeoutNowReply
