"""Recovery: makes log, newest snapshot and state machine agree before the core is made.

Whatever the moment of the crash: the log is the truth about what is above the newest snapshot, the snapshot about
what is below, and the state machine is believed only between the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from services.raft_node.core import bootstrap_entry
from services.raft_node.core.types import Configuration, Entry, HardState, SnapshotMeta
from services.raft_node.log.errors import StorageError
from services.raft_node.log.snapshots import Snapshots
from services.raft_node.machine import StateMachine
from services.raft_node.replica import load_snapshot


class RecoverableLog(Protocol):
    """Wal or MemoryLog, just opened."""

    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    @property
    def recovered_configurations(self) -> list[Entry]: ...

    def term_at(self, index: int) -> int: ...

    def append(self, entries: Sequence[Entry]) -> None: ...

    def reset(self, next_index: int) -> None: ...


class SavedHardState(Protocol):
    """StableStore or MemoryStable, just opened."""

    @property
    def state(self) -> HardState: ...

    def save(self, state: HardState) -> None: ...


class Recovered(NamedTuple):
    """What the core is made from. restored: the state machine was loaded from the snapshot."""

    snapshot: SnapshotMeta | None
    configurations: list[Entry]
    applied_index: int
    restored: bool


def recover(
    log: RecoverableLog,
    snapshots: Snapshots,
    machine: StateMachine,
    say: Callable[[str], None] = lambda text: None,
) -> Recovered:
    """Raises StorageError if there is a hole between the snapshot and the log."""
    last_term = log.term_at(log.last_index) if log.last_index >= log.first_index else 0
    stored = snapshots.list()
    # Not a restored state that never became the cluster's, while the log went on without it; but one that has taken the
    # machine's place already, before entries that nobody else had were dropped.
    adopted = (machine.applied_index, machine.applied_term)
    believed = [
        meta
        for meta in stored
        if meta.term >= last_term or (meta.index, meta.term) == adopted or _term_matches(log, meta)
    ]
    snapshot = believed[0] if believed else None
    index = snapshot.index if snapshot else 0
    if snapshot and log.first_index > index + 1 and _stands_behind_another(log, last_term, snapshot, stored):
        # The leader's snapshot has taken the place of such a state, and the crash came before the log began anew.
        log.reset(index + 1)
    if log.first_index > index + 1:
        raise StorageError(
            f"the raft log begins with entry {log.first_index}, but "
            + (f"the newest snapshot ends with {index}" if snapshot else "there is no usable snapshot")
            + ": restore the snapshots directory from a backup, or, if other servers are alive, remove this "
            "server's raft directory and let it join again as a new server"
        )
    if snapshot and not _term_matches(log, snapshot):
        # A snapshot from the leader was stored, and the crash came before the old log was dropped.
        log.reset(index + 1)
    restored = False
    if machine.applied_index > max(log.last_index, index):
        say("the state store is ahead of the log: building it again")
        machine.reset()
    elif _is_of_another_history(machine, log, snapshot):
        say("the state store is not what the log leads to: building it again")
        machine.reset()
    if snapshot and machine.applied_index < index:
        load_snapshot(snapshots, snapshot, machine)
        restored = True
    return Recovered(
        snapshot,
        [entry for entry in log.recovered_configurations if entry.index > index],
        max(index, machine.applied_index),
        restored,
    )


def _stands_behind_another(
    log: RecoverableLog, last_term: int, snapshot: SnapshotMeta, stored: Sequence[SnapshotMeta]
) -> bool:
    """Whether the log begins behind an older snapshot, whose end `snapshot` does not have in its history."""
    if last_term:
        return last_term < snapshot.term
    return any(meta.term < snapshot.term and meta.index + 1 == log.first_index for meta in stored)


def _is_of_another_history(machine: StateMachine, log: RecoverableLog, snapshot: SnapshotMeta | None) -> bool:
    """Whether the last command in the state is not the one that snapshot or log have there."""
    index, term = machine.applied_index, machine.applied_term
    if snapshot and index == snapshot.index:
        return term != snapshot.term
    return log.first_index <= index <= log.last_index and log.term_at(index) != term


def _term_matches(log: RecoverableLog, snapshot: SnapshotMeta) -> bool:
    if snapshot.index < log.first_index:
        return True  # the entry was compacted away, after the snapshot: they belong together
    return snapshot.index <= log.last_index and log.term_at(snapshot.index) == snapshot.term


def has_state(log: RecoverableLog, stable: SavedHardState, snapshots: Snapshots) -> bool:
    """Whether this server has ever been part of a cluster."""
    return stable.state.term > 0 or log.last_index > 0 or snapshots.newest() is not None


def bootstrap(log: RecoverableLog, stable: SavedHardState, configuration: Configuration) -> None:
    """Begins a new cluster: entry 1 of term 1. Only for a server without state."""
    # In this order: a crash in between leaves an entry of term 1, from which the term is known.
    log.append([bootstrap_entry(configuration)])
    stable.save(HardState(term=1))
