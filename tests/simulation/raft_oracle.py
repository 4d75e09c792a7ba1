"""Oracle: what Raft promises, checked as things happen. It knows all that happened, on every server, in every life.

A broken promise raises AssertionError at the step that broke it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.raft_node.core.messages import (
    AppendEntries,
    AppendEntriesReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
)
from services.raft_node.core.types import LEADER, Entry

if TYPE_CHECKING:
    from tests.simulation.raft_machine import SimMachine
    from tests.simulation.raft_server import SimServer


class Oracle:
    """acknowledged: writes that a client was told of; highest_acknowledged: of those the last, so a read that begins
    now must see it."""

    def __init__(self) -> None:
        self.servers: list[SimServer] = []
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.stored_entries: dict[tuple[int, int], tuple[int, bytes, int | None]] = {}
        self.committed: dict[int, tuple[int, int]] = {}
        """Index -> term of the entry, and term in which it was committed."""
        self.highest_committed = 0
        self.applied_entries: dict[int, tuple[int, bytes]] = {}
        self.acknowledged: dict[int, bytes] = {}
        self.highest_acknowledged = 0
        self.reads = self.lease_checks = 0
        self.seen = 0
        """The last entry that a consistent read has shown somebody. Of no meaning where states are replaced from
        outside: what they do not have was never there."""
        self.restored = False
        """A user has replaced the state."""
        self.leases_hold = True
        """Clocks run evenly enough for leases to mean something."""

    # ---- election safety, leader completeness ------------------------------------------------------------------

    def answered(self, server: SimServer, request: Request, reply: Reply | None) -> None:
        """One vote per term and server, whatever it forgets in between; and what an answer says is on the disk."""
        server_id = server.server.id
        if isinstance(reply, RequestVoteReply) and isinstance(request, RequestVote) and reply.granted:
            self.voted(server_id, request.term, request.candidate)
            vote = server.stable.state[1:]
            assert vote == (request.term, request.candidate), f"{server_id} has given a vote but saved {vote}"
            assert server.page.read().term >= reply.term, f"{server_id} votes in a term that its page does not show"
        elif isinstance(reply, AppendEntriesReply) and isinstance(request, AppendEntries) and reply.success:
            assert server.stable.state.term >= reply.term, f"{server_id} has not saved term {reply.term}"
            if request.entries:
                last = request.entries[-1]
                assert server.has_stored(last.index, last.term), f"{server_id} has not stored entry {last.index}"

    def asked(self, server: SimServer, request: Request) -> None:
        """Whoever asks for votes has given its own, which it will remember; and no other server hears of what the page
        does not show."""
        server_id = server.server.id
        if isinstance(request, RequestVote):
            assert server.page.read().term >= request.term, f"{server_id} stands in a term that its page does not show"
            if server.core.state.configurations.latest.has_vote(server_id):
                vote = server.stable.state[1:]
                assert vote == (request.term, request.candidate), f"{server_id} stands but has saved {vote}"
        elif isinstance(request, AppendEntries):
            told, page = request.leader_commit, server.page
            known = max(page.committed(), page.read().applied_index)
            ready = page.read().ready  # before that nobody reads by it
            assert known >= told or not ready, f"{server_id} tells of the commit of {told}, and its page of {known}"

    def voted(self, server_id: str, term: int, candidate: str) -> None:
        other = self.votes.setdefault((server_id, term), candidate)
        assert other == candidate, f"{server_id} voted for {other} and {candidate} in term {term}"

    def elected(self, server: SimServer) -> None:
        """One leader per term, which has every entry that was committed in a term before; no lease lives beside it."""
        core, server_id = server.core, server.server.id
        other = self.leaders.setdefault(core.term, server_id)
        assert other == server_id, f"{other} and {server_id} both lead term {core.term}"
        last = self.highest_committed
        # One that wins late, by a vote that was long on its way, may lack what was committed in newer terms.
        while last in self.committed and self.committed[last][1] >= core.term:
            last -= 1
        if last > core.log.snapshot_index and last in self.committed:
            expected = self.committed[last][0]
            assert core.log.term_at(last) == expected, f"leader {server_id} lacks the committed entry {last}"
        for old in self.servers:
            if old is not server and old.replica is not None and old.core.term < core.term:
                assert not (self.leases_hold and old.has_lease()), (
                    f"{server_id} leads term {core.term} while {old.server.id} has a lease of term {old.core.term}"
                )

    # ---- log matching, leader append-only ----------------------------------------------------------------------

    def stored(self, entries: Sequence[Entry], previous_term: int | None) -> None:
        """An index and term name one entry, and all before it: so it is checked that they name its predecessor.

        previous_term: None if a snapshot hides it."""
        known = self.stored_entries
        for entry in entries:
            found = known.get((entry.index, entry.term))
            if found is None:
                known[entry.index, entry.term] = (entry.type, entry.data, previous_term)
            else:
                kind, data, before = found
                assert (kind, data) == (entry.type, entry.data), f"two entries {entry.index} of term {entry.term}"
                assert previous_term is None or before is None or before == previous_term, (
                    f"entry {entry.index} of term {entry.term} follows terms {before} and {previous_term}"
                )
            previous_term = entry.term

    def observe(self, server: SimServer) -> None:
        """After each step of one server: what it commits is what all others commit; a leader takes nothing back."""
        core = server.core
        state = core.state
        log, commit_index = state.log, state.commit_index
        if state.role == LEADER:
            term, last_index, last_term = state.hard.term, log.last_index, log.last_term
            led, server.led = server.led, (term, last_index, last_term)
            if led is not None and led[0] == term and led != server.led and not state.is_sole_server:
                assert last_index >= led[1], f"leader {server.server.id} took entries back"
                assert led[1] < log.first_index or log.term_at(led[1]) == led[2], "a leader changed its log"
        else:
            server.led = None
        if commit_index > server.seen_commit:
            for index in range(max(server.seen_commit, log.first_index - 1) + 1, commit_index + 1):
                term = log.term_at(index)
                assert term is not None, f"{server.server.id} committed {index}, which it does not have"
                known = self.committed.setdefault(index, (term, core.term))[0]
                assert known == term, f"two entries were committed at {index}"
            server.seen_commit = commit_index
            if commit_index == log.snapshot_index:
                return  # installed; or restored, and then it is this leader alone that goes by it as yet
            self.highest_committed = max(self.highest_committed, commit_index)
            if state.role == LEADER:
                self._stored_by_a_quorum(server, commit_index)

    def _stored_by_a_quorum(self, leader: SimServer, index: int) -> None:
        """What a leader has just committed is on the disks of a quorum; of dead servers it is believed."""
        configuration = leader.core.state.configurations.latest
        term = leader.core.log.term_at(index)
        by_id = {server.server.id: server for server in self.servers}
        having = [name for name in configuration.voter_ids() if by_id[name].has_stored(index, term)]
        assert len(having) >= configuration.quorum, f"entry {index} is committed, but only on the disks of {having}"

    # ---- state machine safety, clients ---------------------------------------------------------------------------

    def applied(self, entry: Entry) -> None:
        known = self.applied_entries.setdefault(entry.index, (entry.term, entry.data))
        assert known == (entry.term, entry.data), f"two different entries were applied at {entry.index}"

    def acknowledge(self, server: SimServer, index: int, data: bytes) -> None:
        """A client hears that its write is done. Nobody who may answer reads from its own store may lack it."""
        assert self.applied_entries[index][1] == data
        self.acknowledged[index] = data
        if index <= self.highest_acknowledged:
            return
        self.highest_acknowledged = index
        if self.leases_hold:
            for other in self.servers:
                if other is not server and other.replica is not None:
                    self.may_read_locally(other)

    def may_read_locally(self, server: SimServer) -> None:
        """A default read on `server` now would be current, if it were answered."""
        if self.leases_hold and server.serves_lease_reads():
            self.lease_checks += 1
            applied = server.applied_index
            assert applied >= self.highest_acknowledged, (
                f"{server.server.id} has a lease but only {applied}; {self.highest_acknowledged} was acknowledged"
            )

    def read_begins(self) -> tuple[int, int]:
        """What a consistent read that begins now must show: the last acknowledged write, and what another one has."""
        return self.highest_acknowledged, self.seen

    def read(self, begun: tuple[int, int], index: int, machine: SimMachine) -> None:
        """A consistent read may be answered. begun: what `read_begins` said. index: that it was told to wait for;
        machine: the state from which it is answered."""
        floor = begun[0] if self.restored else max(begun)
        assert index >= floor, f"a read at {index} misses entry {floor}, known to somebody before it began"
        if floor:
            value = self.applied_entries[floor][1].decode()
            found = any(one == value for _, one in reversed(machine.values))
            assert found, f"a read is answered from a state without entry {floor}, known to somebody before it began"
        self.reads += 1
        self.seen = max(self.seen, machine.applied_index)
