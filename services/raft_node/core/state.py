"""What every role of a server shares: hard state, log, configurations, and the list of effects being built."""

from __future__ import annotations

import random
from typing import Any, Final

from services.raft_node.core import codec
from services.raft_node.core.configuration import Configurations
from services.raft_node.core.events import Commit, Count, Effect, Log, RoleChanged, SaveHardState
from services.raft_node.core.log import CACHED_ENTRIES, RaftLog
from services.raft_node.core.types import (
    ADD_PEER,
    CONFIGURATION,
    FOLLOWER,
    LEADER,
    REMOVE_PEER,
    Entry,
    HardState,
    Settings,
)

NOT_LEADER: Final = "node is not the leader"
LEADERSHIP_LOST: Final = "leadership lost while committing log"
RESTORED: Final = "snapshot restored while committing log"
TRANSFER_IN_PROGRESS: Final = "leadership transfer in progress"

SOLE_VOTER_TIMEOUT_S: Final = 0.035
"""Upper bound of the base heartbeat timeout of a server that is its whole cluster: nobody else can be leader, so
there is nobody to wait for."""


class State:
    """Plain attributes; the roles read and write them. `effects` is swapped out by the core after each step."""

    __slots__ = (
        "astray_term",
        "commit_index",
        "configurations",
        "effects",
        "hard",
        "last_contact",
        "leader_address",
        "leader_gone",
        "left_behind",
        "log",
        "proved_term",
        "request_id",
        "rng",
        "role",
        "settings",
        "votes_from",
    )

    def __init__(self, settings: Settings, hard: HardState, log: RaftLog, rng: random.Random) -> None:
        self.settings = settings
        self.hard = hard
        self.log = log
        self.rng = rng
        self.configurations = Configurations()
        self.role = FOLLOWER
        self.leader_address = ""
        self.leader_gone = False
        """The leader's process seems to be dead, so that only its lease has to be waited for."""
        self.votes_from = float("-inf")
        """Before this time no vote is given, except in a transfer: what this server has answered to a leader, in
        this life or the one before, is that leader's lease."""
        self.commit_index = log.applied_index
        self.astray_term = -1
        """The term whose leader has shown that its log is not the one that our snapshot stands for, -1 for none."""
        self.left_behind = (0, 0)
        """Term and index of such a snapshot that was given up. What was acknowledged before it is not in the log any
        more until the leader has sent it again, so until then nobody is elected who may lack it."""
        self.proved_term = -1
        """The term whose leader has shown that its log goes on from our snapshot."""
        self.last_contact = float("-inf")
        self.request_id = 0
        self.effects: list[Effect] = []

    # ---- short ways to say it --------------------------------------------------------------------------------------

    @property
    def term(self) -> int:
        return self.hard.term

    @property
    def is_sole_server(self) -> bool:
        servers = self.configurations.latest.servers
        return len(servers) == 1 and self.configurations.latest.has_vote(self.settings.node_id)

    @property
    def is_alone(self) -> bool:
        """The same, and known to be so for good: as long as its configuration is not known to be committed, the leader
        that removed the other servers, itself perhaps the last of them, may have a lease."""
        return self.is_sole_server and self.configurations.committed_index == self.configurations.latest_index

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def say(self, level: str, message: str, *pairs: tuple[str, Any]) -> None:
        self.effects.append(Log(level, message, pairs))

    def count(self, name: str) -> None:
        self.effects.append(Count(name))

    def next_request_id(self) -> int:
        self.request_id += 1
        return self.request_id

    def random_timeout_s(self, base_s: float) -> float:
        """A timer of hashicorp/raft: uniformly from [base, 2 * base)."""
        return base_s * (1 + self.rng.random())

    def __str__(self) -> str:
        return f"Node at {self.settings.address} [{self.role}]"

    @property
    def is_catching_up(self) -> bool:
        """Whether it does not even hold a log that is as far as the state that it gave up."""
        return (self.log.last_term, self.log.last_index) < self.left_behind

    @property
    def is_of_this_leader(self) -> bool:
        """Whether the state here is known to be part of what this term's leader has. What a user has restored may have
        come to nothing: until the leader has shown otherwise, a state that stands on a snapshot may be of that kind."""
        return self.role == LEADER or self.log.snapshot_index == 0 or self.proved_term == self.term

    def is_bound(self, candidate: str, now: float) -> bool:
        """Whether a vote for `candidate` could break a leader's lease, or would disturb one that is well."""
        if self.role == LEADER:
            return True
        if self.leader_address == candidate:
            return False
        if now < self.votes_from:
            return True
        has_leader = self.leader_address != "" and not self.leader_gone
        return has_leader and now < self.last_contact + self.settings.heartbeat_timeout_s

    def heard_leader(self, now: float) -> None:
        """The leader has sent something that will be answered: it may count on this server for its lease."""
        self.last_contact = now
        self.votes_from = now + self.settings.lease_guard_s
        self.leader_gone = False

    # ---- hard state, role --------------------------------------------------------------------------------------

    def save(self, hard: HardState) -> None:
        self.hard = hard
        self.emit(SaveHardState(hard))

    def adopt_term(self, term: int) -> None:
        """Moves to a higher term, in which no vote was given yet."""
        self.save(HardState(term, self.hard.vote_term, self.hard.vote_candidate))

    def announce(self) -> None:
        """Tells the shell who leads. Called after each change of role, term or leader."""
        leader_id = self.configurations.latest.id_of(self.leader_address) if self.leader_address else ""
        self.emit(RoleChanged(self.role, self.term, leader_id, self.leader_address))

    # ---- configurations ----------------------------------------------------------------------------------------

    def configurations_changed(self) -> None:
        """Followers need recent entries at hand; a server without any keeps none."""
        self.log.cached_entries = 0 if self.is_sole_server else CACHED_ENTRIES

    def store_configuration(self, entry: Entry) -> None:
        """Puts a configuration entry into effect; other types do nothing. Raises EntryError."""
        if entry.type == CONFIGURATION:
            self.configurations.store(codec.decode_configuration(entry.data), entry.index)
        elif entry.type in (ADD_PEER, REMOVE_PEER):
            self.configurations.store(codec.decode_peers(entry.data), entry.index)
        else:
            return
        self.configurations_changed()

    def commit_to(self, index: int) -> bool:
        """Raises the commit index. True if that committed the latest configuration."""
        self.commit_index = index
        self.emit(Commit(index))
        return self.configurations.commit(index)

    def count_role(self) -> None:
        self.count(f"raft.state.{self.role.lower()}")
