"""Linearizable reads: rounds of heartbeats that confirm the leadership, shared by all that wait (Raft thesis 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.raft_node.core.events import ReadReady
from services.raft_node.core.types import VOTER

if TYPE_CHECKING:
    from services.raft_node.core.events import ReadIndex
    from services.raft_node.core.leader import Leader
    from services.raft_node.core.progress import Progress
    from services.raft_node.core.types import Server

MAX_HEARTBEATS_IN_FLIGHT: Final = 16
PATIENCE_S: Final = 0.05
"""How long the voters that were asked may take before the others are asked as well, unless an earlier heartbeat to
those is still under way."""


class Reads:
    """The reads of one leadership. At most one round is under way; those that come meanwhile share the next.

    A round asks no more voters than a quorum needs, those that were heard of last: each one asked costs a wake-up there
    and one here. The others are asked when one of them fails, and when their answers take too long."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self._state = leader.state
        self._waiting: list[Any] = []
        self._round: tuple[int, int, list[Any]] | None = None

    def add(self, event: ReadIndex, now: float) -> None:
        """The read of a voter that was still in this term then is its own confirmation, where one is enough."""
        state = self._state
        if event.voter and event.term == state.term and self._is_quorum(event.voter) and self._knows_commit_index:
            state.emit(ReadReady([event.tag], state.commit_index))
            return
        self._waiting.append(event.tag)
        self.advance(now)

    def _is_quorum(self, voter: str) -> bool:
        """Whether this leader and another server are one together."""
        configuration, own_id = self._state.configurations.latest, self._state.settings.node_id
        votes = configuration.has_vote(own_id) + (voter != own_id and configuration.has_vote(voter))
        return votes >= configuration.quorum

    @property
    def _knows_commit_index(self) -> bool:
        """Something of this term is committed, and with it whatever earlier leaders have."""
        return self._state.commit_index >= self._leader.start_index

    def advance(self, now: float) -> None:
        """Starts a round for those that wait, unless one is under way or nothing of this term is committed."""
        leader, state = self._leader, self._state
        if not self._waiting or self._round or not self._knows_commit_index:
            return
        voters = leader.other_voters()
        if not voters and state.configurations.latest.has_vote(state.settings.node_id):
            state.emit(ReadReady(self._waiting, state.commit_index))
            self._waiting = []
            return
        self._round = (state.request_id + 1, state.commit_index, self._waiting)
        self._waiting = []
        configuration = state.configurations.latest
        needed = configuration.quorum - configuration.has_vote(state.settings.node_id)
        for peer in sorted(map(leader.progress.__getitem__, voters), key=_promise, reverse=True):
            if needed > 0 and peer.heartbeats_in_flight < MAX_HEARTBEATS_IN_FLIGHT:
                leader.heartbeat(peer, now)
                needed -= 1
            elif not peer.heartbeat_failures:  # those that fail are tried again after their pause
                peer.heartbeat_due = min(peer.heartbeat_due, now + PATIENCE_S)

    def failed(self, server: Server, request_id: int, now: float) -> None:
        """A heartbeat did not reach `server`: a round that counted on it asks the other voters at once."""
        if self._round is None or request_id < self._round[0] or server.suffrage != VOTER:
            return
        leader, first_request = self._leader, self._round[0]
        for server_id in leader.other_voters():
            peer = leader.progress[server_id]
            if not peer.heartbeat_failures and not peer.was_asked_since(first_request):
                leader.heartbeat(peer, now)

    def check(self, now: float) -> None:
        """A round is confirmed when a quorum answered something that was sent after it began."""
        if self._round is None:
            return
        first_request, index, tags = self._round
        state, progress = self._state, self._leader.progress
        configuration = state.configurations.latest
        confirmed = sum(
            1
            for voter in configuration.voter_ids()
            if voter == state.settings.node_id or (voter in progress and progress[voter].acked_request >= first_request)
        )
        if confirmed >= configuration.quorum:
            self._round = None
            state.emit(ReadReady(tags, index))
            self.advance(now)

    def abandoned(self) -> list[Any]:
        """Those that will get no answer because the leadership is over."""
        return self._waiting + (self._round[2] if self._round else [])


def _promise(peer: Progress) -> tuple[bool, float]:
    """Orders peers by how soon they may be expected to answer."""
    return not peer.heartbeat_failures, peer.last_contact
