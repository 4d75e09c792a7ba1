"""Taking a snapshot: the state machine's stream goes into the snapshot store piece by piece, between other work."""

from __future__ import annotations

from typing import Final

from services.raft_node.core import events as ev
from services.raft_node.core.types import SnapshotMeta
from services.raft_node.replica import Replica

_STEP_BYTES: Final = 16 << 10


class SnapshotRefusedError(Exception):
    """No snapshot can be taken now. The text is hashicorp/raft's."""


class SnapshotTaking:
    """One snapshot of what is applied at the time of construction.

    `step` until it says False, then `finish` (which waits for the disk, and may do so in a thread), then
    `done`. `cancel` at any time instead. Raises SnapshotRefusedError from the constructor, StorageError."""

    def __init__(self, replica: Replica, now_ms: int) -> None:
        configurations = replica.core.state.configurations
        if not replica.machine_index:
            raise SnapshotRefusedError("nothing new to snapshot")
        if replica.machine_index < configurations.committed_index:
            raise SnapshotRefusedError(
                "cannot take snapshot now, wait until the configuration entry at "
                f"{configurations.committed_index} has been applied (have applied {replica.machine_index})"
            )
        self.index = replica.machine_index
        self._replica = replica
        self._restores = replica.restores
        self._pieces = replica.machine.stream()
        self._piece = b""
        self._writer = replica.snapshots.create(
            replica.machine_index,
            replica.machine_term,
            configurations.committed,
            configurations.committed_index,
            now_ms,
        )

    def step(self) -> bool:
        """Writes a little; False if that was all. Takes a millisecond or two, most of it for the checksum."""
        if not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece = piece
        self._writer.write(self._piece[:_STEP_BYTES])
        self._piece = self._piece[_STEP_BYTES:]
        return True

    def finish(self) -> SnapshotMeta:
        """Makes the snapshot durable and visible."""
        return self._writer.finish()

    def done(self, meta: SnapshotMeta) -> None:
        """Tells the core, which compacts the log."""
        replica = self._replica
        replaced = replica.restore_due or replica.restores != self._restores
        if meta.index > replica.core.log.snapshot_index and not replaced:
            replica.event(ev.SnapshotTaken(meta))

    def cancel(self) -> None:
        self._writer.cancel()


def is_due(replica: Replica, threshold: int) -> bool:
    """Whether `threshold` entries were stored since the last snapshot."""
    log = replica.core.log
    return log.last_index - log.snapshot_index >= threshold
