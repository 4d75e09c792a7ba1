"""PublishedLeadership: what this server's other processes, and by their questions other servers, may believe of it."""

from __future__ import annotations

import math
from typing import Any

from services.raft_node.addresses import AddressBook
from services.raft_node.core.types import LEADER, VOTER
from services.raft_node.replica import Replica
from shared.state.leadership import FOREVER_NS, Leadership, LeadershipPage


def take_back(page: LeadershipPage, *, alone: bool = False) -> Leadership:
    """Before a state is opened, which may be thrown away then: nobody is to read it on the word of a process that has
    ended. A sole server's word stands, unless `alone`. Returns what the page said."""
    found = page.read()
    if alone or not found.leads_alone:
        page.write(found._replace(lease_end_ns=0, applied_index=0, confirmations=0))
    return found


class PublishedLeadership:
    """Writes the leadership page. clock_offset_ns: CLOCK_MONOTONIC where the time of trio is 0.

    holds_all: this is a sole server that led, back after a kill: nobody else can have acknowledged anything, and it did
    so only for what is in the state. Entries beyond that, for which there may be no room, keep nobody from reading.
    keeps: it goes on as the leader that the page shows. So local reads need not stop meanwhile."""

    def __init__(
        self,
        page: LeadershipPage,
        replica: Replica,
        addresses: AddressBook,
        clock_offset_ns: int,
        *,
        holds_all: bool = False,
        keeps: bool = False,
    ) -> None:
        self._page, self._replica, self._addresses = page, replica, addresses
        self._clock_offset_ns, self._holds_all, self._keeps = clock_offset_ns, holds_all, keeps
        self.due = False
        """Whether the page says something else than the core."""
        self._applied = 0
        """The applied index that the page says."""
        self._ready = False
        """Whether the page said last that local reads may begin."""
        self.told = page.committed()
        """The commit index that other servers may have heard of, 0 if there were none in this life and those before."""
        if self.told > replica.core.log.last_index:  # of a log that is gone
            self.committed(0)
        self._doors_key: Any = None
        """What the following was made of."""
        self._doors = (0, "")

    def applied(self, index: int) -> None:
        """The state holds everything up to `index`."""
        if index < self._applied:
            self.write()  # another state has taken the place of one that went further
        self.due = True

    def committed(self, index: int) -> None:
        """Everything up to `index` is committed: to be said before another server can hear of it."""
        self.told = index
        self._page.write_committed(index)

    def flush(self) -> bool:
        """Write what is due; whether local reads may begin with it."""
        if not self.due:
            return False
        self.due = False
        before = self._ready
        self.write()
        return self._ready and not before

    def write(self) -> None:
        replica = self._replica
        core, applied = replica.core, replica.applied_index
        if core.role == LEADER:
            self._keeps = self._keeps and not core.has_committed_in_term
        if self._keeps:
            return
        state = core.state
        leader, contact = state.leader_address, state.last_contact
        # Committed is not enough: of what earlier leaders have acknowledged, some may wait to be applied here.
        ready = core.all_acknowledged_is_applied(applied)
        ready = ready or (self._holds_all and core.role == LEADER and state.is_sole_server)
        applied = applied if state.is_of_this_leader else 0
        self._applied, self._ready = applied, ready
        self._page.write(
            Leadership(
                core.role.lower(),
                core.term,
                state.configurations.latest.id_of(leader) if leader else "",
                leader,
                self._lease_end_ns(core.lease_end),
                0 if contact == -math.inf else self._monotonic_ns(contact),
                core.commit_index,
                applied,
                ready,
                *self._confirmations_and_peers(),
            )
        )

    def _confirmations_and_peers(self) -> tuple[int, str]:
        """Servers that know pre-vote have doors, too."""
        core, addresses = self._replica.core, self._addresses
        state, knowing, leads = core.state, core.election.pre_voters, core.role == LEADER
        configuration = state.configurations.latest
        key = (configuration, leads, state.leader_address, tuple(knowing), addresses.changes)
        if key == self._doors_key:
            return self._doors
        if leads:
            servers = [one for one in configuration.servers if one.suffrage == VOTER and one.id in knowing]
        else:
            leader = state.leader_address
            servers = [one for one in configuration.servers if one.address == leader and one.id in knowing]
        pairs = [f"{one.id} {addresses.of(one)}" for one in servers]
        text = " ".join(pair for pair in pairs if len(pair.split()) == 2)
        needed = configuration.quorum - 1
        possible = leads and configuration.has_vote(state.settings.node_id) and len(text.split()) >= 2 * needed
        self._doors_key, self._doors = key, (needed if possible else 0, text)
        return self._doors

    def _lease_end_ns(self, lease_end: float) -> int:
        if lease_end == math.inf:
            return FOREVER_NS
        return 0 if lease_end == -math.inf else self._monotonic_ns(lease_end)

    def _monotonic_ns(self, trio_time: float) -> int:
        return max(0, int(trio_time * 1e9) + self._clock_offset_ns)
