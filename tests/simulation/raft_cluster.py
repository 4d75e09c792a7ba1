"""A cluster of real replicas (core, log, stable store, snapshots) in one process and in virtual time.

Everything random comes from one seed. The invariants of Raft are checked as things happen: a violation raises
AssertionError at the step that caused it."""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core.messages import InstallSnapshot
from services.raft_node.core.types import COMMAND, LEADER, Configuration, Entry, Server, Settings
from services.raft_node.log import FileSnapshots, StableStore, StorageError, Wal
from services.raft_node.machine import Applied, NoRoomError, StateReader
from services.raft_node.recovery import bootstrap, recover
from services.raft_node.replica import Replica
from services.raft_node.snapshotting import SnapshotRefusedError, SnapshotTaking
from tests.simulation.raft_disk import SimDisk

HEARTBEAT_S = 0.1
RPC_TIMEOUT_S = 0.3


class SimMachine:
    """A list of what was applied. It survives a kill, and a power cut takes all of it."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.applied_index = self.applied_term = 0
        self.values: list[list[Any]] = []
        self.no_room = False

    def apply_batch(self, entries: Sequence[Entry]) -> Applied:
        if self.no_room:
            raise NoRoomError("the state store is full")
        for entry in entries:
            assert entry.type == COMMAND
            assert entry.index > self.applied_index, "an entry was applied twice or out of order"
            self.oracle.applied(entry)
            self.values.append([entry.index, entry.data.decode()])
            self.applied_index, self.applied_term = entry.index, entry.term
        return Applied([f"applied {entry.index}" for entry in entries], changes=len(entries))

    def stream(self) -> Iterator[bytes]:
        data = json.dumps(self.values).encode()
        return iter([data[start : start + 100] for start in range(0, len(data), 100)])

    def restore(self, source: StateReader, index: int, term: int) -> None:
        self.values = json.loads(source.read())
        self.applied_index, self.applied_term = index, term

    def reset(self) -> None:
        self.values, self.applied_index, self.applied_term = [], 0, 0


class Oracle:
    """Knows all that happened, and that some of it may not."""

    def __init__(self) -> None:
        self.committed: dict[int, tuple[int, bytes]] = {}
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.acknowledged: dict[int, bytes] = {}
        self.highest_acknowledged = 0
        self.reads = 0

    def applied(self, entry: Entry) -> None:
        known = self.committed.setdefault(entry.index, (entry.term, entry.data))
        assert known == (entry.term, entry.data), f"two different entries were committed at {entry.index}"

    def elected(self, core: RaftCore) -> None:
        node_id = core.state.settings.node_id
        other = self.leaders.setdefault(core.term, node_id)
        assert other == node_id, f"{other} and {node_id} both lead term {core.term}"
        if self.committed:
            last = max(self.committed)
            term = core.log.term_at(last)
            covered = last <= core.log.snapshot_index
            assert covered or term == self.committed[last][0], f"the leader lacks the committed entry {last}"

    def voted(self, node_id: str, hard: Any) -> None:
        if hard.vote_term:
            candidate = self.votes.setdefault((node_id, hard.vote_term), hard.vote_candidate)
            assert candidate == hard.vote_candidate, f"{node_id} voted twice in term {hard.vote_term}"

    def acknowledge(self, index: int, data: bytes) -> None:
        assert self.committed[index][1] == data
        self.acknowledged[index] = data
        self.highest_acknowledged = max(self.highest_acknowledged, index)


class SimNode:
    """One server. It is its replica's outlet."""

    def __init__(self, cluster: SimCluster, node_id: str) -> None:
        self.cluster = cluster
        self.server = Server(node_id, f"{node_id}:8300")
        self.disk = SimDisk(random.Random(cluster.rng.getrandbits(32)))
        self.machine = SimMachine(cluster.oracle)
        self.replica: Replica | None = None
        self.lives = 0
        self.outcomes: list[tuple[bytes, str]] = []
        self.lines: list[str] = []
        self._snapshots_taken = 0

    @property
    def core(self) -> RaftCore:
        assert self.replica is not None
        return self.replica.core

    # ---- life --------------------------------------------------------------------------------------------------

    def boot(self, configuration: Configuration | None = None) -> None:
        """Starts the server on a disk that works again; `configuration`: of a new cluster."""
        self.disk.fault = None
        cluster, directory = self.cluster, "/raft"
        self.disk.make_directory(directory)
        wal = Wal.open(self.disk, f"{directory}/wal", cluster.segment_bytes)
        stable = StableStore.open(self.disk, f"{directory}/stable")
        snapshots = FileSnapshots(self.disk, f"{directory}/snapshots")
        if configuration is not None:
            bootstrap(wal, stable, configuration)
        found = recover(wal, snapshots, self.machine)
        settings = Settings(
            self.server.id,
            self.server.address,
            HEARTBEAT_S,
            HEARTBEAT_S,
            HEARTBEAT_S / 2,
            0.005,
            max_append_entries=8,
            trailing_logs=cluster.trailing_logs,
        )
        core = RaftCore(
            settings,
            wal,
            stable.state,
            snapshot=found.snapshot,
            configurations=found.configurations,
            applied_index=found.applied_index,
            rng=random.Random(cluster.rng.getrandbits(32)),
            now=cluster.now,
        )
        self.lives += 1
        luck = cluster.rng.random()
        slow, shared = (-1.0 if luck < share else 1.0 for share in (cluster.slow_disks, 2 * cluster.slow_disks))
        self.replica = Replica(
            core, wal, stable, snapshots, self.machine, self, lambda: cluster.now, slow, shared
        )
        self.run(self.replica.start)

    def kill(self, *, power: bool) -> None:
        """power: the machine loses it, and with it all that was not synced."""
        self.replica = None
        if power:
            self.disk.crash()
            self.machine = SimMachine(self.cluster.oracle)
        else:
            self.disk.kill()

    def run(self, action: Callable[[], None]) -> None:
        """Does something with the replica, then arranges for its next tick."""
        if self.replica is None:
            return
        try:
            action()
        except StorageError:
            self.kill(power=False)  # what the service does: it stops, with the error as its last words
        if self.replica is None:
            return
        hard = self.core.state.hard
        self.cluster.oracle.voted(self.server.id, hard)
        life, deadline = self.lives, self.core.deadline
        if deadline != float("inf"):
            self.cluster.at(max(deadline, self.cluster.now), lambda: self._tick(life, deadline))

    def _tick(self, life: int, deadline: float) -> None:
        if self.lives == life and self.replica is not None and self.core.deadline == deadline:
            self.event(ev.Tick())

    def event(self, event: ev.Event) -> None:
        replica = self.replica
        if replica is not None:
            self.run(lambda: replica.event(event))

    # ---- what clients do ---------------------------------------------------------------------------------------

    def propose(self, values: Sequence[bytes]) -> None:
        replica = self.replica
        assert replica is not None

        def action() -> None:
            for value in values:
                replica.propose([value], [(COMMAND, value, b"")])
            replica.flush()

        self.run(action)

    def change_configuration(self, command: str, server_id: str, address: str = "") -> None:
        replica = self.replica
        assert replica is not None
        self.run(lambda: replica.change_configuration(None, command, server_id, address))

    def read(self) -> None:
        replica, floor = self.replica, self.cluster.oracle.highest_acknowledged
        if replica is not None:
            self.run(lambda: replica.read(floor))

    def take_snapshot(self) -> None:
        replica, life = self.replica, self.lives
        assert replica is not None
        self._snapshots_taken += 1
        try:
            taking = SnapshotTaking(replica, self._snapshots_taken)
        except (SnapshotRefusedError, StorageError):
            return

        def step() -> None:
            if self.replica is None or self.lives != life:
                return
            try:
                if taking.step():
                    self.cluster.after(self.cluster.rng.uniform(0, 0.002), step)
                else:
                    meta = taking.finish()
                    self.run(lambda: taking.done(meta))
            except StorageError:
                taking.cancel()

        step()

    # ---- Outlet ------------------------------------------------------------------------------------------------

    def result(self, waiter: bytes, index: int, value: Any) -> None:
        assert value == f"applied {index}"
        self.cluster.oracle.acknowledge(index, waiter)
        self.outcomes.append((waiter, "ok"))

    def failed(self, waiter: bytes, error: str, *, unknown: bool) -> None:
        if not unknown:
            self.cluster.withdrawn.append(waiter)
        self.outcomes.append((waiter, error))

    def refused(self, waiter: bytes, error: str) -> None:
        self.cluster.withdrawn.append(waiter)
        self.outcomes.append((waiter, error))

    def read_ready(self, waiter: int, index: int) -> None:
        assert index >= waiter, f"a read at {index} misses entry {waiter}, acknowledged before it began"
        self.cluster.oracle.reads += 1

    def read_failed(self, waiter: int, error: str) -> None:
        pass

    def applied(self, index: int, changes: Any) -> None:
        pass

    def accepted(self, count: int) -> None:
        pass

    def stalled(self, reason: str) -> None:
        pass

    def role_changed(self, effect: ev.RoleChanged) -> None:
        if effect.role == LEADER:
            self.cluster.oracle.elected(self.core)

    def transfer_done(self, waiter: Any, error: str) -> None:
        self.outcomes.append((b"transfer", error))

    def log(self, effect: ev.Log) -> None:
        pairs = "".join(f" {key}={value}" for key, value in effect.pairs)
        self.lines.append(f"[{effect.level}] {effect.message}{':' if pairs else ''}{pairs}")

    def count(self, name: str) -> None:
        pass

    def gauge(self, name: str, value: float) -> None:
        pass

    def sample(self, name: str, value_ms: float) -> None:
        pass

    def start_sync(self, sync: Callable[[], None]) -> None:
        life = self.lives

        def finish() -> None:
            if self.lives == life and self.replica is not None:
                error = None
                try:
                    sync()
                except Exception as caught:
                    error = str(caught)
                replica = self.replica
                self.run(lambda: replica.sync_done(error))

        self.cluster.after(self.cluster.rng.uniform(0, 0.02), finish)

    def send(self, effect: ev.Send) -> None:
        self.cluster.call(self, effect.server.id, effect.request_id, effect.request, None)

    def send_snapshot(self, effect: ev.SendSnapshot) -> None:
        replica = self.replica
        assert replica is not None
        meta = replica.snapshots.newest()
        if meta is None:
            self.cluster.after(0.0, lambda: self.event(ev.RpcReply(effect.request_id, effect.server.id, None)))
            return
        body = replica.snapshots.open(meta).read()
        request = InstallSnapshot(
            effect.term,
            self.server.address,
            meta.index,
            meta.term,
            meta.configuration,
            meta.configuration_index,
            len(body),
        )
        self.cluster.call(self, effect.server.id, effect.request_id, request, body)

    def answer(self, effect: ev.Answer) -> None:
        effect.token[0](effect.reply)

    def receive_snapshot(self, effect: ev.ReceiveSnapshot) -> None:
        life, body, request = self.lives, effect.token[1], effect.request

        def stored() -> None:
            replica = self.replica
            if replica is None or self.lives != life:
                return
            writer = replica.snapshots.create(
                request.last_log_index,
                request.last_log_term,
                request.configuration,
                request.configuration_index,
                self.cluster.rng.getrandbits(30),
            )
            writer.write(body)
            writer.finish()
            self.event(ev.SnapshotReceived(effect.token, request))

        self.cluster.after(self.cluster.rng.uniform(0, 0.05), stored)


