"""The leader: appends proposals, replicates them, commits what a quorum of voters has stored (Raft 5.3, 5.4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from services.raft_node.core import codec
from services.raft_node.core.configuration import ConfigurationError, next_configuration
from services.raft_node.core.events import (
    Accepted,
    AppendFailed,
    AppendLog,
    ChangeConfiguration,
    Dropped,
    ReadFailed,
    Refused,
    ResetLog,
    RestoreSnapshot,
    RpcReply,
    Send,
    SendSnapshot,
    TransferLeadership,
)
from services.raft_node.core.handover import Handover
from services.raft_node.core.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshotReply,
)
from services.raft_node.core.progress import PROBE, SNAPSHOT, InFlight, Progress, backoff_s
from services.raft_node.core.quorum import quorum_index, quorum_time
from services.raft_node.core.reads import Reads
from services.raft_node.core.state import LEADERSHIP_LOST, RESTORED, TRANSFER_IN_PROGRESS
from services.raft_node.core.types import CONFIGURATION, NOOP, VOTER, Entry

if TYPE_CHECKING:
    from services.raft_node.core.node import RaftCore

MIN_LEASE_CHECK_S: Final = 0.01
FAILED_DISK_PAUSE_S: Final = 1.0
"""Time before a server whose disk refused the first entry of its term tries to lead again."""
CHANGE_PENDING: Final = "a configuration change is in progress: try again when it is committed"


class Leader:
    """Exists while the server leads. `start_index` is the first entry of its term; below it nothing counts."""

    def __init__(self, core: RaftCore, now: float) -> None:
        self.core = core
        self.state = core.state
        self.start_index = self.state.log.last_index + 1
        self.progress: dict[str, Progress] = {}
        self.lease_check_due = now + self.state.settings.leader_lease_timeout_s
        self.reads = Reads(self)
        self._handover: Handover | None = None

    def begin(self, now: float) -> None:
        self.append([(NOOP, b"", b"")], now)
        self._sync_peers(now)

    @property
    def deadline(self) -> float:
        if not self.progress:
            return math.inf
        due = self.lease_check_due
        for peer in self.progress.values():
            due = min(due, peer.heartbeat_due, self._log_due(peer))
        return min(due, self._handover.give_up_at) if self._handover else due

    def lease_end(self) -> float:
        """Until when nobody else can have been elected, on the core's clock; infinity for a sole voter, minus
        infinity while leadership is being handed over."""
        if self._handover:
            return -math.inf
        voters = self.other_voters()
        node_id, configuration = self.state.settings.node_id, self.state.configurations.latest
        if not voters and configuration.has_vote(node_id):
            return math.inf
        contact = {server_id: self.progress[server_id].lease_from for server_id in voters}
        contact[node_id] = math.inf
        return quorum_time(contact, configuration.voter_ids()) + self.state.settings.leader_lease_timeout_s

    def other_voters(self) -> list[str]:
        return [server_id for server_id, peer in self.progress.items() if peer.server.suffrage == VOTER]

    # ---- proposals ---------------------------------------------------------------------------------------------

    def propose(self, tag: Any, items: Sequence[tuple[int, bytes, bytes]], now: float) -> None:
        if self._handover:
            self.state.emit(Refused(tag, TRANSFER_IN_PROGRESS))
            return
        self.state.emit(Accepted(tag, self.state.log.last_index + 1, self.state.term))
        self.append(items, now)

    def append(self, items: Sequence[tuple[int, bytes, bytes]], now: float) -> None:
        log, term = self.state.log, self.state.term
        first = log.last_index + 1
        entries = [Entry(index, term, item[0], item[1], item[2]) for index, item in enumerate(items, first)]
        log.append(entries)
        # Followers may write while we do: our own copy counts only once it is durable.
        for peer in self.progress.values():
            self._replicate(peer, now)
        self.state.emit(AppendLog(entries))

    def change_configuration(self, event: ChangeConfiguration, now: float) -> None:
        state, configurations = self.state, self.state.configurations
        stable = configurations.latest_index == configurations.committed_index
        if self._handover:
            state.emit(Refused(event.tag, TRANSFER_IN_PROGRESS))
            return
        if not stable or state.commit_index < self.start_index:
            state.emit(Refused(event.tag, CHANGE_PENDING))
            return
        try:
            configuration = next_configuration(
                configurations.latest,
                configurations.latest_index,
                event.command,
                event.server_id,
                event.address,
                event.prev_index,
            )
        except ConfigurationError as error:
            state.emit(Refused(event.tag, str(error)))
            return
        state.say(
            "info",
            "updating configuration",
            ("command", event.command),
            ("server-id", event.server_id),
            ("server-addr", event.address),
            ("servers", str(configuration)),
        )
        state.emit(Accepted(event.tag, state.log.last_index + 1, state.term))
        self.append([(CONFIGURATION, codec.encode_configuration(configuration), b"")], now)
        configurations.store(configuration, state.log.last_index)
        state.configurations_changed()
        self._sync_peers(now)

    @property
    def hands_over(self) -> bool:
        return self._handover is not None

    def restore(self, index: int, now: float) -> None:
        """A snapshot from outside, stored as ending with `index`, replaces everything. What was proposed and is not
        applied comes to nothing. The log begins again behind a hole: so every follower has to take the snapshot."""
        state = self.state
        assert index > state.log.last_index
        state.emit(Dropped(state.log.applied_index + 1, RESTORED, unknown=True))
        state.log.install_snapshot(index, state.term)
        state.emit(RestoreSnapshot(index, state.term))
        state.commit_index = index
        state.emit(ResetLog(index + 1))
        state.say("info", "restored user snapshot", ("index", index))
        for peer in self.progress.values():
            self._replicate(peer, now)
        self.reads.advance(now)

    def _sync_peers(self, now: float) -> None:
        """Starts replication to servers that the latest configuration has, stops it to those it has not."""
        state = self.state
        wanted = {
            server.id: server for server in state.configurations.latest.servers if server.id != state.settings.node_id
        }
        for server_id, server in wanted.items():
            peer = self.progress.get(server_id)
            if peer is None:
                state.say("info", "added peer, starting replication", ("peer", server_id))
                peer = self.progress[server_id] = Progress(server, state.log.last_index, now)
                self.heartbeat(peer, now)
                self._replicate(peer, now)
            else:
                peer.server = server
        for server_id in [known for known in self.progress if known not in wanted]:
            last = state.log.last_index
            state.say("info", "removed peer, stopping replication", ("peer", server_id), ("last-index", last))
            del self.progress[server_id]
            self.core.election.learn(server_id, knows=False)
        self.reads.check(now)  # a round may have waited for nobody but those who are gone

    # ---- replication -------------------------------------------------------------------------------------------

    def _log_due(self, peer: Progress) -> float:
        if peer.mode == SNAPSHOT or self._is_full(peer):
            return math.inf
        if peer.mode == PROBE and peer.next_index <= self.state.log.last_index:
            return peer.retry_at
        return max(peer.commit_due, peer.retry_at)

    def _is_full(self, peer: Progress) -> bool:
        """Whether the peer has to answer before it is sent more."""
        settings = self.state.settings
        if peer.mode == PROBE:
            return peer.log_requests > 0
        return peer.log_requests >= settings.pipeline_depth or peer.log_bytes >= settings.max_in_flight_bytes

    def _replicate(self, peer: Progress, now: float, *, even_empty: bool = False) -> None:
        """Sends what the peer lacks, as far as its mode allows; with `even_empty` at least the commit index."""
        log, settings = self.state.log, self.state.settings
        while now >= peer.retry_at and peer.mode != SNAPSHOT and not self._is_full(peer):
            if peer.next_index > log.last_index and not even_empty:
                return
            prev_index = peer.next_index - 1
            prev_term = log.term_at(prev_index)
            missing = peer.next_index < log.first_index and peer.next_index <= log.last_index
            if prev_term is None or missing:
                self._send_snapshot(peer, now)
                return
            entries: list[Entry] = []
            if peer.next_index <= log.last_index:
                last = min(log.last_index, prev_index + settings.max_append_entries)
                entries = log.read(peer.next_index, last, settings.max_append_bytes)
            last_sent = prev_index + len(entries)
            request = AppendEntries(
                self.state.term,
                settings.address,
                prev_index,
                prev_term,
                tuple(entries),
                self.state.commit_index,
            )
            size = sum([len(entry.data) for entry in entries])
            self._send(peer, request, InFlight(prev_index, last_sent, now, False, size))
            peer.commit_due = now + self.state.random_timeout_s(settings.commit_timeout_s)
            even_empty = False
            if peer.mode == PROBE:
                return
            peer.next_index = last_sent + 1

    def _send(self, peer: Progress, request: AppendEntries, flight: InFlight) -> None:
        request_id = self.state.next_request_id()
        peer.sent(request_id, flight)
        self.state.emit(Send(request_id, peer.server, request, flight.heartbeat))

    def _send_snapshot(self, peer: Progress, now: float) -> None:
        peer.mode = SNAPSHOT
        peer.give_up_log_requests()
        request_id = self.state.next_request_id()
        peer.snapshot_request = request_id
        last_index = self.state.log.snapshot_index
        peer.sent(request_id, InFlight(0, last_index, now, False))
        self.state.emit(SendSnapshot(request_id, peer.server, self.state.term, last_index))

    def heartbeat(self, peer: Progress, now: float) -> None:
        request = AppendEntries(self.state.term, self.state.settings.address, pre_voters=self.core.election.known())
        self._send(peer, request, InFlight(0, 0, now, True))
        interval_s = self.state.settings.heartbeat_timeout_s / 10
        peer.heartbeat_due = now + self.state.random_timeout_s(interval_s)

    # ---- answers -----------------------------------------------------------------------------------------------

    def reply(self, event: RpcReply, now: float) -> None:
        """An answer of this term (a higher one has ended this leadership before), or None for a failure."""
        if self._handover and self._handover.took(event):
            return
        peer = self.progress.get(event.peer_id)
        flight = peer.take(event.request_id) if peer else None
        if peer is None or flight is None:
            return
        reply = event.reply
        if reply is None:
            self._failed(peer, event.request_id, flight, now)
            return
        peer.answered(event.request_id, flight, now)
        if flight.heartbeat:
            peer.reachable(now)
            if isinstance(reply, AppendEntriesReply):
                self.core.election.learn(event.peer_id, reply.pre_vote)
        elif isinstance(reply, AppendEntriesReply) and peer.mode != SNAPSHOT:
            if reply.success:
                peer.accepted(flight)
                self.maybe_commit(now)
            else:
                peer.rejected(flight, reply.last_log, reply.no_retry_backoff, now)
                self.state.say(
                    "warn",
                    "appendEntries rejected, sending older logs",
                    ("peer", str(peer.server)),
                    ("next", peer.next_index),
                )
        elif isinstance(reply, InstallSnapshotReply) and event.request_id == peer.snapshot_request:
            if reply.success:
                peer.next_index = flight.last_index + 1
                peer.accepted(flight)
                peer.mode = PROBE
                self.maybe_commit(now)
            else:
                self.state.say("warn", "installSnapshot rejected to", ("peer", str(peer.server)))
                peer.failed(now)
        if self.core.leader is self:
            self.reads.check(now)
            self._replicate(peer, now)
            self._advance_handover(now)

    def _failed(self, peer: Progress, request_id: int, flight: InFlight, now: float) -> None:
        if flight.heartbeat:
            peer.heartbeat_failures += 1
            # Not longer than a server that is back would wait before it stands for election.
            pause_s = min(backoff_s(peer.heartbeat_failures), self.state.settings.heartbeat_timeout_s / 2)
            peer.heartbeat_due = max(peer.heartbeat_due, now + pause_s)
            self.reads.failed(peer.server, request_id, now)
        else:
            peer.failed(now)

    # ---- commit ------------------------------------------------------------------------------------------------

    def maybe_commit(self, now: float) -> None:
        """Commits what a quorum has stored, once that includes an entry of this term."""
        state = self.state
        node_id, durable = state.settings.node_id, state.log.durable_index
        if self.progress:
            match = {server_id: peer.match_index for server_id, peer in self.progress.items()}
            match[node_id] = durable
            index = quorum_index(match, state.configurations.latest.voter_ids())
        else:
            index = durable
        if index <= state.commit_index or index < self.start_index:
            return
        committed_configuration = state.commit_to(index)
        self.reads.advance(now)
        if committed_configuration and not state.configurations.committed.has_vote(node_id):
            state.say("info", "removed ourself, transitioning to follower")
            self.core.become_follower("", now)
            return
        self._advance_handover(now)

    def append_failed(self, event: AppendFailed, now: float) -> None:
        """The disk refused entries, and the log is cut already. A sole server withdraws them, since nobody else has
        seen them; any other steps down: an index and term must never name two different entries. Also one that would
        have become sole: the server that was to be removed may have seen some of it, and is a member again."""
        state = self.state
        seen_by_others = bool(self.progress) or not state.is_sole_server
        if seen_by_others or event.first_index <= self.start_index:
            unknown = event.unknown or seen_by_others
            state.emit(Dropped(event.first_index, event.error, unknown))
            self.core.become_follower("", now, pause_s=FAILED_DISK_PAUSE_S)
        else:
            state.emit(Dropped(event.first_index, event.error, event.unknown))

    # ---- lease, transfer, end ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        if not self.progress:
            return
        if now >= self.lease_check_due and not self._check_lease(now):
            return
        for peer in self.progress.values():
            if now >= peer.heartbeat_due:
                if peer.heartbeats_in_flight:
                    interval_s = self.state.settings.heartbeat_timeout_s / 10
                    peer.heartbeat_due = now + self.state.random_timeout_s(interval_s)
                else:
                    self.heartbeat(peer, now)
            if now >= self._log_due(peer):
                self._replicate(peer, now, even_empty=True)
        if self._handover and now >= self._handover.give_up_at:
            self._end_handover("leadership transfer timeout", now)

    def _check_lease(self, now: float) -> bool:
        """Steps down (False) unless a quorum of voters was heard within the lease."""
        state, lease_s = self.state, self.state.settings.leader_lease_timeout_s
        contacted, max_silence_s = 0, 0.0
        configuration = state.configurations.latest
        for server_id in configuration.voter_ids():
            if server_id == state.settings.node_id:
                contacted += 1
                continue
            silence_s = now - self.progress[server_id].last_contact
            if silence_s <= lease_s:
                contacted += 1
                max_silence_s = max(max_silence_s, silence_s)
            else:
                level = "warn" if silence_s <= 3 * lease_s else "debug"
                state.say(level, "failed to contact", ("server-id", server_id), ("time", f"{silence_s:.9g}s"))
        if contacted < configuration.quorum:
            state.say("warn", "failed to contact quorum of nodes, stepping down")
            state.count("raft.transition.leader_lease_timeout")
            self.core.become_follower("", now)
            return False
        self.lease_check_due = now + max(MIN_LEASE_CHECK_S, lease_s - max_silence_s)
        return True

    def transfer(self, event: TransferLeadership, now: float) -> None:
        handover = Handover.begin(self, event, now)
        if handover is not None:
            self._handover = handover
            self._advance_handover(now)

    def _advance_handover(self, now: float) -> None:
        if self._handover is not None and (problem := self._handover.advance(now)):
            self._end_handover(problem, now)

    def _end_handover(self, error: str, now: float) -> None:
        assert self._handover is not None
        handover, self._handover = self._handover, None
        handover.fail(error, now)

    def end(self) -> None:
        """Leadership is over: everybody who waits for it is told. `core.leader` is already None."""
        state = self.state
        reads = self.reads.abandoned()
        if reads:
            state.emit(ReadFailed(reads, LEADERSHIP_LOST))
        if self._handover:
            self._handover.ended()
        state.emit(Dropped(state.commit_index + 1, LEADERSHIP_LOST, unknown=True))
