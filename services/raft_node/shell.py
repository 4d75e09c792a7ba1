"""RaftNode: the shell around one replica. Local IPC, timers, threads for slow disks, page, log lines, metrics."""

from __future__ import annotations

import math
import random
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import trio

from services.raft_node.addresses import AddressBook
from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core.types import SnapshotMeta
from services.raft_node.door import Door
from services.raft_node.inbound import MAX_CONNECTIONS, Inbound, Slot
from services.raft_node.installing import Installing
from services.raft_node.leader_watch import LeaderWatch
from services.raft_node.log.errors import AppendError, StorageError
from services.raft_node.methods import Methods
from services.raft_node.opening import Storage
from services.raft_node.page import PublishedLeadership
from services.raft_node.peers import Peers
from services.raft_node.replica import Replica
from services.raft_node.snapshotting import SnapshotRefusedError, SnapshotTaking, is_due
from services.raft_node.sync_thread import SyncThread
from shared import metrics
from shared.config.runtime import RuntimeConfig
from shared.ipc import Request, Server
from shared.log import DEBUG, ERROR, INFO, WARN, get_logger
from shared.state.leadership import LEADER as LEADER_ROLE

_log = get_logger("agent.server.raft")
_fsm_log = get_logger("agent.server.fsm")

_LEVELS: Final = {"debug": DEBUG, "info": INFO, "warn": WARN, "error": ERROR}
_RETRY_APPLY_S: Final = 1.0
_MEASURE_S: Final = 5.0
"""How often what is no event is measured: at least once in each interval of the metrics."""
_SNAPSHOT_TURN_S: Final = 0.002
"""How long a snapshot keeps the loop at a time, and how long it then lets others have it."""


