"""SimCluster: servers, virtual time and a network that loses, delays, reorders and repeats what is sent.

Everything random comes from one seed, and every server shows the oracle what it does."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from services.raft_node.core import events as ev
from services.raft_node.core.types import LEADER, Configuration
from tests.simulation.raft_oracle import Oracle
from tests.simulation.raft_server import HEARTBEAT_S, SimServer

__all__ = ["HEARTBEAT_S", "RPC_TIMEOUT_S", "SimCluster", "SimServer"]

RPC_TIMEOUT_S = 0.3
_LATE_S = 1.0
_REFUSED = 0.8
"""Probability that a call to a dead process fails at once. Otherwise its machine is dead too."""
_MAX_EVENTS = 200_000
"""Far more than any run needs."""


class SimCluster:
    """drop, duplicate: probability per message; late: that it takes up to a second, longer than its sender waits;
    delay_s_max: one way, for all others; interrupted: probability that a snapshot's connection ends in the middle;
    slow_disks: that a booted server syncs in the background; hanging: that such a sync takes very long; spares: servers
    that are up and in no configuration."""

    def __init__(
        self,
        size: int,
        seed: int,
        *,
        spares: int = 0,
        drop: float = 0.0,
        duplicate: float = 0.0,
        late: float = 0.0,
        delay_s_max: float = 0.005,
        interrupted: float = 0.0,
        slow_disks: float = 0.3,
        hanging: float = 0.0,
        trailing_logs: int = 20,
        segment_bytes: int = 1 << 14,
        max_append_entries: int = 8,
        max_in_flight_bytes: int = 1 << 20,
        keeps_lines: bool = True,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.drop, self.duplicate, self.late, self.delay_s_max = drop, duplicate, late, delay_s_max
        self.interrupted, self.slow_disks, self.hanging = interrupted, slow_disks, hanging
        self.trailing_logs, self.segment_bytes = trailing_logs, segment_bytes
        self.max_append_entries = max_append_entries
        self.max_in_flight_bytes, self.keeps_lines = max_in_flight_bytes, keeps_lines
        self.oracle = Oracle()
        self.withdrawn: list[bytes] = []
        self.cut: dict[tuple[str, str], None] = {}
        """Directions in which nothing arrives."""
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._timeouts: deque[tuple[float, Callable[[Any], None]]] = deque()
        """Of all calls, in the order in which they were made, as they all have the same time."""
        self._order = 0
        self._values = 0
        self.nodes: dict[str, SimServer] = {}
        for number in range(size + spares):
            self.nodes[f"n{number}"] = SimServer(self, f"n{number}")
        nodes = list(self.nodes.values())
        configuration = Configuration(tuple(node.server for node in nodes[:size]))
        for node in nodes[:size]:
            node.boot(configuration)
        for node in nodes[size:]:
            node.boot()

    # ---- time and network --------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (when, self._order, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay_s, action)

    def step(self) -> None:
        """The next thing happens."""
        timeouts, queue = self._timeouts, self._queue
        if timeouts and (not queue or timeouts[0][0] <= queue[0][0]):
            self.now, finish = timeouts.popleft()
            finish(None)
            return
        self.now, order, action = heapq.heappop(queue)
        assert order < _MAX_EVENTS, f"{order} events in {self.now} s: somebody is busy with nothing"
        action()

    def _next_at(self) -> float:
        next_at = self._queue[0][0] if self._queue else math.inf
        return min(next_at, self._timeouts[0][0]) if self._timeouts else next_at

    def run_for(self, duration_s: float) -> None:
        end = self.now + duration_s
        while self._next_at() <= end:
            self.step()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Raises AssertionError if the condition does not come true within `limit_s` virtual seconds."""
        end = self.now + limit_s
        while not condition():
            assert self._next_at() <= end, f"the condition did not come true within {limit_s} s"
            self.step()

    def call(self, source: SimServer, target_id: str, request_id: int, request: Any, body: bytes | None) -> None:
        """An RPC: request, then answer; the caller hears of a failure after a timeout."""
        source_life, answered = source.lives, False

        def finish(reply: Any) -> None:
            nonlocal answered
            if not answered and source.lives == source_life and source.replica is not None:
                answered = True
                source.event(ev.RpcReply(request_id, target_id, reply))

        def answer(reply: Any) -> None:
            self._carry(target_id, source.server.id, lambda: finish(reply))

        def arrive() -> None:
            target = self.nodes.get(target_id)
            if target is not None and target.replica is not None:
                target.event(ev.RpcRequest((answer, body, request), request))
            elif self.rng.random() < _REFUSED:
                answer(None)

        self._carry(source.server.id, target_id, arrive)
        self._timeouts.append((self.now + RPC_TIMEOUT_S, finish))

    def ask(
        self,
        source: SimServer,
        target_id: str,
        question: Callable[[SimServer, Callable[..., None]], None],
        on_answer: Callable[..., None],
    ) -> None:
        """A question of another process of `source` to the raft_node of `target_id`, which answers when it runs."""

        def reply(*answer: Any) -> None:
            self._carry(target_id, source.server.id, lambda: on_answer(*answer))

        def arrive() -> None:
            target = self.nodes[target_id]
            if target.replica is not None:
                target.run(lambda: question(target, reply))

        self._carry(source.server.id, target_id, arrive)

    def _carry(self, source: str, target: str, action: Callable[[], None]) -> None:
        rng, cut, link = self.rng, self.cut, (source, target)
        copies = 2 if self.duplicate and rng.random() < self.duplicate else 1
        for _ in range(copies):
            if self.drop and rng.random() < self.drop:
                continue
            limit = _LATE_S if self.late and rng.random() < self.late else self.delay_s_max
            self._order += 1
            when = self.now + 0.0001 + limit * rng.random()
            heapq.heappush(self._queue, (when, self._order, lambda: None if link in cut else action()))

    def connections_end(self, gone: SimServer) -> None:
        """The others see that a process has ended, if the network lets them."""
        for node in self.nodes.values():
            if node is not gone and node.replica is not None and self.rng.random() < 0.8:
                self._carry(gone.server.id, node.server.id, lambda node=node: self._tell(node, gone.server.address))

    @staticmethod
    def _tell(node: SimServer, address: str) -> None:
        node.event(ev.LeaderGone(address))

    # ---- what tests do -----------------------------------------------------------------------------------------

    def live(self) -> list[SimServer]:
        return [node for node in self.nodes.values() if node.replica is not None]

    def leaders(self) -> list[SimServer]:
        return [node for node in self.live() if node.core.role == LEADER]

    def leader(self, other_than: SimServer | None = None, limit_s: float = 60.0) -> SimServer:
        """Runs until somebody leads (and has committed in its term)."""
        found: list[SimServer] = []

        def led() -> bool:
            found[:] = [node for node in self.leaders() if node is not other_than and node.core.has_committed_in_term]
            return bool(found)

        self.run_until(led, limit_s)
        return max(found, key=lambda node: node.core.term)

    def new_value(self) -> bytes:
        self._values += 1
        return b"value %d" % self._values

    def write(self, node: SimServer, count: int = 1) -> list[bytes]:
        values = [self.new_value() for _ in range(count)]
        node.propose(values)
        return values

    def isolate(self, *nodes: SimServer) -> None:
        """Cuts `nodes` off from the others, but not from each other; every other cut is mended."""
        self.cut.clear()
        inside = [node.server.id for node in nodes]
        for one in inside:
            for other in self.nodes:
                if other not in inside:
                    self.cut[one, other] = self.cut[other, one] = None

    def heal(self) -> None:
        self.cut.clear()
        self.drop = self.duplicate = self.late = self.interrupted = 0.0
        self.delay_s_max = min(self.delay_s_max, HEARTBEAT_S / 10)

    def settle(self, limit_s: float = 120.0) -> None:
        """Heals everything, and runs until all servers have applied the same; then checks that nothing
        acknowledged is missing and nothing withdrawn is there."""
        self.heal()
        for node in self.nodes.values():
            node.disk.fault = node.disk.room = node.disk.crash_after = None
            node.thaw()
            node.make_room()
            if node.replica is None:
                node.boot()
        leader = self.leader(limit_s=limit_s)
        self.write(leader)
        self.run_until(self._agree, limit_s)
        [leader] = self.leaders()
        applied = dict(leader.machine.values)
        members = leader.core.state.configurations.latest.servers
        assert all(self.nodes[server.id].machine.values == leader.machine.values for server in members)
        for index, data in self.oracle.acknowledged.items():
            assert applied.get(index) == data.decode(), f"the acknowledged entry {index} is gone"
        present = list(applied.values())
        assert len(present) == len(dict.fromkeys(present)), "a write was applied twice"
        ghosts = dict.fromkeys(value.decode() for value in self.withdrawn).keys() & dict.fromkeys(present).keys()
        assert not ghosts, f"refused writes were applied: {sorted(ghosts)}"

    def _agree(self) -> bool:
        leaders = self.leaders()
        if len(leaders) != 1:
            return False
        core = leaders[0].core
        last, term = core.log.last_index, core.log.last_term
        for server in core.state.configurations.latest.servers:
            replica = self.nodes[server.id].replica
            if replica is None or replica.applied_index != last or replica.pending:
                return False
            if replica.core.log.term_at(last) != term:
                return False
        return True
