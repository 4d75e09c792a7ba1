"""SimMachine: a state machine whose state is the list of what was applied."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from services.raft_node.core.types import COMMAND, Entry
from services.raft_node.machine import Applied, NoRoomError, StateReader
from tests.simulation.raft_oracle import Oracle


class SimMachine:
    """It survives a kill, and a power cut takes all of it."""

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
        return iter([data[start : start + 1000] for start in range(0, len(data), 1000)])

    def restore(self, source: StateReader, index: int, term: int) -> None:
        self.adopt(self._parsed(source), index, term)

    @staticmethod
    def _parsed(source: StateReader) -> list[list[Any]]:
        values: list[list[Any]] = json.loads(source.read())
        return values

    def prepare(self) -> list[list[Any]]:
        return []

    def fill(self, prepared: list[list[Any]], source: StateReader) -> None:
        prepared[:] = self._parsed(source)

    def adopt(self, prepared: list[list[Any]], index: int, term: int) -> None:
        self.values, self.applied_index, self.applied_term = prepared, index, term

    def discard(self, prepared: list[list[Any]]) -> None:
        prepared.clear()

    def reset(self) -> None:
        self.values, self.applied_index, self.applied_term = [], 0, 0