class SimCluster:
    """drop, duplicate: probability per message; delay_s_max: one way; slow_disks: probability that a booted server
    syncs in the background."""

    def __init__(
        self,
        size: int,
        seed: int,
        *,
        drop: float = 0.0,
        duplicate: float = 0.0,
        delay_s_max: float = 0.005,
        slow_disks: float = 0.3,
        trailing_logs: int = 20,
        segment_bytes: int = 1 << 14,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.drop, self.duplicate, self.delay_s_max = drop, duplicate, delay_s_max
        self.slow_disks, self.trailing_logs, self.segment_bytes = slow_disks, trailing_logs, segment_bytes
        self.oracle = Oracle()
        self.withdrawn: list[bytes] = []
        self.partition: dict[str, int] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._values = 0
        self.nodes: dict[str, SimNode] = {}
        for number in range(size):
            self.nodes[f"n{number}"] = SimNode(self, f"n{number}")
        configuration = Configuration(tuple(node.server for node in self.nodes.values()))
        for node in self.nodes.values():
            node.boot(configuration)

    # ---- time and network --------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (when, self._order, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay_s, action)

    def step(self) -> None:
        self.now, _, action = heapq.heappop(self._queue)
        action()

    def run_for(self, duration_s: float) -> None:
        end = self.now + duration_s
        while self._queue and self._queue[0][0] <= end:
            self.step()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Raises AssertionError if the condition does not come true within `limit_s` virtual seconds."""
        end = self.now + limit_s
        while not condition():
            assert self._queue, "nothing will ever happen again"
            assert self._queue[0][0] <= end, f"the condition did not come true within {limit_s} s"
            self.step()

    def connected(self, first: str, second: str) -> bool:
        return self.partition.get(first, 0) == self.partition.get(second, 0)

    def call(self, source: SimNode, target_id: str, request_id: int, request: Any, body: bytes | None) -> None:
        """An RPC: request, then answer; the caller hears of a failure after a timeout."""
        source_life, answered = source.lives, [False]

        def finish(reply: Any) -> None:
            if not answered[0] and source.lives == source_life and source.replica is not None:
                answered[0] = True
                source.event(ev.RpcReply(request_id, target_id, reply))

        def answer(reply: Any) -> None:
            self._carry(target_id, source.server.id, lambda: finish(reply))

        def arrive() -> None:
            target = self.nodes.get(target_id)
            if target is not None and target.replica is not None:
                target.event(ev.RpcRequest((answer, body), request))

        self._carry(source.server.id, target_id, arrive)
        self.after(RPC_TIMEOUT_S, lambda: finish(None))

    def _carry(self, source: str, target: str, action: Callable[[], None]) -> None:
        copies = 2 if self.rng.random() < self.duplicate else 1
        for _ in range(copies):
            if self.rng.random() >= self.drop:
                self.after(
                    self.rng.uniform(0.0001, self.delay_s_max),
                    lambda: action() if self.connected(source, target) else None,
                )

    # ---- what tests do -----------------------------------------------------------------------------------------

    def live(self) -> list[SimNode]:
        return [node for node in self.nodes.values() if node.replica is not None]

    def leaders(self) -> list[SimNode]:
        return [node for node in self.live() if node.core.role == LEADER]

    def leader(self, other_than: SimNode | None = None, limit_s: float = 60.0) -> SimNode:
        """Runs until somebody leads (and has committed in its term)."""
        found: list[SimNode] = []

        def led() -> bool:
            found[:] = [
                node for node in self.leaders() if node is not other_than and node.core.has_committed_in_term
            ]
            return bool(found)

        self.run_until(led, limit_s)
        return max(found, key=lambda node: node.core.term)

    def new_value(self) -> bytes:
        self._values += 1
        return b"value %d" % self._values

    def write(self, node: SimNode, count: int = 1) -> list[bytes]:
        values = [self.new_value() for _ in range(count)]
        node.propose(values)
        return values

    def isolate(self, *nodes: SimNode) -> None:
        """Cuts `nodes` off from the others, but not from each other."""
        for node in self.nodes.values():
            self.partition[node.server.id] = 1 if node in nodes else 0

    def heal(self) -> None:
        self.partition.clear()
        self.drop = self.duplicate = 0.0

    def settle(self, limit_s: float = 120.0) -> None:
        """Heals everything, and runs until all servers have applied the same; then checks that nothing
        acknowledged is missing and nothing withdrawn is there."""
        self.heal()
        for node in self.nodes.values():
            node.disk.fault = node.disk.room = None
            node.machine.no_room = False
            if node.replica is None:
                node.boot()
            else:
                node.run(node.replica.retry_apply)
        leader = self.leader(limit_s=limit_s)
        self.write(leader)

        def agree() -> bool:
            leaders = self.leaders()
            if len(leaders) != 1:
                return False
            members = [self.nodes[s.id] for s in leaders[0].core.state.configurations.latest.servers]
            last = leaders[0].core.log.last_index
            return all(
                node.replica is not None and node.replica.applied_index == last and not node.replica.pending
                for node in members
            )

        self.run_until(agree, limit_s)
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

    def check_leases(self) -> None:
        """Nobody else leads a newer term while a lease lives."""
        leaders = self.leaders()
        for node in leaders:
            if node.core.lease_end > self.now:
                newer = [other for other in leaders if other.core.term > node.core.term]
                assert not newer, f"{newer[0].server.id} leads while {node.server.id} has a lease"
