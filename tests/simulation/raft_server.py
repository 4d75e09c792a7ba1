"""SimServer: one real replica (core, log, stable store, snapshots) on a simulated disk, clock and network."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from services.raft_node.addresses import AddressBook
from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core.messages import InstallSnapshot
from services.raft_node.core.types import COMMAND, LEADER, NOOP, Configuration, Entry, Server, Settings
from services.raft_node.log import FileSnapshots, StableStore, StorageError, Wal
from services.raft_node.log.wal import Pending
from services.raft_node.page import PublishedLeadership, take_back
from services.raft_node.recovery import bootstrap, recover
from services.raft_node.replica import Replica
from services.raft_node.snapshotting import SnapshotRefusedError, SnapshotTaking
from services.raft_node.sync_policy import SyncPolicy
from tests.simulation.raft_disk import PowerCut, SimDisk
from tests.simulation.raft_machine import SimMachine
from tests.simulation.raft_reads import SimPage

if TYPE_CHECKING:
    from tests.simulation.raft_cluster import SimCluster

HEARTBEAT_S = 0.1


class WatchedWal(Wal):
    """Shows the oracle what is stored."""

    server: SimServer
    _written: Sequence[Entry] = ()

    def write(self, entries: Sequence[Entry]) -> Pending:
        self._written = entries
        return super().write(entries)

    def finish(self, pending: Pending) -> None:
        super().finish(pending)
        if entries := self._written:
            before = entries[0].index - 1
            known = self.term_at(before) if self.first_index <= before <= self.last_index else None
            self.server.cluster.oracle.stored(entries, known)


class _AsideFrom(SyncPolicy):
    """Batches of so many entries and more are synced aside, however long the disk takes."""

    def __init__(self, entries: float) -> None:
        super().__init__()
        self._entries = entries

    def aside(self, entries: int) -> bool:
        return entries >= self._entries


class SimServer:
    """One server. It is its replica's outlet.

    clock_rate, clock_offset_s: its clock shows offset + rate * (virtual time), and never goes back."""

    def __init__(self, cluster: SimCluster, server_id: str) -> None:
        self.cluster = cluster
        self.server = Server(server_id, f"{server_id}:8300")
        self.disk = SimDisk(random.Random(cluster.rng.getrandbits(32)))
        self.machine = SimMachine(cluster.oracle)
        self.replica: Replica | None = None
        self.page = SimPage()
        self._published: PublishedLeadership
        self.wal: WatchedWal
        self.stable: StableStore
        self.lives = 0
        self.clock_rate, self.clock_offset_s = 1.0, 0.0
        self.outcomes: list[tuple[bytes, str]] = []
        self.lines: list[str] = []
        self.seen_commit = 0
        self.led: tuple[int, int, int] | None = None
        self._snapshots_taken = 0
        self._frozen: list[Callable[[], None]] | None = None
        self._next_tick = float("inf")
        cluster.oracle.servers.append(self)

    @property
    def core(self) -> RaftCore:
        assert self.replica is not None
        return self.replica.core

    @property
    def applied_index(self) -> int:
        return self.replica.applied_index if self.replica is not None else 0

    def has_stored(self, index: int, term: int | None) -> bool:
        """Whether the entry is on its disk, or below what is; a dead server is given the benefit of the doubt."""
        if self.replica is None:
            return True
        wal = self.wal
        return index <= wal.last_index and (index < wal.first_index or wal.term_at(index) == term)

    def clock(self) -> float:
        return self.clock_offset_s + self.clock_rate * self.cluster.now

    # ---- leases, as other processes see them ---------------------------------------------------------------------

    def has_lease(self) -> bool:
        return self.replica is not None and self.core.lease_end > self.clock()

    def serves_lease_reads(self) -> bool:
        """What the leadership page says to those who answer default reads from the state store."""
        return self.has_lease() and self.core.all_acknowledged_is_applied(self.applied_index)

    # ---- life --------------------------------------------------------------------------------------------------

    def boot(self, configuration: Configuration | None = None) -> None:
        """Starts the server on a disk that works again; `configuration`: of a new cluster."""
        self.disk.fault = None
        take_back(self.page)
        try:
            replica = self._open(configuration)
        except PowerCut:
            self.kill(power=True)
            return
        self.lives += 1
        self.replica, self.led = replica, None
        self._published = PublishedLeadership(self.page, replica, AddressBook(), 0)
        self._published.write()
        self.seen_commit = replica.core.commit_index
        self.run(replica.start)

    def _open(self, configuration: Configuration | None) -> Replica:
        cluster, directory = self.cluster, "/raft"
        self.disk.make_directory(directory)
        wal = WatchedWal.open(self.disk, f"{directory}/wal", cluster.segment_bytes)
        assert isinstance(wal, WatchedWal)
        wal.server, self.wal = self, wal
        self.stable = stable = StableStore.open(self.disk, f"{directory}/stable")
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
            max_append_entries=cluster.max_append_entries,
            trailing_logs=cluster.trailing_logs,
            max_in_flight_bytes=cluster.max_in_flight_bytes,
        )
        core = RaftCore(
            settings,
            wal,
            stable.state,
            snapshot=found.snapshot,
            configurations=found.configurations,
            applied_index=found.applied_index,
            rng=random.Random(cluster.rng.getrandbits(32)),
            now=self.clock(),
        )
        luck, share = cluster.rng.random(), cluster.slow_disks
        policy = _AsideFrom(1 if luck < share else 4 if luck < 2 * share else math.inf)
        return Replica(core, wal, stable, snapshots, self.machine, self, self.clock, policy)

    def kill(self, *, power: bool) -> None:
        """power: the machine loses it, and with it all that was not synced."""
        self.replica = self.led = self._frozen = None
        self._next_tick = float("inf")
        if power:
            self.disk.crash()
            self.page = SimPage()
            self.machine = SimMachine(self.cluster.oracle)
        else:
            self.disk.kill()
        self.cluster.connections_end(self)

    def freeze(self) -> None:
        """The process is stopped: what would happen to it happens when it goes on, in any order, as timers, sockets
        and disks have none between them."""
        if self.replica is not None and self._frozen is None:
            self._frozen = []

    def thaw(self) -> None:
        if self._frozen is not None:
            waiting, self._frozen = self._frozen, None
            self.cluster.rng.shuffle(waiting)
            for action in waiting:
                self.run(action)
            self.event(ev.Tick())

    def jump(self, seconds: float) -> None:
        """Its clock leaps ahead."""
        self.clock_offset_s += seconds
        if self.replica is not None:
            self.event(ev.Tick())

    def run(self, action: Callable[[], None]) -> None:
        """Does something with the replica, checks what must be true then, and arranges for its next tick."""
        replica = self.replica
        if replica is None:
            return
        if self._frozen is not None:
            self._frozen.append(action)
            return
        try:
            action()
        except StorageError:
            self.kill(power=False)  # what the service does: it stops, with the error as its last words
        except PowerCut:
            self.kill(power=True)
        if self.replica is not replica:
            return
        self._published.due = True
        self._published.flush()
        cluster = self.cluster
        cluster.oracle.observe(self)
        deadline = replica.core.deadline
        if deadline != float("inf"):
            when = max((deadline - self.clock_offset_s) / self.clock_rate, cluster.now)
            if when < self._next_tick:
                self._next_tick = when
                life = self.lives
                cluster.at(when, lambda: self._tick(life, when))

    def _tick(self, life: int, when: float) -> None:
        if self.lives == life and self.replica is not None and self._next_tick == when:
            self._next_tick = float("inf")
            # Rounding: a deadline that is reached must not be missed by the last bit of a clock.
            if self.core.deadline - self.clock() < 1e-9:
                self.clock_offset_s += 2e-9
                self.event(ev.Tick())
            else:
                self.run(lambda: None)

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

    def make_room(self) -> None:
        """The state store is not full any more."""
        self.machine.no_room = False
        if self.replica is not None:
            self.run(self.replica.retry_apply)

    def read(self) -> None:
        """Asked of raft_node on this server."""
        oracle = self.cluster.oracle
        begun = oracle.read_begins()
        replica = self.replica
        if replica is not None:
            self.run(lambda: replica.read(lambda index: oracle.read(begun, index, self.machine)))

    def take_snapshot(self) -> None:
        replica, life = self.replica, self.lives
        if replica is None or self._frozen is not None:
            return
        self._snapshots_taken += 1
        taking: SnapshotTaking | None = None

        def guarded(act: Callable[[], None]) -> None:
            if self.replica is replica and self.lives == life:
                try:
                    self.run(act)
                except SnapshotRefusedError:
                    return

        def begin() -> None:
            nonlocal taking
            assert replica is not None
            try:
                taking = SnapshotTaking(replica, self._snapshots_taken)
            except StorageError:
                return
            self.cluster.after(0.0, lambda: guarded(step))

        def step() -> None:
            assert taking is not None
            try:
                more = taking.step()
                meta = None if more else taking.finish()
            except StorageError:
                taking.cancel()
                return
            if meta is None:
                self.cluster.after(self.cluster.rng.uniform(0, 0.002), lambda: guarded(step))
            else:
                taking.done(meta)

        guarded(begin)

    def restore(self, above: int = 1) -> None:
        """Replaces the state of the cluster by one like it, as a user's snapshot does, with an index so far above the
        log. Does nothing if it is no leader that knows of all that was acknowledged."""
        replica = self.replica
        if replica is None or self._frozen is not None:
            return
        core = replica.core
        if core.restore_problem() or not core.all_acknowledged_is_applied(self.applied_index):
            return
        index, term, configurations = core.log.last_index + above, core.term, core.state.configurations
        values = [*self.machine.values, [index, f"restored {index} in term {term}"]]
        self._snapshots_taken += 1

        self.cluster.oracle.restored = True

        def action() -> None:
            assert replica is not None
            try:
                writer = replica.snapshots.create(
                    index, term, configurations.latest, configurations.latest_index, self._snapshots_taken
                )
                writer.write(json.dumps(values).encode())
                meta = writer.finish()
            except StorageError:
                return
            prepared = self.machine.prepare()
            self.machine.fill(prepared, replica.snapshots.open(meta))
            replica.restore(meta, prepared)
            replica.propose([None], [(NOOP, b"", b"")])
            replica.flush()

        self.run(action)

    # ---- Outlet ------------------------------------------------------------------------------------------------

    def result(self, waiter: bytes, index: int, value: Any) -> None:
        assert value == f"applied {index}"
        self.cluster.oracle.acknowledge(self, index, waiter)
        self.outcomes.append((waiter, "ok"))

    def failed(self, waiter: bytes, error: str, *, unknown: bool) -> None:
        if not unknown:
            self.cluster.withdrawn.append(waiter)
        self.outcomes.append((waiter, error))

    def refused(self, waiter: bytes | None, error: str) -> None:
        if waiter is not None:  # the entry behind a restored snapshot is nobody's
            self.cluster.withdrawn.append(waiter)
            self.outcomes.append((waiter, error))

    def read_ready(self, waiter: Callable[[int], None], index: int) -> None:
        """As the service does it: a leader whose state has no room answers from what it has, if that is enough."""
        applied, core = self.applied_index, self.core
        if applied >= index or (applied >= self._published.told and core.all_acknowledged_is_applied(applied)):
            self._published.flush()
            waiter(min(index, applied))

    def read_failed(self, waiter: Callable[[int], None], error: str) -> None:
        pass

    def applied(self, index: int, changes: Any) -> None:
        self._published.applied(index)

    def committed(self, index: int) -> None:
        self._published.committed(index)

    def accepted(self, count: int) -> None:
        pass

    def stalled(self, reason: str) -> None:
        pass

    def role_changed(self, effect: ev.RoleChanged) -> None:
        if effect.role == LEADER and self.core.role == LEADER and self.core.term == effect.term:
            self.cluster.oracle.elected(self)
        self._published.write()

    def transfer_done(self, waiter: Any, error: str) -> None:
        self.outcomes.append((b"transfer", error))

    def log(self, effect: ev.Log) -> None:
        if self.cluster.keeps_lines:
            pairs = "".join(f" {key}={value}" for key, value in effect.pairs)
            self.lines.append(f"[{effect.level}] {effect.message}{':' if pairs else ''}{pairs}")

    def count(self, name: str) -> None:
        pass

    def gauge(self, name: str, value: float) -> None:
        pass

    def sample(self, name: str, value_ms: float) -> None:
        pass

    def start_sync(self, sync: Callable[[], None]) -> None:
        life, replica, rng = self.lives, self.replica, self.cluster.rng
        takes_s = rng.uniform(0, 0.02)
        if self.cluster.hanging and rng.random() < self.cluster.hanging:
            takes_s = rng.uniform(0.02, 0.6)

        def finish() -> None:
            assert replica is not None
            error = None
            try:
                sync()
            except Exception as caught:
                error = str(caught)
            replica.sync_done(error)

        def later() -> None:
            if self.lives == life and self.replica is replica:
                self.run(finish)

        self.cluster.after(takes_s, later)

    def send(self, effect: ev.Send) -> None:
        self.cluster.oracle.asked(self, effect.request)
        self.cluster.call(self, effect.server.id, effect.request_id, effect.request, None)

    def send_snapshot(self, effect: ev.SendSnapshot) -> None:
        replica = self.replica
        assert replica is not None
        meta = next((meta for meta in replica.snapshots.list() if meta.index == effect.last_index), None)
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
        answer, _, request = effect.token
        self.cluster.oracle.answered(self, request, effect.reply)
        answer(effect.reply)

    def receive_snapshot(self, effect: ev.ReceiveSnapshot) -> None:
        """The body comes in two pieces; the connection may end between them, and then nobody answers."""
        replica, life, rng = self.replica, self.lives, self.cluster.rng
        body, request = effect.token[1], effect.request
        assert replica is not None
        writer = replica.snapshots.create(
            request.last_log_index,
            request.last_log_term,
            request.configuration,
            request.configuration_index,
            rng.getrandbits(30),
        )
        half = len(body) // 2
        writer.write(body[:half])

        def rest() -> None:
            assert replica is not None
            if rng.random() < self.cluster.interrupted:
                writer.cancel()
                return
            try:
                writer.write(body[half:])
                meta = writer.finish()
            except StorageError as error:
                self.event(ev.SnapshotReceived(effect.token, request, str(error)))
                return
            received = ev.SnapshotReceived(effect.token, request)
            if rng.random() < 0.5:
                replica.event(received)
                return
            prepared = self.machine.prepare()
            self.machine.fill(prepared, replica.snapshots.open(meta))
            replica.snapshot_received(received, prepared)

        def later() -> None:
            if self.replica is replica and self.lives == life:
                self.run(rest)

        self.cluster.after(rng.uniform(0, 0.05), later)
