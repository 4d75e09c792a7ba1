"""What goes into the core (events) and what comes out (effects).

Effects are to be performed strictly in the order in which they come; an effect that is under way holds back the
ones after it. That is what makes "persist before you answer" true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from services.raft_node.core.messages import InstallSnapshot, Reply, Request
from services.raft_node.core.types import Configuration, Entry, HardState, Server, SnapshotMeta

# ---- events ---------------------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """Time has passed; sent at the latest when `deadline` is reached."""


class Propose(NamedTuple):
    """Append entries, as the leader. items: (type, data, extensions) each. Answered by Accepted or Refused."""

    tag: Any
    items: Sequence[tuple[int, bytes, bytes]]


class ReadIndex(NamedTuple):
    """Ask for an index at which a read is linearizable. Answered by ReadReady or ReadFailed.

    voter, term: ID of the server that asks, and the term it was in after the read had come; "" for none."""

    tag: Any
    voter: str = ""
    term: int = 0


class ChangeConfiguration(NamedTuple):
    """Add, demote or remove one server. Answered by Accepted or Refused."""

    tag: Any
    command: str
    server_id: str
    address: str = ""
    prev_index: int = 0


class Bootstrap(NamedTuple):
    """Give a server without any state its first configuration. Answered by Accepted or Refused."""

    tag: Any
    configuration: Configuration


class TransferLeadership(NamedTuple):
    """Hand leadership to `target` (an ID), or to the server that is furthest. Answered by TransferDone."""

    tag: Any
    target: str = ""


class Durable(NamedTuple):
    """An AppendLog was performed: the log is on disk up to `index`, whose entry has `term`."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int


class AppendFailed(NamedTuple):
    """An AppendLog could not be performed; nor will any later one of those that were asked for already.

    unknown: the disk may still have it, and show it when the server starts again."""

    first_index: int
    error: str
    unknown: bool = False


class RpcRequest(NamedTuple):
    """A peer asks. `token` names the connection and its place in the order of answers."""

    token: Any
    request: Request


class RpcReply(NamedTuple):
    """The answer to a Send or SendSnapshot. reply: None if the RPC failed in any way."""

    request_id: int
    peer_id: str
    reply: Reply | None


class LeaderGone(NamedTuple):
    """The connections that the leader at `address` had to this server have ended: its process is most likely dead."""

    address: str


class SnapshotTaken(NamedTuple):
    """A snapshot of the state machine is on disk."""

    meta: SnapshotMeta


class Restored(NamedTuple):
    """The leader's state is to be replaced by a stored snapshot, which ends with `index`, above all there is in the
    log, and the current term. Only after `restore_problem` was "" in the same moment."""

    index: int  # type: ignore[assignment]  # hides tuple.index


class SnapshotReceived(NamedTuple):
    """The body that ReceiveSnapshot asked for is on disk as a snapshot; error: why it is not."""

    token: Any
    request: InstallSnapshot
    error: str = ""


Event = (
    Tick
    | Propose
    | ReadIndex
    | ChangeConfiguration
    | Bootstrap
    | TransferLeadership
    | Durable
    | AppendFailed
    | RpcRequest
    | RpcReply
    | LeaderGone
    | SnapshotTaken
    | Restored
    | SnapshotReceived
)

# ---- effects --------------------------------------------------------------------------------------------------


class SaveHardState(NamedTuple):
    """Write to stable storage, durably."""

    state: HardState


class AppendLog(NamedTuple):
    """Write durably; entries from entries[0].index on that the log may hold already are replaced.

    Then feed Durable(last index, last term), or AppendFailed."""

    entries: Sequence[Entry]


class ResetLog(NamedTuple):
    """Drop the whole log: the next entry will be `next_index`."""

    next_index: int


class CompactLog(NamedTuple):
    """Entries up to `last` are covered by a snapshot and not needed for followers: they may go."""

    last: int


class Commit(NamedTuple):
    """Entries up to `index` are committed: pull them with `take_committed` and apply them."""

    index: int  # type: ignore[assignment]  # hides tuple.index


class Send(NamedTuple):
    """Call `server`; heartbeats use a connection of their own. Ends as RpcReply, within a deadline."""

    request_id: int
    server: Server
    request: Request
    heartbeat: bool = False


class SendSnapshot(NamedTuple):
    """Send the snapshot that ends with `last_index` to `server`. Ends as RpcReply with an InstallSnapshotReply."""

    request_id: int
    server: Server
    term: int
    last_index: int


class Answer(NamedTuple):
    """Answer an RpcRequest. error: text for the first part of the answer, with reply None."""

    token: Any
    reply: Reply | None
    error: str = ""


class ReceiveSnapshot(NamedTuple):
    """Read the body of `request` and store it as a snapshot, in the background; then feed SnapshotReceived."""

    token: Any
    request: InstallSnapshot


class RestoreSnapshot(NamedTuple):
    """Replace the state machine's state by the stored snapshot that ends with (index, term)."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int


class StartOver(NamedTuple):
    """Empty the state machine: entries will be applied from the first one on."""


class Accepted(NamedTuple):
    """The proposal became entries first_index, first_index + 1, ... of `term`. Committed they are not yet."""

    tag: Any
    first_index: int
    term: int


class Refused(NamedTuple):
    """The proposal did not become an entry. `error`: Consul's text."""

    tag: Any
    error: str


class Dropped(NamedTuple):
    """Accepted entries from `first_index` on will not be committed by this server's doing: tell who waits.

    unknown: they may still be committed by another leader."""

    first_index: int
    error: str
    unknown: bool


class ReadReady(NamedTuple):
    """Leadership was confirmed after each of the reads came in; answer them once `index` is applied."""

    tags: Sequence[Any]
    index: int  # type: ignore[assignment]  # hides tuple.index


class ReadFailed(NamedTuple):
    tags: Sequence[Any]
    error: str


class TransferDone(NamedTuple):
    """error: "" if another server took over."""

    tag: Any
    error: str


class RoleChanged(NamedTuple):
    """Role, term or known leader changed. leader_address: "" if unknown."""

    role: str
    term: int
    leader_id: str
    leader_address: str


class Log(NamedTuple):
    """One line for the logger agent.server.raft; level: debug, info, warn or error."""

    level: str
    message: str
    pairs: tuple[tuple[str, Any], ...] = ()


class Count(NamedTuple):
    """Add one to a counter; name without "consul."."""

    name: str


Effect = (
    SaveHardState
    | AppendLog
    | ResetLog
    | CompactLog
    | Commit
    | Send
    | SendSnapshot
    | Answer
    | ReceiveSnapshot
    | RestoreSnapshot
    | StartOver
    | Accepted
    | Refused
    | Dropped
    | ReadReady
    | ReadFailed
    | TransferDone
    | RoleChanged
    | Log
    | Count
)
