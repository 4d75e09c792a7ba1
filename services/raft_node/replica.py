"""Replica: performs the core's effects on log, stable store and state machine, strictly in order.

No trio in here: time comes in as a function, and what concerns other processes and servers goes out through an
Outlet. The simulations run this very class on a simulated disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, NamedTuple

from services.raft_node.core import RaftCore
from services.raft_node.core import events as ev
from services.raft_node.core.messages import AppendEntries, AppendEntriesReply, Request
from services.raft_node.core.types import (
    BARRIER,
    COMMAND,
    CONFIGURATION,
    Configuration,
    Entry,
    SnapshotMeta,
)
from services.raft_node.log.errors import AppendError, StorageError
from services.raft_node.log.snapshots import Snapshots
from services.raft_node.log.wal import Pending
from services.raft_node.machine import NoRoomError, StateMachine
from services.raft_node.ports import HardStateStore, LogStore, Outlet
from services.raft_node.sync_policy import SyncPolicy

ENQUEUE_TIMEOUT: Final = "timed out enqueuing operation"

MAX_PENDING: Final = 16384
"""Proposals without a result; more are refused with ENQUEUE_TIMEOUT."""
MAX_PENDING_BYTES: Final = 256 << 20
_BATCH_ENTRIES: Final = 4096
_BATCH_BYTES: Final = 32 << 20
_MANY: Final = 4
"""Proposals that are worth a batch of their own while committed entries wait to be applied."""
_BEFORE_APPLYING: Final = (ev.Accepted, ev.Send, ev.AppendLog, ev.Answer, ev.RestoreSnapshot, ev.StartOver)
"""Effects that give the disk and the other servers work to do while committed entries are applied here: a leader that
waits for this server's answer needs to know what is on its disk, not what has taken effect. And a snapshot, behind
which lies what the core gives out to be applied from then on. All others are performed in their order."""


class _Batch(NamedTuple):
    """Accepted proposals that wait for their results; waiters[k] waits for entry first_index + k."""

    first_index: int
    waiters: Sequence[Any]
    since: float


class Replica:
    """One server: core, log, term and vote, snapshots and state machine held together.

    Feed it with `event`, `propose`, `read`; call `flush` at the end of each batch of requests, and `event(Tick())`
    at `core.deadline`. A StorageError from any of them means that the server must stop."""

    def __init__(
        self,
        core: RaftCore,
        log: LogStore,
        stable: HardStateStore,
        snapshots: Snapshots,
        machine: StateMachine,
        outlet: Outlet,
        clock: Callable[[], float],
        policy: SyncPolicy | None = None,
    ) -> None:
        self.core = core
        self.snapshots = snapshots
        self.machine = machine
        self._log = log
        self._stable = stable
        self._outlet = outlet
        self._clock = clock
        self._policy = policy or SyncPolicy()
        self._queue: deque[ev.Effect] = deque()
        self._draining = False
        self._syncing: tuple[Pending, Sequence[Entry], float] | None = None
        self._commit_due = False
        """Committed entries wait to be applied."""
        self._new_waiters: list[Any] = []
        self._new_items: list[tuple[int, bytes, bytes]] = []
        self._new_bytes = 0
        self._waiting: deque[_Batch] = deque()
        self._prepared: tuple[int, int, Any] | None = None
        """Index and term of the snapshot to be restored next, and the state that it holds."""
        self._stalled: list[Entry] = []
        self.stall_reason = ""
        """Why committed entries cannot be applied just now, "" if they can."""
        self.pending = 0
        """Proposals that were taken and have no result yet."""
        self.pending_bytes = 0
        self.applied_index = core.log.applied_index
        """Last entry that has taken effect."""
        self.machine_index = max(machine.applied_index, core.log.snapshot_index)
        self.machine_term = (
            machine.applied_term if machine.applied_index >= core.log.snapshot_index else core.log.snapshot_term
        )
        """Last command or barrier that was applied: what a snapshot taken now covers."""
        self.restores = 0
        """How often another state took the place of the machine's."""

    # ---- in ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._run(self.core.start(self._clock()))

    def event(self, event: ev.Event) -> None:
        """Lets the core see `event` and performs what follows."""
        effects: Sequence[ev.Effect] = self.core.step(event, self._clock())
        if self._syncing is not None:
            effects = self._beside_the_disk(event, effects)
        self._run(effects)

    def _beside_the_disk(self, event: ev.Event, effects: Sequence[ev.Effect]) -> Sequence[ev.Effect]:
        """Heartbeats and their answers do not wait for a disk that is slow: they say nothing about entries, only about
        the term, which is durable unless it waits to be saved. Returns the other effects."""
        if any(isinstance(effect, ev.SaveHardState) for effect in (*self._queue, *effects)):
            return effects
        is_heartbeat = isinstance(event, ev.RpcRequest) and _is_heartbeat(event.request)
        rest: list[ev.Effect] = []
        for effect in effects:
            if isinstance(effect, ev.Send) and effect.heartbeat:
                self._outlet.send(effect)
            elif is_heartbeat and isinstance(effect, ev.Answer):
                self._outlet.answer(effect)
            else:
                rest.append(effect)
        return rest

    def propose(self, waiters: Sequence[Any], items: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Queues entries for the next `flush`. The last of `waiters`, which go with the items one by one (None:
        nobody waits), is told the outcome through the outlet."""
        size = sum([len(item[1]) for item in items])
        if self.stall_reason:
            self._outlet.refused(waiters[-1], self.stall_reason)
        elif self.pending + len(items) > MAX_PENDING or self.pending_bytes + size > MAX_PENDING_BYTES:
            self._outlet.refused(waiters[-1], ENQUEUE_TIMEOUT)
        else:
            self._new_waiters += waiters
            self._new_items += items
            self._new_bytes += size
            self.pending += len(items)
            self.pending_bytes += size

    def flush(self) -> None:
        """Proposes all that was queued since the last time, as one batch if it is not huge. While the disk is busy
        with the batch before, it waits for that."""
        while self._new_items and self._syncing is None and not self._draining:
            self.event(self._next_proposal())

    def _next_proposal(self) -> ev.Propose:
        if len(self._new_items) <= _BATCH_ENTRIES and self._new_bytes <= _BATCH_BYTES:
            items, waiters = self._new_items, self._new_waiters
            self._new_items, self._new_waiters, self._new_bytes = [], [], 0
        else:
            count = self._batch_length()
            items, waiters = self._new_items[:count], self._new_waiters[:count]
            del self._new_items[:count], self._new_waiters[:count]
            self._new_bytes -= sum(len(item[1]) for item in items)
        return ev.Propose((waiters, items), items)

    def _batch_length(self) -> int:
        size = 0
        for count, item in enumerate(self._new_items[:_BATCH_ENTRIES]):
            size += len(item[1])
            if size > _BATCH_BYTES and count:
                return count
        return min(len(self._new_items), _BATCH_ENTRIES)

    def read(self, waiter: Any, voter: str = "", term: int = 0) -> None:
        """Asks for the index of a linearizable read. voter, term: see ReadIndex."""
        self.event(ev.ReadIndex(waiter, voter, term))

    def change_configuration(
        self, waiter: Any, command: str, server_id: str, address: str = "", prev_index: int = 0
    ) -> None:
        """Adds, demotes or removes one server (`core.configuration`); `waiter` is told as of a proposal."""
        self.pending += 1
        tag = ([waiter], [(CONFIGURATION, b"", b"")])
        self.event(ev.ChangeConfiguration(tag, command, server_id, address, prev_index))

    def bootstrap(self, waiter: Any, configuration: Configuration) -> None:
        """Begins a new cluster with these servers, if this one has no state; `waiter` is told as of a proposal."""
        self.pending += 1
        self.event(ev.Bootstrap(([waiter], [(CONFIGURATION, b"", b"")]), configuration))

    def restore(self, meta: SnapshotMeta, prepared: Any) -> None:
        """Replaces the state of the whole cluster by `prepared`, whose stream is stored as the snapshot `meta`. Only
        after `core.restore_problem` was "" in the same moment, and with an index above all that is in the log."""
        self._prepare(meta.index, meta.term, prepared)
        self.event(ev.Restored(meta.index))

    def snapshot_received(self, event: ev.SnapshotReceived, prepared: Any) -> None:
        """The leader's snapshot is stored, and `prepared` is its state: it becomes the machine's, unless the core has
        no use for it any more."""
        effects = self.core.step(event, self._clock())
        if any(isinstance(effect, ev.RestoreSnapshot) for effect in effects):
            self._prepare(event.request.last_log_index, event.request.last_log_term, prepared)
        else:
            self.machine.discard(prepared)
        self._run(effects)

    def _prepare(self, index: int, term: int, prepared: Any) -> None:
        """A state that still waits for the disk to take an older snapshot's place is not wanted any more."""
        if self._prepared is not None:
            self.machine.discard(self._prepared[2])
        self._prepared = (index, term, prepared)

    def close(self) -> None:
        """Lets go of the files. Nothing may be called afterwards."""
        self._log.close()
        self._stable.close()

    # ---- effects -----------------------------------------------------------------------------------------------

    def _run(self, effects: Sequence[ev.Effect]) -> None:
        self._queue.extend(effects)
        if self._draining:
            return  # called back from an outlet: the loop below goes on with it
        self._draining = True
        try:
            self._drain()
        finally:
            self._draining = False
        if self._new_items:
            self.flush()

    def _drain(self) -> None:
        """Performs effects until there are no more, or the next one has to wait for the disk. What was committed is
        applied after the next batch is on its way to the disk, if there is one."""
        while self._syncing is None:
            if self._queue:
                effect = self._queue.popleft()
                if self._commit_due and not isinstance(effect, _BEFORE_APPLYING):
                    self._apply_committed()
                self._perform(effect)
            elif not self._commit_due:
                return
            elif len(self._new_items) >= _MANY:
                self._queue.extend(self.core.step(self._next_proposal(), self._clock()))
            else:
                self._apply_committed()
        if self._commit_due:
            self._apply_committed()

    def _perform(self, effect: ev.Effect) -> None:
        outlet = self._outlet
        if isinstance(effect, ev.AppendLog):
            self._append(effect.entries)
        elif isinstance(effect, ev.Commit):
            self._commit_due = True
            outlet.committed(effect.index)
        elif isinstance(effect, ev.Accepted):
            self._accepted(effect)
        elif isinstance(effect, ev.Send):
            outlet.send(effect)
        elif isinstance(effect, ev.Answer):
            outlet.answer(effect)
        elif isinstance(effect, ev.ReadReady):
            for waiter in effect.tags:
                outlet.read_ready(waiter, effect.index)
        elif isinstance(effect, ev.ReadFailed):
            for waiter in effect.tags:
                outlet.read_failed(waiter, effect.error)
        elif isinstance(effect, ev.SaveHardState):
            self._stable.save(effect.state)
        elif isinstance(effect, ev.RoleChanged):
            outlet.role_changed(effect)
        elif isinstance(effect, ev.Log):
            outlet.log(effect)
        elif isinstance(effect, ev.Count):
            outlet.count(effect.name)
        elif isinstance(effect, ev.Refused):
            self._refused(effect)
        elif isinstance(effect, ev.Dropped):
            self._dropped(effect)
        else:
            self._perform_rare(effect)

    def _perform_rare(self, effect: ev.Effect) -> None:
        outlet = self._outlet
        if isinstance(effect, ev.CompactLog):
            self._log.compact(effect.last)
        elif isinstance(effect, ev.ResetLog):
            self._log.reset(effect.next_index)
        elif isinstance(effect, ev.RestoreSnapshot):
            self._restore(effect.index, effect.term)
        elif isinstance(effect, ev.StartOver):
            self._start_over()
        elif isinstance(effect, ev.SendSnapshot):
            outlet.send_snapshot(effect)
        elif isinstance(effect, ev.ReceiveSnapshot):
            outlet.receive_snapshot(effect)
        elif isinstance(effect, ev.TransferDone):
            outlet.transfer_done(effect.tag, effect.error)

    # ---- the log -----------------------------------------------------------------------------------------------

    def _append(self, entries: Sequence[Entry]) -> None:
        started = perf_counter()
        try:
            pending = self._log.write(entries)
        except AppendError as error:
            self._append_failed(entries, str(error))
            return
        if self._policy.aside(len(entries)):
            self._syncing = (pending, entries, started)
            self._outlet.start_sync(self._timed_sync)
            return
        if self._commit_due:
            self._apply_committed()
        try:
            self._timed_sync()
        except AppendError as error:
            self._log.undo(pending)
            self._append_failed(entries, str(error))
            return
        self._appended(pending, entries, started)

    def _timed_sync(self) -> None:
        """Waits for the disk; runs in the loop or in a thread, never in both at once."""
        started = perf_counter()
        self._log.sync()
        self._policy.synced(perf_counter() - started)

    def sync_done(self, error: str | None) -> None:
        """The thread that `start_sync` asked for has ended."""
        assert self._syncing is not None
        (pending, entries, started), self._syncing = self._syncing, None
        self._draining = True
        try:
            if error is None:
                self._appended(pending, entries, started)
            else:
                self._log.undo(pending)
                self._append_failed(entries, error)
        finally:
            self._draining = False
        self._run(())

    def _appended(self, pending: Pending, entries: Sequence[Entry], started: float) -> None:
        self._log.finish(pending)
        self._outlet.sample("raft.leader.dispatchLog", (perf_counter() - started) * 1000)
        last_index = min([entries[-1].index, *(replaced - 1 for replaced in self._waiting_appends())])
        if last_index >= entries[0].index:
            last = entries[last_index - entries[0].index]
            self._queue.extend(self.core.step(ev.Durable(last.index, last.term), self._clock()))

    def _waiting_appends(self) -> list[int]:
        """First indexes of the appends that still wait for the disk. From there on it does not hold what the core sees,
        also where index and term are the same: leaders may have replaced entries and put them back meanwhile."""
        return [effect.entries[0].index for effect in self._queue if isinstance(effect, ev.AppendLog)]

    def _append_failed(self, entries: Sequence[Entry], error: str) -> None:
        """The core has to know before anything else is done. What it had planned on top of these entries is void:
        later appends go, and a follower's "stored" becomes a "not stored"."""
        first_lost = entries[0].index
        kept: deque[ev.Effect] = deque()
        for effect in self._queue:
            if isinstance(effect, ev.AppendLog):
                first_lost = min(first_lost, effect.entries[0].index)  # it may replace more than what failed
                continue
            if isinstance(effect, ev.Answer) and isinstance(effect.reply, AppendEntriesReply):
                effect = effect._replace(reply=effect.reply._replace(success=False))
            kept.append(effect)
        self._queue = kept
        failed = ev.AppendFailed(first_lost, error, self._log.broken)
        self._queue.extend(self.core.step(failed, self._clock()))

    # ---- proposals ---------------------------------------------------------------------------------------------

    def _accepted(self, effect: ev.Accepted) -> None:
        waiters, items = effect.tag
        self._waiting.append(_Batch(effect.first_index, waiters, self._clock()))
        self._outlet.accepted(len(waiters))
        self.pending_bytes -= sum([len(item[1]) for item in items])

    def _refused(self, effect: ev.Refused) -> None:
        waiters, items = effect.tag
        self.pending -= len(items)
        self.pending_bytes -= sum(len(item[1]) for item in items)
        for waiter in waiters:
            if waiter is not None:
                self._outlet.refused(waiter, effect.error)

    def _dropped(self, effect: ev.Dropped) -> None:
        while self._waiting:
            batch = self._waiting[-1]
            keep = max(0, effect.first_index - batch.first_index)
            lost = batch.waiters[keep:]
            if not lost:
                return
            self._waiting.pop()
            self.pending -= len(lost)
            if keep:
                self._waiting.append(batch._replace(waiters=batch.waiters[:keep]))
            for waiter in lost:
                if waiter is not None:
                    self._outlet.failed(waiter, effect.error, unknown=effect.unknown)

    # ---- applying ----------------------------------------------------------------------------------------------

    @property
    def restore_due(self) -> bool:
        """What is committed by now lies behind a snapshot that is not the machine's state yet."""
        return any(isinstance(effect, (ev.RestoreSnapshot, ev.StartOver)) for effect in self._queue)

    def _apply_committed(self) -> None:
        if self.restore_due:
            self._commit_due = True
            return
        self._commit_due = False
        while not self._stalled:
            entries = self.core.take_committed()
            if not entries:
                return
            self._apply(entries)

    def retry_apply(self) -> None:
        """Tries again what could not be applied for want of room. Call it now and then while `stall_reason` is set."""
        entries, self._stalled = self._stalled, []
        self.stall_reason = ""
        if entries:
            self._draining = True
            try:
                self._apply(entries)
                self._apply_committed()
            finally:
                self._draining = False
            self._run(())

    def _apply(self, entries: list[Entry]) -> None:
        commands = [entry for entry in entries if entry.type == COMMAND]
        results: Sequence[Any] = ()
        changes: Any = None
        if commands:
            started = perf_counter()
            try:
                results, changes = self.machine.apply_batch(commands)
            except NoRoomError as error:
                self._stalled, self.stall_reason = entries, str(error)
                self._outlet.stalled(self.stall_reason)
                # Nobody knows when there will be room: those who wait are told now that it may still happen.
                self._dropped(ev.Dropped(entries[0].index, self.stall_reason, unknown=True))
                return
            took_s = perf_counter() - started
            self._policy.applied(took_s)
            self._outlet.sample("raft.fsm.apply", took_s * 1000 / len(commands))
        for entry in reversed(entries):
            if entry.type in (COMMAND, BARRIER):
                self.machine_index, self.machine_term = entry.index, entry.term
                break
        self.applied_index = entries[-1].index
        self._outlet.gauge("raft.commitNumLogs", len(entries))
        self._outlet.applied(self.applied_index, changes)
        self._deliver(entries, results)

    def _deliver(self, entries: list[Entry], results: Sequence[Any]) -> None:
        """Answers those who wait for `entries`. results: of the commands among them, in order."""
        waiting, outlet = self._waiting, self._outlet
        last = entries[-1].index
        if not waiting or waiting[0].first_index > last:
            return
        value_of: dict[int, Any] = {}
        plain = len(results) == len(entries)
        if not plain:
            commands = (entry.index for entry in entries if entry.type == COMMAND)
            value_of = dict(zip(commands, results, strict=True))
        first = entries[0].index
        while waiting and waiting[0].first_index <= last:
            batch = waiting.popleft()
            done = min(len(batch.waiters), last - batch.first_index + 1)
            if done < len(batch.waiters):
                rest = batch._replace(first_index=last + 1, waiters=batch.waiters[done:])
                waiting.appendleft(rest)
            self.pending -= done
            outlet.sample("raft.commitTime", (self._clock() - batch.since) * 1000)
            for index, waiter in enumerate(batch.waiters[:done], batch.first_index):
                if waiter is not None:
                    outlet.result(waiter, index, results[index - first] if plain else value_of.get(index))

    # ---- snapshots ---------------------------------------------------------------------------------------------

    def _restore(self, index: int, term: int) -> None:
        """Makes the stored snapshot that ends with (index, term) the state of the machine, unless a newer one came
        while this waited for the disk."""
        if self.restore_due:
            return
        started = perf_counter()
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[:2] == (index, term):
            changes = self.machine.adopt(prepared[2], index, term)
        else:
            meta = next((meta for meta in self.snapshots.list() if (meta.index, meta.term) == (index, term)), None)
            if meta is None:
                raise StorageError(f"the snapshot of entry {index}, term {term}, which was just stored, is gone")
            changes = load_snapshot(self.snapshots, meta, self.machine)
        self._outlet.sample("raft.fsm.restore", (perf_counter() - started) * 1000)
        self._stalled, self.stall_reason = [], ""
        self.applied_index = index
        self.machine_index, self.machine_term = index, term
        self.restores += 1
        self._outlet.applied(index, changes)

    def _start_over(self) -> None:
        """The state is that of no log: entries are applied from the first one on."""
        if self._prepared is not None:
            self.machine.discard(self._prepared[2])
            self._prepared = None
        self.machine.reset()
        self._stalled, self.stall_reason = [], ""
        self.applied_index = self.machine_index = self.machine_term = 0
        self.restores += 1
        self._outlet.applied(0, None)


def _is_heartbeat(request: Request) -> bool:
    return isinstance(request, AppendEntries) and not request.prev_log_index and not request.entries


def load_snapshot(snapshots: Snapshots, meta: SnapshotMeta, machine: StateMachine) -> Any:
    """Replaces the machine's state by a stored snapshot, returns the changes. Raises StorageError if that is
    damaged."""
    reader = snapshots.open(meta)
    try:
        return machine.restore(reader, meta.index, meta.term)
    finally:
        reader.close()
