"""A batch with parts that are undone or kept, against a model in dictionaries."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.state.store import StateStore
from shared.state.topics import KEY, NODE, NODE_CHECKS, SESSION
from shared.state.transaction import WriteTransaction

KEYS = [b"a", b"b", b"c"]
ROWS = ["nodes", "Nodes", "service.web", "kvs"]


@dataclass
class Model:
    rows: dict[bytes, bytes] = field(default_factory=dict)
    indexes: dict[str, tuple[str, int]] = field(default_factory=dict)
    topics: dict[tuple[str, str], None] = field(default_factory=dict)
    versions: dict[bytes, int] = field(default_factory=dict)


VERSION = {NODE: b"nodes", NODE_CHECKS: b"checks", SESSION: b"sessions", KEY: b"kvs", "nodes": b"nodes", "kvs": b"kvs"}


class Batch:
    """Does everything twice: to the transaction and to the model."""

    def __init__(self, tx: WriteTransaction, model: Model) -> None:
        self.tx, self.model = tx, model
        self._kept: Model | None = None

    def put(self, key: bytes, value: bytes) -> None:
        self.tx.put(key, value, db=self.tx.tables.settings)
        self.model.rows[key] = value

    def delete(self, key: bytes) -> None:
        self.tx.delete(key, db=self.tx.tables.settings)
        self.model.rows.pop(key, None)

    def set_index(self, name: str, index: int) -> None:
        self.tx.set_index(name, index)
        self.model.indexes[name.lower()] = (name, index)
        if name in VERSION:
            self.model.versions[VERSION[name]] = index

    def raise_index(self, name: str, index: int) -> None:
        self.tx.raise_index(name, index)
        if index > self.model.indexes.get(name.lower(), ("", 0))[1]:
            self.model.indexes[name.lower()] = (name, index)
            if name in VERSION:
                self.model.versions[VERSION[name]] = index

    def drop_index(self, name: str) -> None:
        self.tx.drop_index(name)
        self.model.indexes.pop(name.lower(), None)

    def touch(self, table: str, key: str, index: int) -> None:
        self.tx.touch(table, key, index)
        self.model.topics[table, key] = None
        self.model.versions[VERSION[table]] = index

    def change_key(self, key: str, index: int) -> None:
        self.tx.key_changed(KEY, key.encode(), index)
        self.model.topics[KEY, key] = None
        self.model.indexes["kvs"] = ("kvs", index)
        self.model.versions[b"kvs"] = index

    def part(self, steps: list[Any], undone: bool) -> None:
        before = copy.deepcopy(self.model)
        self.tx.savepoint()
        for step in steps:
            step(self)
            self.check()
        if undone:
            self.tx.rollback()
            self.model = before
        else:
            self.tx.release()

    def check(self) -> None:
        """What the batch itself sees of what it has written."""
        for key in KEYS:
            assert self.tx.get(key, None, self.tx.tables.settings) == self.model.rows.get(key)
        for name in ROWS:
            row = self.model.indexes.get(name.lower())
            assert self.tx.index_row(name) == (None if row is None else row[1])
        assert self.tx.index(*ROWS) == max((index for _name, index in self.model.indexes.values()), default=0)


indexes = st.integers(1, 9)
rows, keys = st.sampled_from(ROWS), st.sampled_from(KEYS)
simple = st.one_of(
    st.builds(lambda k, v: lambda b: b.put(k, v), keys, st.binary(min_size=1, max_size=2)),
    st.builds(lambda k: lambda b: b.delete(k), keys),
    st.builds(lambda n, i: lambda b: b.set_index(n, i), rows, indexes),
    st.builds(lambda n, i: lambda b: b.raise_index(n, i), rows, indexes),
    st.builds(lambda n: lambda b: b.drop_index(n), rows),
    st.builds(lambda t, i: lambda b: b.touch(t, "x", i), st.sampled_from([NODE, NODE_CHECKS, SESSION]), indexes),
    st.builds(lambda k, i: lambda b: b.change_key(k, i), st.sampled_from(["k", "l"]), indexes),
)
parts = st.builds(lambda steps, undone: lambda b: b.part(steps, undone), st.lists(simple, max_size=6), st.booleans())


@given(batches=st.lists(st.tuples(st.lists(simple | parts, max_size=8), st.booleans()), max_size=4))
def test_parts_and_batches_are_whole_or_not_at_all(batches: list[tuple[list[Any], bool]]) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as directory:
        store = StateStore.open(directory)
        for steps, fails in batches:
            before = copy.deepcopy(model)
            model.topics = {}
            batch = None
            try:
                with store.write() as tx:
                    batch = Batch(tx, model)
                    for step in steps:
                        step(batch)
                        batch.check()
                    assert tx.topics == batch.model.topics
                    if fails:
                        raise InterruptedError
            except InterruptedError:
                model = before
            else:
                model = batch.model
            compare(store, model)
        store.close()


def compare(store: StateStore, model: Model) -> None:
    """What readers see."""
    with store.snapshot() as snap:
        assert dict(snap.scan(snap.tables.settings)) == model.rows
        assert sorted(snap.index_rows()) == sorted(model.indexes.values())
        found = {name: int.from_bytes(row, "big") for name, row in snap.scan(snap.tables.versions)}
        assert found == model.versions
