"""What Serf asks its shell for, besides the effects of SWIM: news for the application, answers to commands."""

from dataclasses import dataclass
from typing import Any, Literal

from services.gossip.serf.member import Member
from services.gossip.swim.effects import Effect as SwimEffect


@dataclass(frozen=True, slots=True)
class MemberEvent:
    kind: Literal["join", "leave", "failed", "update", "reap"]
    member: Member


@dataclass(frozen=True, slots=True)
class UserEvent:
    ltime: int
    name: str
    payload: bytes
    coalesce: bool


@dataclass(frozen=True, slots=True)
class QueryAck:
    """`node` received our query."""

    query_id: int
    node: str


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    query_id: int
    node: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class QueryDone:
    """No more acks or answers for this query will come."""

    query_id: int


@dataclass(frozen=True, slots=True)
class NameVoted:
    """Another node claims this one's name, and the members were asked. kept: this node has to end if it is false."""

    kept: bool


@dataclass(frozen=True, slots=True)
class CommandDone:
    """The command that was given with `token` has ended; `error` is None if it did what it should."""

    token: Any
    error: str | None = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class SnapshotAppend:
    """Append these lines to the snapshot file. sync: they have to survive a crash."""

    text: str
    sync: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotReplace:
    """The snapshot file has grown too large: replace its content."""

    text: str


Effect = (
    SwimEffect
    | MemberEvent
    | UserEvent
    | QueryAck
    | QueryAnswer
    | QueryDone
    | NameVoted
    | CommandDone
    | SnapshotAppend
    | SnapshotReplace
)