class RaftNode:
    """One server's consensus process. Also the replica's Outlet.

    run     serves until cancelled; raises what makes it impossible to go on
    server  the IPC server; topics: "changes" [index, [[table, key], ...]], "leadership" {...}"""

    def __init__(self, config: RuntimeConfig, storage: Storage, rng: random.Random) -> None:
        self._config = config
        self._storage = storage
        self._rng = rng
        self._timer = trio.Event()
        self._timer_deadline = math.inf
        self._fatal: list[Exception] = []
        self._fatal_event = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._syncs = SyncThread(self._synced)
        self._connections = 0
        self.taking = trio.Lock()
        """Held while a snapshot is taken, or one from outside restored: they do not go together."""
        self._stalled = trio.Event()
        recovered = storage.recovered
        core = RaftCore(
            storage.settings,
            storage.log,
            storage.stable.state,
            snapshot=recovered.snapshot,
            configurations=recovered.configurations,
            applied_index=recovered.applied_index,
            rng=rng,
            now=trio.current_time(),
        )
        self.replica = Replica(
            core,
            storage.log,
            storage.stable,
            storage.snapshots,
            storage.machine,
            self,
            trio.current_time,
        )
        self.server = Server(config.socket_path("raft"), name="raft_node", on_batch_end=self.batch_end)
        self.methods = Methods(self)
        self.door = Door(self, config)
        self.addresses = AddressBook()
        offset_ns = time.monotonic_ns() - int(trio.current_time() * 1e9)
        found = storage.found_leadership
        led_alone = storage.resumed and found.role == LEADER_ROLE and found.ready and core.state.is_sole_server
        holds_all = led_alone and recovered.applied_index > 0
        self._page = PublishedLeadership(
            storage.page,
            self.replica,
            self.addresses,
            offset_ns,
            holds_all=holds_all,
            keeps=storage.same_agent and holds_all,
        )
        self.peers = Peers(self.feed, storage.snapshots, storage.settings, self.addresses.connect)
        self._leader_watch = LeaderWatch(self.feed)
        self._installing = Installing(self.replica, self.taking, self.guarded, lambda: time.time_ns() // 1_000_000)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Raises SocketPathError if the socket cannot be bound, StorageError and others when it cannot go on."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._page.write()  # before anybody can ask: what an earlier run has left there is not to be believed
                await nursery.start(self.server.run)
                await nursery.start(self.peers.run)
                self.guarded(self.replica.start)
                nursery.start_soon(self._tick)
                nursery.start_soon(self._take_snapshots)
                nursery.start_soon(self._retry_apply)
                nursery.start_soon(self._stop_on_fatal)
                nursery.start_soon(self._measure)
                task_status.started()
        finally:
            self._syncs.close()

    # ---- into the replica --------------------------------------------------------------------------------------

    def guarded(self, action: Callable[[], None]) -> None:
        """Runs what may reach disk or state machine; a failure ends the process. The page is right before any result
        leaves."""
        try:
            action()
        except Exception as error:  # also a bug: an action that was begun and not ended leaves nothing to go on with
            self._end_with(error)
            raise
        if self._page.flush():
            self._publish_leadership()
        self._rearm()
        self.methods.results.flush()

    def _end_with(self, error: Exception) -> None:
        self._fatal.append(error)
        self._fatal_event.set()

    def feed(self, event: ev.Event) -> None:
        """Gives the core an event."""
        if self.peers.active:
            self._page.due = True
        self.guarded(lambda: self.replica.event(event))

    def batch_end(self) -> None:
        """All requests of one read were handled."""
        self.guarded(self.replica.flush)

    async def _stop_on_fatal(self) -> None:
        await self._fatal_event.wait()
        _log.error("cannot go on", error=str(self._fatal[0]))
        raise self._fatal[0]

    # ---- time --------------------------------------------------------------------------------------------------

    def _rearm(self) -> None:
        """Wakes the timer if the core's deadline has come closer."""
        if self.replica.core.deadline < self._timer_deadline:
            self._timer.set()

    async def _tick(self) -> None:
        while True:
            self._timer = trio.Event()
            self._timer_deadline = self.replica.core.deadline
            with trio.move_on_at(self._timer_deadline) as scope:
                await self._timer.wait()
            self._timer_deadline = -math.inf
            if scope.cancelled_caught:
                self.feed(ev.Tick())

    async def _measure(self) -> None:
        while True:
            metrics.gauge("consul.raft.applied_index", self.replica.applied_index)
            metrics.gauge("consul.raft.last_index", self.replica.core.log.last_index)
            await trio.sleep(_MEASURE_S)

    async def _retry_apply(self) -> None:
        while True:
            await self._stalled.wait()
            while self.replica.stall_reason:
                await trio.sleep(_RETRY_APPLY_S)
                self.guarded(self.replica.retry_apply)
            self._stalled = trio.Event()
            _fsm_log.info("applying committed entries again")

    # ---- snapshots ---------------------------------------------------------------------------------------------

    async def _take_snapshots(self) -> None:
        interval_s = self._config.raft_snapshot_interval_s
        while True:
            await trio.sleep(interval_s * (1 + self._rng.random()))
            if is_due(self.replica, self._config.raft_snapshot_threshold):
                try:
                    await self.take_snapshot()
                except (SnapshotRefusedError, StorageError) as error:
                    _log.error("failed to take snapshot", error=str(error))

    async def take_snapshot(self) -> SnapshotMeta:
        """Snapshot of what is applied now. Raises SnapshotRefusedError, StorageError."""
        async with self.taking:
            started = trio.current_time()
            taking = SnapshotTaking(self.replica, time.time_ns() // 1_000_000)
            created = _sample_since("consul.raft.fsm.snapshot", started)
            _log.info("starting snapshot up to", index=taking.index)
            try:
                turn = trio.current_time()
                while taking.step():
                    if trio.current_time() - turn > _SNAPSHOT_TURN_S:
                        await trio.sleep(_SNAPSHOT_TURN_S)
                        turn = trio.current_time()
                meta = await trio.to_thread.run_sync(taking.finish)
            except BaseException:
                taking.cancel()
                raise
            persisted = _sample_since("consul.raft.snapshot.persist", created)
            self.guarded(lambda: taking.done(meta))
            _sample_since("consul.raft.compactLogs", persisted)
            _log.info("snapshot complete up to", index=meta.index)
            _sample_since("consul.raft.snapshot.takeSnapshot", started)
            return meta

    # ---- connections of other servers --------------------------------------------------------------------------

    def accept(self, sock: socket.socket, source: str, *, door: bool = False) -> None:
        """Serves a connection that rpc_core has handed over; too many are closed. door: of a gateway."""
        if door and self._nursery is not None:
            self._nursery.start_soon(self.door.serve, sock, source)
            return
        if self._nursery is None or self._connections >= MAX_CONNECTIONS:
            _log.warn("closing a raft connection: too many", source=source)
            sock.close()
            return
        self.peers.active = True
        self._nursery.start_soon(self._serve, sock, source)

    async def _serve(self, sock: socket.socket, source: str) -> None:
        self._connections += 1
        try:
            sock.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            await Inbound(stream, source, self.feed, self._leader_watch, self._installing).serve()
        finally:
            self._connections -= 1

    # ---- Outlet ------------------------------------------------------------------------------------------------

    def result(self, waiter: Request, index: int, value: Any) -> None:
        self.methods.result(waiter, index, value)

    def failed(self, waiter: Request, error: str, *, unknown: bool) -> None:
        waiter.fail("rpc", error)

    def refused(self, waiter: Request, error: str) -> None:
        self.methods.refused(waiter, error)

    def read_ready(self, waiter: Request, index: int) -> None:
        # A leader applies as soon as it commits; only a state store without room can be behind. What no writer was told
        # of no reader has to see, if no other server could have shown it.
        applied, core = self.replica.applied_index, self.replica.core
        if applied >= index or (applied >= self._page.told and core.all_acknowledged_is_applied(applied)):
            waiter.reply(min(index, applied))
        else:
            waiter.fail("unavailable", self.replica.stall_reason or "entries are still being applied")

    def read_failed(self, waiter: Request, error: str) -> None:
        self.methods.refused(waiter, error)

    def applied(self, index: int, changes: Any) -> None:
        self.methods.results.flush()
        if changes is not None and changes[1]:
            self.server.publish("changes", changes)
        self._page.applied(index)

    def stalled(self, reason: str) -> None:
        if not self._stalled.is_set():
            _fsm_log.error("cannot apply committed entries, trying again", error=reason)
            self._stalled.set()

    def role_changed(self, effect: ev.RoleChanged) -> None:
        self._page.write()
        self._publish_leadership()

    def _publish_leadership(self) -> None:
        """Whoever waits for a change looks at the page then."""
        core = self.replica.core
        leader = core.state.leader_address
        self.server.publish(
            "leadership",
            {
                "role": core.role.lower(),
                "term": core.term,
                "leader_id": core.state.configurations.latest.id_of(leader) if leader else "",
                "leader_address": leader,
            },
        )

    def transfer_done(self, waiter: Request, error: str) -> None:
        if error:
            self.methods.refused(waiter, error)
        else:
            waiter.reply(None)

    def send(self, effect: ev.Send) -> None:
        self.peers.send(effect)

    def send_snapshot(self, effect: ev.SendSnapshot) -> None:
        self.peers.send_snapshot(effect)

    def answer(self, effect: ev.Answer) -> None:
        slot: Slot = effect.token
        slot.answer(effect.reply, effect.error)

    def receive_snapshot(self, effect: ev.ReceiveSnapshot) -> None:
        slot: Slot = effect.token
        slot.want_body()

    def log(self, effect: ev.Log) -> None:
        _log.log(_LEVELS[effect.level], effect.message, **dict(effect.pairs))

    def count(self, name: str) -> None:
        metrics.incr(f"consul.{name}")

    def committed(self, index: int) -> None:
        if self.peers.active:
            self._page.committed(index)

    def accepted(self, count: int) -> None:
        metrics.incr("consul.raft.apply", count)
        metrics.gauge("consul.raft.leader.dispatchNumLogs", count)

    def gauge(self, name: str, value: float) -> None:
        metrics.gauge(f"consul.{name}", value)

    def sample(self, name: str, value: float) -> None:
        metrics.sample(f"consul.{name}", value)

    def start_sync(self, sync: Callable[[], None]) -> None:
        self._syncs.start(sync)

    def _synced(self, error: Exception | None) -> None:
        try:
            if error is not None and not isinstance(error, AppendError):
                raise error
            reason = None if error is None else str(error)
            self.guarded(lambda: self.replica.sync_done(reason))
        except Exception as caught:  # nobody above this could end the process in order
            self._end_with(caught)


def _sample_since(name: str, started: float) -> float:
    """Measures what began at `started`; the time now."""
    now = trio.current_time()
    metrics.sample(name, (now - started) * 1000)
    return now
