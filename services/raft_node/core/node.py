"""RaftCore: one server's consensus, without clock, disk or network. Events in, ordered effects out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

from services.raft_node.core import codec, receiver
from services.raft_node.core.configuration import ConfigurationError, check
from services.raft_node.core.election import Election
from services.raft_node.core.events import (
    Accepted,
    AppendFailed,
    AppendLog,
    Bootstrap,
    ChangeConfiguration,
    CompactLog,
    Dropped,
    Durable,
    Effect,
    Event,
    LeaderGone,
    Propose,
    ReadFailed,
    ReadIndex,
    Refused,
    ResetLog,
    Restored,
    RpcReply,
    RpcRequest,
    SnapshotReceived,
    SnapshotTaken,
    Tick,
    TransferDone,
    TransferLeadership,
)
from services.raft_node.core.leader import FAILED_DISK_PAUSE_S, Leader
from services.raft_node.core.log import LogStorage, RaftLog
from services.raft_node.core.messages import TimeoutNowReply
from services.raft_node.core.state import NOT_LEADER, SOLE_VOTER_TIMEOUT_S, TRANSFER_IN_PROGRESS, State
from services.raft_node.core.types import (
    CANDIDATE,
    CONFIGURATION,
    FOLLOWER,
    LEADER,
    Configuration,
    Entry,
    HardState,
    Settings,
    SnapshotMeta,
)

CANNOT_BOOTSTRAP: Final = "bootstrap only works on new clusters"
FIRST_TERM: Final = 1
"""The term of the first entry. Nobody has ever led in it."""
GONE_SPREAD: Final = 0.1
MIN_GONE_SPREAD_S: Final = 0.02
"""Followers that see the leader's end at the same moment spread over this part of the heartbeat timeout."""


def bootstrap_entry(configuration: Configuration) -> Entry:
    """Entry 1 of term 1, with which every cluster begins. Raises ConfigurationError."""
    check(configuration)
    return Entry(1, 1, CONFIGURATION, codec.encode_configuration(configuration))


