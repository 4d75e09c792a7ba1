"""Confirmation: whether this server led when a read came, asked of the other voters past raft_node.

A round of Raft's ReadIndex (section 6.4 of Ongaro's thesis) with other messengers: after the read has come, the page
says which term this server leads in, and the other voters are asked for theirs. While a quorum, this server with it, is
in that term, nobody has been elected in a later one; so whatever was acknowledged before is in the log of this leader,
and it acknowledges nothing that is not in its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.state.leadership import LEADER, Leadership, LeadershipPage


class Confirmation:
    """One round. term: in which this server leads. index: up to where the state has to be applied. missing: how many
    of `peers` (addresses by id) have to confirm that they are in this term."""

    __slots__ = ("_confirmed", "index", "missing", "peers", "term")

    def __init__(self, leadership: Leadership, committed: int, peers: Mapping[str, str]) -> None:
        self.term, self.peers = leadership.term, peers
        self.index = max(leadership.applied_index, committed)
        self.missing = leadership.confirmations
        self._confirmed: set[str] = set()

    @classmethod
    def begin(cls, page: LeadershipPage) -> Confirmation | None:
        """For reads that have come. None: this server does not lead, or not enough can be asked in this way."""
        leadership = page.read()
        if leadership.role != LEADER or not leadership.ready or not leadership.confirmations:
            return None
        # A follower may have shown what it has applied before this leader has.
        return cls(leadership, page.committed(), leadership.peer_addresses())

    def answered(self, server_id: str, answer: Any) -> bool:
        """answer: what the door of `server_id` has said, [its id, its term]. False: it confirms nothing."""
        if answer != [server_id, self.term]:
            return False
        if server_id not in self._confirmed:
            self._confirmed.add(server_id)
            self.missing -= 1
        return True

    def stands(self, page: LeadershipPage) -> bool:
        """Whether the reads may be answered from the state, now that nobody is missing: it has what it has to have, and
        is still that of this term's leader. A raft_node that begins anew, perhaps with less, takes the page back
        first."""
        now = page.read()
        leads = now.role == LEADER and now.term == self.term and now.ready and now.confirmations > 0
        return leads and now.applied_index >= self.index
