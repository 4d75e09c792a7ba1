"""RaftCore: one server's consensus, without clock, disk or network. Events in, ordered effects out."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

from services.raft_node.core import codec, receiver
from services.raft_node.core.configuration import ConfigurationError, check
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
    Propose,
    ReadFailed,
    ReadIndex,
    Refused,
    Restored,
    RpcReply,
    RpcRequest,
    Send,
    SnapshotReceived,
    SnapshotTaken,
    Tick,
    TransferDone,
    TransferLeadership,
)
from services.raft_node.core.leader import Leader
from services.raft_node.core.log import LogStorage, RaftLog
from services.raft_node.core.messages import RequestVote, RequestVoteReply, TimeoutNowReply
from services.raft_node.core.state import NOT_LEADER, SOLE_VOTER_TIMEOUT_S, TRANSFER_IN_PROGRESS, State
from services.raft_node.core.types import (
    CANDIDATE,
    CONFIGURATION,
    FOLLOWER,
    LEADER,
    VOTER,
    Configuration,
    Entry,
    HardState,
    Settings,
    SnapshotMeta,
)

CANNOT_BOOTSTRAP: Final = "bootstrap only works on new clusters"


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
        self._votes: dict[str, bool] = {}
        self._vote_requests: dict[int, str] = {}
        self._warned = False
        self._follower_due = now + self._follower_timeout_s()
        self._candidate_due = math.inf

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
        return self._candidate_due if self.state.role == CANDIDATE else self._follower_due

    @property
    def lease_end(self) -> float:
        """Until when this server may answer reads as the leader; minus infinity if it is none."""
        return self.leader.lease_end() if self.leader is not None else -math.inf

    @property
    def has_committed_in_term(self) -> bool:
        """Whether a leader has committed an entry of its own term, so that its commit index is current."""
        return self.leader is not None and self.state.commit_index >= self.leader.start_index

    def all_acknowledged_is_applied(self, applied_index: int) -> bool:
        """Whether a state that holds everything up to `applied_index` has every write that anybody was told of.

        True for a sole server once the entries of earlier terms are applied: those of its own term it answers only
        after it has applied them."""
        leader = self.leader
        return leader is not None and self.state.is_sole_server and applied_index >= leader.start_index

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
                self.leader.read(event.tag, now)
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
        if event.first_index > state.log.last_index:
            return
        state.say("error", "failed to commit logs", ("error", event.error))
        state.log.cut(event.first_index)
        state.configurations.cut(event.first_index)
        state.configurations_changed()
        if self.leader is not None:
            self.leader.append_failed(event, now)
        else:
            state.emit(Dropped(event.first_index, event.error, unknown=True))

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

    def _follower_timeout_s(self) -> float:
        base_s = self.state.settings.heartbeat_timeout_s
        if self.state.is_sole_server:
            base_s = min(base_s, SOLE_VOTER_TIMEOUT_S)
        return self.state.random_timeout_s(base_s)

    def _tick(self, now: float) -> None:
        if self.leader is not None:
            self.leader.tick(now)
        elif self.state.role == CANDIDATE:
            if now >= self._candidate_due:
                self.state.say("warn", "Election timeout reached, restarting election")
                self.start_election(now)
        elif now >= self._follower_due:
            self._follower_due = now + self._follower_timeout_s()
            self._follower_timeout(now)

    def _follower_timeout(self, now: float) -> None:
        state = self.state
        silence_s = now - state.last_contact
        if silence_s < state.settings.heartbeat_timeout_s and not state.is_sole_server:
            return
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
            state.say("warn", "heartbeat timeout reached, starting election", ("last-leader", last_leader))
            state.count("raft.transition.heartbeat_timeout")
            self.start_election(now)

    def _warn_once(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            self.state.say("warn", message)

    # ---- roles -------------------------------------------------------------------------------------------------

    def start_election(self, now: float, *, transfer: bool = False) -> None:
        """Becomes candidate of the next term and asks every voter.

        transfer: the leader asked for it; voters then grant although they have a leader."""
        state, settings = self.state, self.state.settings
        self._end_leadership()
        state.role = CANDIDATE
        state.leader_address = ""
        term = state.term + 1
        state.say("info", "entering candidate state", ("node", str(state)), ("term", term))
        state.count_role()
        voter = state.configurations.latest.has_vote(settings.node_id)
        state.save(
            HardState(term, term, settings.address)
            if voter
            else HardState(term, state.hard.vote_term, state.hard.vote_candidate)
        )
        state.announce()
        state.say("debug", "votes", ("needed", state.configurations.latest.quorum))
        self._votes, self._vote_requests = {}, {}
        self._candidate_due = now + state.random_timeout_s(settings.election_timeout_s)
        request = RequestVote(
            term, settings.address, state.log.last_index, state.log.last_term, transfer
        )
        for server in state.configurations.latest.servers:
            if server.suffrage == VOTER and server.id != settings.node_id:
                request_id = state.next_request_id()
                self._vote_requests[request_id] = server.id
                state.emit(Send(request_id, server, request))
        if voter:
            self._count_vote(settings.node_id, now)

    def _count_vote(self, voter: str, now: float) -> None:
        state = self.state
        self._votes[voter] = True
        tally = len(self._votes)
        state.say("debug", "vote granted", ("from", voter), ("term", state.term), ("tally", tally))
        if tally < state.configurations.latest.quorum:
            return
        state.say("info", "election won", ("tally", tally))
        state.role = LEADER
        state.leader_address = state.settings.address
        state.say("info", "entering leader state", ("leader", str(state)))
        state.count_role()
        state.announce()
        self._vote_requests = {}
        self.leader = Leader(self, now)
        self.leader.begin(now)

    def become_follower(
        self, leader: str, now: float, *, quiet: bool = False, pause_s: float = 0.0
    ) -> None:
        """Follows `leader` ("" if unknown) in the current term.

        quiet: it was a follower before, so there is nothing to log; pause_s: keeps it from elections for so long."""
        state = self.state
        if self.leader is not None:
            # Otherwise it would seem that nobody was heard of since before the leadership.
            state.last_contact = now
        self._end_leadership()
        state.role = FOLLOWER
        state.leader_address = leader
        self._votes, self._vote_requests = {}, {}
        if quiet:
            state.announce()
        else:
            self._enter_follower(now)
        self._follower_due = max(self._follower_due, now + pause_s)

    def _enter_follower(self, now: float) -> None:
        state = self.state
        state.say(
            "info", "entering follower state", ("follower", str(state)), ("leader", state.leader_address)
        )
        state.count_role()
        state.announce()
        self._warned = False
        self._follower_due = now + self._follower_timeout_s()

    def _end_leadership(self) -> None:
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
        elif state.role == CANDIDATE:
            voter = self._vote_requests.pop(event.request_id, None)
            if voter is not None and isinstance(reply, RequestVoteReply) and reply.granted:
                self._count_vote(voter, now)

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
