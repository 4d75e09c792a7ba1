"""Snapshots that a leader sends: stored as they come, built into a state beside the current one, taken over at once.

Building takes as long as the state is large. It happens in a thread, so that meanwhile this server answers heartbeats
and its old state answers stale reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from services.raft_node.core import events as ev
from services.raft_node.core.messages import InstallSnapshot
from services.raft_node.core.types import SnapshotMeta
from services.raft_node.log.errors import StorageError
from services.raft_node.log.snapshots import Snapshots, SnapshotWriter
from services.raft_node.machine import StateMachine, UnusableStateError
from services.raft_node.replica import Replica
from shared.log import get_logger

_log = get_logger("agent.server.raft")

Guarded = Callable[[Callable[[], None]], None]


class Installing:
    """turn: held while a state is built or taken over, by whomever; guarded: runs what reaches the replica."""

    def __init__(self, replica: Replica, turn: trio.Lock, guarded: Guarded, now_ms: Callable[[], int]) -> None:
        self._replica = replica
        self._turn = turn
        self._guarded = guarded
        self._now_ms = now_ms

    def create(self, request: InstallSnapshot) -> SnapshotWriter:
        """Where the body goes. Raises StorageError."""
        return self._replica.snapshots.create(
            request.last_log_index,
            request.last_log_term,
            request.configuration,
            request.configuration_index,
            self._now_ms(),
        )

    def failed(self, token: Any, request: InstallSnapshot, error: str) -> None:
        """The body did not become a snapshot."""
        _log.error("failed to finalize snapshot", error=error)
        received = ev.SnapshotReceived(token, request, error)
        self._guarded(lambda: self._replica.event(received))

    async def finish(self, token: Any, request: InstallSnapshot, writer: SnapshotWriter) -> None:
        """The body is complete. The leader hears when the state is this server's."""
        try:
            async with self._turn:
                await self._finish(token, request, writer)
        except BaseException:
            writer.cancel()
            raise

    async def _finish(self, token: Any, request: InstallSnapshot, writer: SnapshotWriter) -> None:
        machine, prepared = self._replica.machine, None
        try:
            meta = await trio.to_thread.run_sync(writer.finish)
            _log.info("copied to local snapshot", bytes=request.size)
            prepared = machine.prepare()
            await trio.to_thread.run_sync(_fill, machine, prepared, self._replica.snapshots, meta)
        except (StorageError, UnusableStateError) as error:
            if prepared is not None:
                machine.discard(prepared)
            self.failed(token, request, str(error))
            return
        except BaseException:
            if prepared is not None:
                machine.discard(prepared)
            raise
        received = ev.SnapshotReceived(token, request)
        self._guarded(lambda: self._replica.snapshot_received(received, prepared))


def _fill(machine: StateMachine, prepared: Any, snapshots: Snapshots, meta: SnapshotMeta) -> None:
    """In a thread. The checksum is looked at once more: what was stored is what will be believed after a restart."""
    reader = snapshots.open(meta)
    try:
        machine.fill(prepared, reader)
    finally:
        reader.close()
