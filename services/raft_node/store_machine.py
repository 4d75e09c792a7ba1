"""The state machine of a running server: Consul's FSM over the shared state store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import lmdb

from services.raft_node import measures
from services.raft_node.core.types import Entry
from services.raft_node.fsm import machine as fsm
from services.raft_node.fsm.errors import SnapshotError
from services.raft_node.log.errors import StorageError
from services.raft_node.machine import Applied, NoRoomError, StateReader, UnusableStateError
from shared.state.errors import StateBrokenError, StateError, StateFullError
from shared.state.rebuilding import NewGeneration
from shared.state.store import StateStore

_PIECE_BYTES: Final = 256 << 10


class StoreMachine:
    """Implements `services.raft_node.machine.StateMachine` over `StateStore.open(state_dir)`."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._fsm = fsm.Fsm(store)

    @property
    def applied_index(self) -> int:
        return self._store.applied_index

    @property
    def applied_term(self) -> int:
        return self._store.applied_term

    def apply_batch(self, entries: Sequence[Entry]) -> Applied:
        batch = [fsm.Entry(index, term, data, extensions) for index, term, _, data, extensions in entries]
        try:
            started_ns = time.monotonic_ns()
            results, change = self._fsm.apply_batch(batch, started_ns)
        except StateFullError as error:
            raise NoRoomError(str(error)) from error
        except StateBrokenError:
            # The next start must not believe it: it is built again from snapshot and log.
            self._store.reset()
            raise
        if entries:
            measures.applied(entries, (time.monotonic_ns() - started_ns) / 1e9)
        return Applied(results, change)

    def stream(self) -> Iterator[bytes]:
        pieces = self._fsm.write_snapshot()

        def guarded() -> Iterator[bytes]:
            try:
                yield from pieces
            except lmdb.Error as error:
                # A leader's snapshot has taken the place of the state that was being read.
                raise StorageError(f"the state was replaced while it was read: {error}") from error

        return guarded()

    def restore(self, source: StateReader, index: int, term: int) -> Any:
        try:
            return self._fsm.restore(_pieces(source), index, term)
        except SnapshotError as error:
            raise StorageError(f"the snapshot of entry {index} cannot be restored: {error}") from error

    def prepare(self) -> NewGeneration:
        try:
            return self._fsm.prepare()
        except StateError as error:
            raise UnusableStateError(str(error)) from error

    def fill(self, prepared: NewGeneration, source: StateReader) -> None:
        try:
            self._fsm.fill(prepared, _pieces(source))
        except (SnapshotError, StateError) as error:
            raise UnusableStateError(str(error)) from error

    def adopt(self, prepared: NewGeneration, index: int, term: int) -> Any:
        return self._fsm.adopt(prepared, index, term)

    def discard(self, prepared: NewGeneration) -> None:
        self._fsm.discard(prepared)

    def reset(self) -> None:
        self._store.reset()

    def close(self) -> None:
        """Syncs the store and marks it clean."""
        self._store.close()


def _pieces(source: StateReader) -> Iterator[bytes]:
    while piece := source.read(_PIECE_BYTES):
        yield piece