class RaftCore:
    """Call `start` once, then `step` for each event, and at the latest at `deadline` with a Tick.

    storage: the stored log, opened; configurations: its configuration entries, in order; snapshot: the newest
    stored one; applied_index: last entry the state machine has (never beyond what was committed)."""

    def __init__(
        self,
        settings: Settings,
        storage: LogStorage,
        hard: HardState,
        *,
        snapshot: SnapshotMeta | None = None,
        configurations: Sequence[Entry] = (),
        applied_index: int = 0,
        rng: random.Random,
        now: float,
    ) -> None:
        snapshot_index, snapshot_term = (snapshot.index, snapshot.term) if snapshot else (0, 0)
        log = RaftLog(storage, snapshot_index, snapshot_term, applied_index)
        # The log cannot hold a term that was never entered; a stable store that says less lost its last write.
        hard = hard._replace(term=max(hard.term, log.last_term))
        self.state = state = State(settings, hard, log, rng)
        if snapshot:
            state.configurations.restore(snapshot.configuration, snapshot.configuration_index)
        for entry in configurations:
            if snapshot_index < entry.index <= log.last_index:
                state.store_configuration(entry)
        state.configurations.commit(state.commit_index)
        state.configurations_changed()
        self.leader: Leader | None = None
        self.election = Election(self)
        self._warned = False
        self._patience_s = 0.0
        self._due = math.inf
        if hard.term > FIRST_TERM:
            state.votes_from = now + settings.lease_guard_s
        self._restart_patience(now)

    # ---- what the shell may look at ----------------------------------------------------------------------------

    @property
    def role(self) -> str:
        return self.state.role

    @property
    def term(self) -> int:
        return self.state.hard.term

    @property
    def log(self) -> RaftLog:
        return self.state.log

    @property
    def commit_index(self) -> int:
        return self.state.commit_index

    @property
    def deadline(self) -> float:
        """When `step` must be called again at the latest."""
        if self.leader is not None:
            return self.leader.deadline
        return self._due

    @property
    def lease_end(self) -> float:
        """Until when this server may answer reads as the leader; minus infinity if it is none."""
        return self.leader.lease_end() if self.leader is not None else -math.inf

    @property
    def has_committed_in_term(self) -> bool:
        """Whether a leader has committed an entry of its own term, so that its commit index is current."""
        return self.leader is not None and self.state.commit_index >= self.leader.start_index

    def all_acknowledged_is_applied(self, applied_index: int) -> bool:
        """Whether a state that holds everything up to `applied_index` has every write that anybody was told of, as long
        as this server leads.

        True once the entries of earlier terms are applied: those of its own term it answers only after it has applied
        them."""
        leader = self.leader
        return leader is not None and applied_index >= leader.start_index

    def take_committed(self, max_entries: int = 1024, max_bytes: int = 8 << 20) -> list[Entry]:
        """The next committed entries to apply, in order; empty when all were given out."""
        return self.state.log.take_committed(self.state.commit_index, max_entries, max_bytes)

    def restore_problem(self) -> str:
        """Why the state cannot be replaced by a snapshot from outside just now, "" if it can."""
        configurations = self.state.configurations
        if self.leader is None:
            return NOT_LEADER
        if self.leader.hands_over:
            return TRANSFER_IN_PROGRESS
        if configurations.committed_index != configurations.latest_index:
            return (
                "cannot restore snapshot now, wait until the configuration entry at "
                f"{configurations.latest_index} has been applied (have applied {configurations.committed_index})"
            )
        return ""

    # ---- events ------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """The first effects: what the server knows when it comes up."""
        configurations = self.state.configurations
        self.state.say(
            "info",
            "initial configuration",
            ("index", configurations.latest_index),
            ("servers", str(configurations.latest)),
        )
        self._enter_follower(now)
        return self._taken()

    def step(self, event: Event, now: float) -> list[Effect]:
        """What has to be done because of `event`, in this order."""
        if isinstance(event, Propose):
            self._propose(event, now)
        elif isinstance(event, Durable):
            if self.state.log.mark_durable(event.index, event.term) and self.leader is not None:
                self.leader.maybe_commit(now)
        elif isinstance(event, RpcReply):
            self._reply(event, now)
        elif isinstance(event, RpcRequest):
            receiver.receive(self, event.token, event.request, now)
        elif isinstance(event, Tick):
            self._tick(now)
        elif isinstance(event, ReadIndex):
            if self.leader is not None:
                self.leader.reads.add(event, now)
            else:
                self.state.emit(ReadFailed((event.tag,), NOT_LEADER))
        else:
            self._rare(event, now)
        return self._taken()

    def _taken(self) -> list[Effect]:
        effects, self.state.effects = self.state.effects, []
        return effects

    def _rare(self, event: Event, now: float) -> None:
        state = self.state
        if isinstance(event, ChangeConfiguration):
            if self.leader is not None:
                self.leader.change_configuration(event, now)
            else:
                state.emit(Refused(event.tag, NOT_LEADER))
        elif isinstance(event, TransferLeadership):
            if self.leader is not None:
                self.leader.transfer(event, now)
            else:
                state.emit(TransferDone(event.tag, NOT_LEADER))
        elif isinstance(event, AppendFailed):
            self._append_failed(event, now)
        elif isinstance(event, LeaderGone):
            self._leader_gone(event.address, now)
        elif isinstance(event, SnapshotTaken):
            state.log.take_snapshot(event.meta.index, event.meta.term)
            self.compact()
        elif isinstance(event, Restored):
            assert self.leader is not None
            self.leader.restore(event.index, now)
        elif isinstance(event, SnapshotReceived):
            receiver.snapshot_received(self, event, now)
        elif isinstance(event, Bootstrap):
            self._bootstrap(event)

    def _propose(self, event: Propose, now: float) -> None:
        if self.leader is not None:
            self.leader.propose(event.tag, event.items, now)
        else:
            self.state.emit(Refused(event.tag, NOT_LEADER))

    def _append_failed(self, event: AppendFailed, now: float) -> None:
        state = self.state
        log = state.log
        # What a snapshot has covered meanwhile is not missing, only what was to follow it.
        first_lost = max(event.first_index, log.snapshot_index + 1)
        lost = first_lost <= log.last_index
        if event.first_index <= log.snapshot_index and log.first_index <= log.snapshot_index:
            # It was taken for granted that the snapshot fits the log: on the disk there is a hole before its end now.
            log.begin_after_snapshot()
            state.emit(ResetLog(log.snapshot_index + 1))
        elif lost:
            log.cut(first_lost)
        if not lost:
            return
        state.say("error", "failed to commit logs", ("error", event.error))
        # Nothing of it is applied: that comes after the disk. A commit index above the log would claim to have it.
        state.commit_index = min(state.commit_index, state.log.last_index)
        state.configurations.cut(first_lost)
        state.configurations_changed()
        if self.leader is not None:
            self.leader.append_failed(event, now)
            return
        state.emit(Dropped(event.first_index, event.error, unknown=True))
        if state.role == CANDIDATE:
            # Its requests for votes speak of entries that it does not have.
            self.become_follower("", now, pause_s=FAILED_DISK_PAUSE_S)

    def _bootstrap(self, event: Bootstrap) -> None:
        state = self.state
        if state.term or state.log.last_index or state.role != FOLLOWER:
            state.emit(Refused(event.tag, CANNOT_BOOTSTRAP))
            return
        try:
            entry = bootstrap_entry(event.configuration)
        except ConfigurationError as error:
            state.emit(Refused(event.tag, str(error)))
            return
        state.adopt_term(1)
        state.log.append([entry])
        state.store_configuration(entry)
        state.emit(Accepted(event.tag, 1, 1))
        state.emit(AppendLog([entry]))

    def compact(self) -> None:
        """Lets go of entries that the snapshot covers, except `trailing_logs` for followers that lag."""
        log = self.state.log
        if log.last_index <= self.state.settings.trailing_logs:
            return
        last = min(log.snapshot_index, log.last_index - self.state.settings.trailing_logs)
        if log.first_index > last:
            self.state.say("info", "no logs to truncate")
            return
        self.state.say("info", "compacting logs", ("from", log.first_index), ("to", last))
        self.state.emit(CompactLog(last))

    # ---- time --------------------------------------------------------------------------------------------------

    def _restart_patience(self, now: float) -> None:
        """How long the leader may be silent this time; other servers draw other values."""
        base_s = self.state.settings.heartbeat_timeout_s
        if self.state.is_sole_server:
            base_s = min(base_s, SOLE_VOTER_TIMEOUT_S)
        self._patience_s = self.state.random_timeout_s(base_s)
        self._due = now + self._patience_s

    def stand_again_at(self, when: float) -> None:
        """Unless there is a leader by then, the next try to become one is due."""
        self._due = when

    def _tick(self, now: float) -> None:
        if self.leader is not None:
            self.leader.tick(now)
        elif now < self._due:
            return
        elif self.state.role == CANDIDATE:
            if not self.election.asking:
                self.state.say("warn", "Election timeout reached, restarting election")
            self.election.stand(now)
        else:
            self._follower_timeout(now)

    def _follower_timeout(self, now: float) -> None:
        state = self.state
        patience_s = state.settings.lease_guard_s if state.leader_gone else self._patience_s
        heard_until = state.last_contact + patience_s
        if now < heard_until and not state.is_sole_server:
            self._due = heard_until
            return
        asking = self.election.asking
        if not asking:
            self._restart_patience(now)
        last_leader, state.leader_address = state.leader_address, ""
        if last_leader:
            state.announce()
        configurations = state.configurations
        if configurations.latest_index == 0:
            self._warn_once("no known peers, aborting election")
        elif configurations.latest_index == configurations.committed_index and not (
            configurations.latest.has_vote(state.settings.node_id)
        ):
            self._warn_once("not part of stable configuration, aborting election")
        else:
            if not asking:
                state.say("warn", "heartbeat timeout reached, starting election", ("last-leader", last_leader))
                state.count("raft.transition.heartbeat_timeout")
            self.election.stand(now)

    def _leader_gone(self, address: str, now: float) -> None:
        """Others are asked as soon as its lease must have ended, not only when it has been silent for long. If it is
        alive after all, they say so: without pre-vote among them this could end the work of a leader that is well."""
        state = self.state
        if state.role != FOLLOWER or state.leader_address != address or not self.election.can_be_refused:
            return
        state.say("debug", "the leader's connections have ended", ("leader", address))
        state.leader_gone = True
        spread_s = max(MIN_GONE_SPREAD_S, state.settings.heartbeat_timeout_s * GONE_SPREAD)
        lease_end = max(now, state.last_contact + state.settings.lease_guard_s)
        self._due = min(state.last_contact + self._patience_s, lease_end + spread_s * state.rng.random())

    def _warn_once(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            self.state.say("warn", message)

    # ---- roles -------------------------------------------------------------------------------------------------

    def become_leader(self, now: float) -> None:
        """The election is won."""
        state = self.state
        state.role = LEADER
        state.leader_address = state.settings.address
        state.say("info", "entering leader state", ("leader", str(state)))
        state.count_role()
        state.announce()
        self.leader = Leader(self, now)
        self.leader.begin(now)

    def become_follower(self, leader: str, now: float, *, quiet: bool = False, pause_s: float = 0.0) -> None:
        """Follows `leader` ("" if unknown) in the current term.

        quiet: it was a follower before, so there is nothing to log; pause_s: keeps it from elections for so long."""
        state = self.state
        if self.leader is not None:
            # Otherwise it would seem that nobody was heard of since before the leadership.
            state.last_contact = now
        self.end_leadership()
        state.role = FOLLOWER
        state.leader_address = leader
        state.leader_gone = False
        self.election.reset()
        if quiet:
            state.announce()
        else:
            self._enter_follower(now)
        self._due = max(self._due, now + pause_s)

    def _enter_follower(self, now: float) -> None:
        state = self.state
        state.say("info", "entering follower state", ("follower", str(state)), ("leader", state.leader_address))
        state.count_role()
        state.announce()
        self._warned = False
        self._restart_patience(now)

    def end_leadership(self) -> None:
        """What the leader had under way ends; the role is the caller's business."""
        if self.leader is not None:
            leader, self.leader = self.leader, None
            leader.end()

    # ---- answers to our own requests ---------------------------------------------------------------------------

    def _reply(self, event: RpcReply, now: float) -> None:
        state, reply = self.state, event.reply
        if reply is not None and not isinstance(reply, TimeoutNowReply) and reply.term > state.term:
            self._newer_term(reply.term, event.peer_id, now)
            return
        if self.leader is not None:
            self.leader.reply(event, now)
        else:
            self.election.reply(event, now)

    def _newer_term(self, term: int, peer_id: str, now: float) -> None:
        state = self.state
        if state.role == CANDIDATE:
            state.say("debug", "newer term discovered, fallback to follower")
        elif self.leader is not None:
            peer = state.configurations.latest.server(peer_id)
            state.say("error", "peer has newer term, stopping replication", ("peer", str(peer)))
        was_follower = state.role == FOLLOWER
        state.adopt_term(term)
        self.become_follower("", now, quiet=was_follower)
