"""Leadership transfer: the target is brought up to date, then told to stand for election at once (Raft thesis 3.10).

While it lasts nothing is proposed and no lease is claimed: voters will elect the target although they hear us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.raft_node.core.events import RpcReply, Send, TransferDone, TransferLeadership
from services.raft_node.core.messages import TimeoutNow
from services.raft_node.core.progress import Progress
from services.raft_node.core.state import TRANSFER_IN_PROGRESS
from services.raft_node.core.types import VOTER, Server

if TYPE_CHECKING:
    from services.raft_node.core.leader import Leader


class Handover:
    """One attempt. `give_up_at`: when the leader goes on leading instead."""

    def __init__(self, leader: Leader, tag: Any, server: Server, now: float) -> None:
        self.give_up_at = now + leader.state.settings.election_timeout_s
        self._leader = leader
        self._state = leader.state
        self._tag = tag
        self._server = server
        self._ever_asked = False
        self._request_id = 0
        """Of the TimeoutNow that was sent, 0 if there is none that may have arrived."""

    @classmethod
    def begin(cls, leader: Leader, event: TransferLeadership, now: float) -> Handover | None:
        """None, and the reason is told, if there is nobody to hand over to."""
        state, target = leader.state, event.target
        problem, peer = "", None
        if leader.hands_over:
            problem = TRANSFER_IN_PROGRESS
        elif target == state.settings.node_id:
            problem = "cannot transfer leadership to itself"
        else:
            peer = cls._choose(leader, target)
        if peer is None:
            missing = f"cannot find replication state for {target}" if target else "cannot find peer"
            state.emit(TransferDone(event.tag, problem or missing))
            return None
        server = peer.server
        state.say("debug", "starting leadership transfer", ("id", server.id), ("address", server.address))
        return cls(leader, event.tag, server, now)

    @staticmethod
    def _choose(leader: Leader, target: str) -> Progress | None:
        """The voter with this ID, any voter for "": of those the one that is furthest."""
        candidates = [
            peer
            for server_id, peer in leader.progress.items()
            if target in ("", server_id) and peer.server.suffrage == VOTER
        ]
        return max(candidates, key=lambda peer: peer.next_index) if candidates else None

    def advance(self, now: float) -> str:
        """Tells the target as soon as it has everything; returns why it cannot be done, "" if it may still be."""
        peer = self._leader.progress.get(self._server.id)
        if peer is None:
            return "cannot find peer"
        log, commit_index = self._state.log, self._state.commit_index
        # Everything is committed first: of what is not, nobody could be told what became of it.
        if peer.match_index == log.last_index == commit_index and not self._request_id:
            # Once, unless it failed: each one makes the target begin another election.
            self._ever_asked = True
            self._request_id = self._state.next_request_id()
            self._state.emit(Send(self._request_id, self._server, TimeoutNow(term=self._state.term)))
        return ""

    def took(self, event: RpcReply) -> bool:
        """Whether this is the answer to TimeoutNow. It says nothing about terms, so it confirms nothing to a leader."""
        if event.request_id != self._request_id:
            return False
        if event.reply is None:
            self._request_id = 0  # the target may have been told, or not
        return True

    def fail(self, error: str, now: float) -> None:
        """It did not work: nobody took over in time. If the target was told already, it or a server that it asks may
        act on that at any time later; a new term of our own is needed before a lease means anything again."""
        state = self._state
        state.say("debug", error)
        state.emit(TransferDone(self._tag, error))
        if self._ever_asked:
            self._leader.core.election.begin(now, transfer=True)

    def ended(self) -> None:
        """Leadership is over, which is what the transfer was for: another server is taking over."""
        self._state.say("debug", "lost leadership during transfer (expected)")
        self._state.emit(TransferDone(self._tag, ""))
