"""KV commands against a model in plain Python: values, locks, counters, tombstones and every index."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.raft_node.fsm.errors import CommandError
from services.raft_node.fsm.machine import Entry
from shared.state.queries import kv
from shared.structs import wire
from shared.structs.kv import DirEntry, KVSRequest
from tests.unit.fsm.fsm_driver import S1, S2, S3, Driver, driver

LONG = "long/" + "x" * 600
KEYS = ["a", "a/", "a/b", "a/b/c", "ab", "b", "\udcff", LONG, LONG + "y"]
PREFIXES = ["", "a", "a/", "a/b", "long/", LONG, "zz", "\udcff"]


@dataclass
class Model:
    """What the KV table has to look like."""

    rows: dict[str, DirEntry] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    kvs_index: int = 0
    tombstones_index: int = 0

    @property
    def table_index(self) -> int:
        return max(1, self.kvs_index, self.tombstones_index)

    def write(self, index: int, wanted: DirEntry) -> None:
        old = self.rows.get(wanted.key)
        if old is not None:
            same = (old.lock_index, old.flags, old.value, old.session) == (
                wanted.lock_index,
                wanted.flags,
                wanted.value,
                wanted.session,
            )
            if same:
                return
        wanted.create_index = old.create_index if old else index
        wanted.modify_index = self.kvs_index = index
        self.rows[wanted.key] = wanted

    def delete(self, index: int, key: str) -> None:
        if self.rows.pop(key, None) is not None:
            self.tombstones[key] = index
            self.tombstones_index = self.kvs_index = index

    def apply(self, index: int, op: str, entry: DirEntry, sessions: set[str]) -> Any:
        old = self.rows.get(entry.key)
        held_by = old.session if old else ""
        fresh = entry.replace(session=held_by)
        if op == "set":
            return self.write(index, fresh)
        if op == "cas":
            if entry.modify_index != (old.modify_index if old else 0):
                return False
            self.write(index, fresh)
            return True
        if op == "delete":
            return self.delete(index, entry.key)
        if op == "delete-cas":
            if old and old.modify_index != entry.modify_index:
                return False
            self.delete(index, entry.key)
            return True
        if op == "delete-tree":
            return self.delete_tree(index, entry.key)
        return self.lock(index, op, entry, old, sessions)

    def delete_tree(self, index: int, prefix: str) -> None:
        doomed = [key for key in self.rows if key.startswith(prefix)]
        for key in doomed:
            del self.rows[key]
        if doomed:
            self.kvs_index = index
            if prefix:
                self.tombstones[prefix] = self.tombstones_index = index

    def lock(self, index: int, op: str, entry: DirEntry, old: DirEntry | None, sessions: set[str]) -> Any:
        if not entry.session:
            return "missing session"
        if op == "unlock":
            if old is None or old.session != entry.session:
                return False
            self.write(index, entry.replace(session="", lock_index=old.lock_index))
            return True
        if entry.session not in sessions:
            return f'invalid session "{entry.session}"'
        if old is not None and old.session not in ("", entry.session):
            return False
        before = old.lock_index if old else 0
        counter = before if old is not None and old.session else before + 1
        self.write(index, entry.replace(lock_index=counter))
        return True

    def tree_index(self, prefix: str) -> int:
        if not prefix:
            return self.table_index
        newest = [row.modify_index for key, row in self.rows.items() if key.startswith(prefix)]
        newest += [index for key, index in self.tombstones.items() if key.startswith(prefix)]
        return max(newest, default=self.table_index)


def by_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


operations = st.tuples(
    st.sampled_from(["set", "cas", "delete", "delete-cas", "delete-tree", "lock", "unlock", "lock", "set", "reap"]),
    st.sampled_from(KEYS),
    st.sampled_from([None, b"1", b"\xff\x00", b"22"]),
    st.sampled_from([0, 0, 7]),
    st.sampled_from([S1, S2, S3, ""]),
    st.sampled_from(["right", "wrong", "zero"]),
)


def expected(model: Model, index: int, operation: tuple[Any, ...], sessions: set[str]) -> tuple[bytes, Any]:
    """The command for an operation, and the result the model gives."""
    op, key, value, flags, session, guess = operation
    if op == "reap":
        up_to = index - 5
        model.tombstones = {k: i for k, i in model.tombstones.items() if i > up_to}
        return b"\x05" + wire.pack({"Datacenter": "dc1", "Op": "reap", "ReapIndex": up_to, "Token": ""}), None
    row = model.rows.get(key)
    modify = {"right": row.modify_index if row else 0, "wrong": 5, "zero": 0}[guess]
    locking = op in ("lock", "unlock")
    entry = DirEntry(0, key, flags, value, session if locking else "", 0, modify if "cas" in op else 0)
    command = b"\x02" + wire.pack(KVSRequest("dc1", op, entry).to_wire())
    return command, model.apply(index, op, entry.copy(), sessions)


@given(batches=st.lists(st.lists(operations, min_size=1, max_size=4), max_size=12))
def test_any_sequence_of_operations_matches_the_model(batches: list[list[tuple[Any, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        fsm.register("n")
        fsm.session(S1, "n")
        fsm.session(S2, "n")
        model = Model()
        for batch in batches:
            entries, results = [], []
            for operation in batch:
                fsm.index += 1
                command, result = expected(model, fsm.index, operation, {S1, S2})
                entries.append(Entry(fsm.index, 1, command))
                results.append(result)
            applied = fsm.fsm.apply_batch(entries, 0)
            shown = [str(r) if isinstance(r, CommandError) else r for r in applied.results]
            assert shown == results
            check_everything(fsm, model)


def check_everything(fsm: Driver, model: Model) -> None:
    with fsm.store.snapshot() as snap:
        for key in KEYS:
            index, found, _watch = kv.get(snap, key)
            assert found == model.rows.get(key)
            assert index == (found.modify_index if found else model.table_index)
        for prefix in PREFIXES:
            index, entries, _watch = kv.tree(snap, prefix)
            wanted = sorted((k for k in model.rows if k.startswith(prefix)), key=by_bytes)
            assert [entry.key for entry in entries] == wanted
            assert index == model.tree_index(prefix)
            assert kv.keys(snap, prefix) == (index, wanted, (("kv-prefix", prefix),))


def test_a_plain_set_keeps_the_holder_but_resets_the_lock_counter(fsm: Driver) -> None:
    fsm.register("n")
    fsm.session(S1, "n")
    assert fsm.kv("lock", "k", b"mine", session=S1) is True
    assert fsm.kv("set", "k", b"theirs") is None
    entry = fsm.ask(lambda snap: kv.get(snap, "k")).value
    assert entry is not None
    assert (entry.session, entry.lock_index, entry.value) == (S1, 0, b"theirs")


def test_locking_again_with_equal_values_moves_nothing(fsm: Driver) -> None:
    fsm.register("n")
    fsm.session(S1, "n")
    fsm.kv("lock", "k", b"v", session=S1)
    at = fsm.index
    assert fsm.kv("lock", "k", b"v", session=S1) is True
    assert fsm.row("kvs") == at
    assert fsm.topics == []


@pytest.mark.parametrize(
    ("session", "text"),
    [
        ("", "missing session"),
        (S3, f'invalid session "{S3}"'),
        ("nonsense", "failed session lookup: index error: UUID must be 36 characters"),
    ],
)
def test_a_lock_needs_a_session_that_exists(fsm: Driver, session: str, text: str) -> None:
    assert str(fsm.kv("lock", "k", session=session)) == text
    assert fsm.ask(lambda snap: kv.get(snap, "k")).value is None


def test_an_unknown_operation_and_an_empty_key_are_errors(fsm: Driver) -> None:
    assert str(fsm.kv("frobnicate", "k")) == "Invalid KVS operation 'frobnicate'"
    assert str(fsm.kv("set", "")) == "failed inserting kvs entry: object missing primary index"
    assert fsm.kv("delete", "") is None
    assert fsm.ask(lambda snap: kv.get(snap, "")).value is None


def test_keys_are_cut_at_the_separator(fsm: Driver) -> None:
    for key in ["a/b/c", "a/b/d", "a/e", "a//f", "b"]:
        fsm.kv("set", key)
    assert fsm.ask(lambda snap: kv.keys(snap, "", "/")).value == ["a/", "b"]
    assert fsm.ask(lambda snap: kv.keys(snap, "a/", "/")).value == ["a//", "a/b/", "a/e"]
    assert fsm.ask(lambda snap: kv.keys(snap, "a/b", "/")).value == ["a/b/"]
    assert fsm.ask(lambda snap: kv.keys(snap, "a", "b/")).value == ["a//f", "a/b/", "a/e"]


def test_a_deleted_tree_is_one_topic(fsm: Driver) -> None:
    for at in range(5):
        fsm.kv("set", f"t/{at}")
    fsm.kv("delete-tree", "t/")
    assert fsm.topics == [["kv-tree", "t/"]]


def test_reaping_moves_no_index_but_lets_the_one_of_a_prefix_fall_back(fsm: Driver) -> None:
    fsm.kv("set", "p/keep")
    kept_at = fsm.index
    fsm.kv("set", "p/gone")
    fsm.kv("delete", "p/gone")
    deleted_at = fsm.index
    assert fsm.ask(lambda snap: kv.tree(snap, "p/")).index == deleted_at
    fsm.reap(deleted_at)
    assert fsm.ask(lambda snap: kv.tree(snap, "p/")).index == kept_at
    assert fsm.row("tombstones") == deleted_at
