"""The FSM: committed log entries in, state and results out. Batches are the unit: one LMDB transaction each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import lmdb

from services.raft_node.fsm import (
    chunks,
    config_entries,
    families,
    kv,
    prepared_queries,
    registration,
    sessions,
    settings,
    snapshot,
    txn,
)
from services.raft_node.fsm.errors import CommandError, FatalCommandError
from shared.state.rebuilding import NewGeneration
from shared.state.store import StateStore
from shared.state.topics import RESTORE
from shared.state.transaction import WriteTransaction
from shared.structs.errors import StructError
from shared.structs.txn import TxnResponse

IGNORE_UNKNOWN: Final = 128
REGISTER, DEREGISTER, KVS, SESSION, TOMBSTONE, COORDINATES, TXN, AUTOPILOT = 0, 1, 2, 3, 5, 6, 8, 9
PREPARED_QUERY, CONFIG_ENTRY = 7, 22

RESTORED: Final = [[RESTORE, ""]]
"""The topics to publish after a restore."""


class Entry(NamedTuple):
    """A committed log entry. data: message type byte and msgpack value; empty for entries that are no
    commands (noop, barrier, configuration), which only move the applied index. extensions: see chunks."""

    index: int  # type: ignore[assignment]
    term: int
    data: bytes = b""
    extensions: bytes = b""


class Applied(NamedTuple):
    """results: one per entry: what the command's caller gets (None, bool, int, str, or a dict in wire form
    for Txn), or a CommandError. change: the change record [index, [[table, key], ...]] to publish."""

    results: list[Any]
    change: list[Any]


class Fsm:
    """Applies entries to a store. Everything it decides follows from the entries alone, except lock delays.

    apply_batch(entries, now_ns) -> Applied   now_ns: CLOCK_MONOTONIC; raises FatalCommandError,
                                              StateFullError (nothing was applied, try again), StateBrokenError
    write_snapshot() -> pieces                a consistent stream of the current state
    restore(pieces, index, term) -> change    replaces the state; raises SnapshotError"""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    @property
    def applied_index(self) -> int:
        return self._store.applied_index

    def apply_batch(self, entries: Sequence[Entry], now_ns: int) -> Applied:
        """Applies entries in order in one transaction. A command that fails leaves no trace; the others stay."""
        if not entries:
            return Applied([], [self._store.applied_index, []])
        if entries[0].index <= self._store.applied_index:
            raise ValueError(f"entry {entries[0].index} was applied, {self._store.applied_index} is the last")
        results: list[Any] = []
        with self._store.write() as tx:
            for entry in entries:
                results.append(_apply(tx, entry, now_ns))
            index, term, _data, _extensions = entries[-1]
            tx.set_applied(index, term)
            topics = [list(topic) for topic in tx.topics]
        return Applied(results, [index, topics])

    def write_snapshot(self) -> Iterator[bytes]:
        """Pieces of the snapshot stream. The view is taken now, before the first piece is asked for; close
        the iterator if you stop early, since an open view keeps old pages alive."""
        view = self._store.snapshot()

        def pieces() -> Iterator[bytes]:
            with view:
                yield from snapshot.write(view)

        return pieces()

    def restore(self, pieces: Iterable[bytes], index: int, term: int) -> list[Any]:
        """Replaces the state by a snapshot taken at (index, term). Returns the change record to publish."""
        snapshot.restore(self._store, pieces, index, term)
        return [index, RESTORED]

    def prepare(self) -> NewGeneration:
        """An empty state beside the current one; `fill` it, then `adopt` or `discard` it."""
        return self._store.begin()

    @staticmethod
    def fill(new: NewGeneration, pieces: Iterable[bytes]) -> None:
        """Writes a snapshot stream into `new`, in whatever thread. Raises SnapshotError."""
        snapshot.fill(new, pieces)

    def adopt(self, new: NewGeneration, index: int, term: int) -> list[Any]:
        """As `restore`, with what is filled already: takes a moment only."""
        snapshot.adopt(self._store, new, index, term)
        return [index, RESTORED]

    def discard(self, new: NewGeneration) -> None:
        self._store.discard(new)


def _apply(tx: WriteTransaction, entry: Entry, now_ns: int) -> Any:
    index, term, data, extensions = entry
    if not data:
        return None
    if extensions:
        try:
            piece = chunks.parse(extensions)
        except StructError as error:
            return CommandError(f"error unmarshaling chunk info: {error}")
        whole = chunks.collect(tx, term, piece, data)
        if whole is None:
            return None
        return _apply(tx, Entry(index, term, whole, piece.following), now_ns)
    message_type = data[0]
    try:
        if message_type == KVS:
            return kv.apply(tx, index, data[1:])
        return _apply_guarded(tx, index, message_type, data[1:], now_ns)
    except CommandError as error:
        return error
    except (StructError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FatalCommandError(index, message_type, f"undecodable: {error!r}") from error


def _apply_guarded(tx: WriteTransaction, index: int, message_type: int, data: bytes, now_ns: int) -> Any:
    """Commands that may fail after their first write: whatever they wrote is undone then."""
    tx.savepoint()
    try:
        result = _dispatch(tx, index, message_type, data, now_ns)
    except lmdb.BadValsizeError as error:
        # A name that is empty, or longer than any the store can look up: one odd command must not end the server,
        # and would end it again at every start.
        tx.rollback()
        raise CommandError(f"failed to look up a name in the command: {error}") from error
    except BaseException:
        tx.rollback()
        raise
    if isinstance(result, TxnResponse):
        if result.errors:
            tx.rollback()
        else:
            tx.release()
        return result.to_wire()
    tx.release()
    return result


def _dispatch(tx: WriteTransaction, index: int, message_type: int, data: bytes, now_ns: int) -> Any:
    kind = message_type & ~IGNORE_UNKNOWN
    if kind == REGISTER:
        return registration.register(tx, index, data, now_ns)
    if kind == DEREGISTER:
        return registration.deregister(tx, index, data, now_ns)
    if kind == KVS:
        return kv.apply(tx, index, data)
    if kind == SESSION:
        return sessions.apply(tx, index, data, now_ns)
    if kind == TOMBSTONE:
        return settings.reap(tx, index, data)
    if kind == COORDINATES:
        return settings.update_coordinates(tx, index, data)
    if kind == TXN:
        return txn.apply(tx, index, data, now_ns)
    if kind == AUTOPILOT:
        return settings.set_autopilot(tx, index, data)
    if kind == PREPARED_QUERY:
        return prepared_queries.apply(tx, index, data)
    if kind == CONFIG_ENTRY:
        return config_entries.apply(tx, index, data)
    if kind in families.COMMANDS:
        return families.apply(tx, index, kind, data)
    if message_type & IGNORE_UNKNOWN:
        return None
    raise FatalCommandError(index, message_type, "unknown message type")
