"""The store's trust, generations and failures, in one process."""

from __future__ import annotations

import shutil
from pathlib import Path

import lmdb
import pytest

from shared.state import tables
from shared.state.errors import StateBrokenError, StateFullError, StateUnavailableError
from shared.state.generation import GenerationPage, environment_path
from shared.state.reader import StateReader
from shared.state.store import StateStore
from shared.state.tables import as_state_error

BOOT, NEXT_BOOT = "boot-1", "boot-2"


def put(store: StateStore, key: bytes, value: bytes, index: int) -> None:
    with store.write() as tx:
        tx.put(key, value, db=tx.tables.settings)
        tx.set_applied(index, 1)


def get(store: StateStore, key: bytes) -> bytes | None:
    with store.snapshot() as snap:
        return snap.get(key, None, snap.tables.settings)


def abandon(store: StateStore) -> None:
    """Lets go of the files without closing properly, as a kill does."""
    store._close_environment()


def test_a_new_store_is_empty_and_becomes_trusted_with_its_first_commit(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    assert not store.trusted
    assert not StateReader(str(tmp_path), BOOT).available()
    put(store, b"k", b"v", 7)
    assert store.trusted
    assert (store.applied_index, store.applied_term) == (7, 1)
    abandon(store)
    assert StateReader(str(tmp_path), BOOT).available()


def test_a_killed_writer_leaves_a_trusted_store(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"v", 7)
    abandon(store)
    again = StateStore.open(str(tmp_path), BOOT)
    assert (again.trusted, again.applied_index, get(again, b"k")) == (True, 7, b"v")
    assert again.generation == store.generation


def test_a_reboot_without_a_close_leaves_nothing_to_trust(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"v", 7)
    old = environment_path(str(tmp_path), store.generation)
    abandon(store)
    assert not StateReader(str(tmp_path), NEXT_BOOT).available()
    again = StateStore.open(str(tmp_path), NEXT_BOOT)
    assert (again.trusted, again.applied_index, get(again, b"k")) == (False, 0, None)
    assert again.generation > store.generation
    assert not Path(old).exists()


def test_a_close_outlives_a_reboot_once(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"v", 7)
    store.close()
    again = StateStore.open(str(tmp_path), NEXT_BOOT)
    assert (again.trusted, get(again, b"k")) == (True, b"v")
    abandon(again)
    assert not StateStore.open(str(tmp_path), "boot-3").trusted


def test_a_copy_made_while_it_ran_is_not_trusted(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path / "a"), BOOT)
    put(store, b"k", b"v", 7)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert not StateReader(str(tmp_path / "b"), BOOT).available()
    assert not StateStore.open(str(tmp_path / "b"), BOOT).trusted
    abandon(store)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing", "schema"])
def test_a_damaged_store_is_rebuilt(tmp_path: Path, damage: str) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"v", 7)
    data = Path(environment_path(str(tmp_path), store.generation), "data.mdb")
    if damage == "schema":
        with store.write() as tx:
            tx.put(b"schema", b"\0" * 8, db=tx.tables.meta)
    abandon(store)
    if damage == "truncated":
        data.write_bytes(b"")
    elif damage == "garbage":
        data.write_bytes(b"x" * 8192)
    elif damage == "missing":
        data.unlink()
    again = StateStore.open(str(tmp_path), BOOT)
    assert not again.trusted
    put(again, b"k", b"new", 1)
    assert get(again, b"k") == b"new"
    abandon(again)


def test_a_batch_that_raises_leaves_no_trace(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"v", 7)

    def fail() -> None:
        with store.write() as tx:
            tx.put(b"k", b"other", db=tx.tables.settings)
            tx.set_index("nodes", 9)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert get(store, b"k") == b"v"
    with store.snapshot() as snap:
        assert snap.index("nodes") == 0


def test_a_savepoint_undoes_one_part_of_a_batch(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"kept", b"v", 1)
    with store.write() as tx:
        tx.put(b"first", b"1", db=tx.tables.settings)
        tx.set_index("nodes", 5)
        tx.savepoint()
        tx.put(b"first", b"2", db=tx.tables.settings)
        tx.put(b"second", b"2", db=tx.tables.settings)
        tx.delete(b"kept", db=tx.tables.settings)
        tx.delete(b"absent", db=tx.tables.settings)
        tx.set_index("nodes", 6)
        tx.touch("node", "n", 6)
        tx.rollback()
        assert tx.topics == {}
        assert tx.index("nodes") == 5
    assert [get(store, key) for key in (b"first", b"second", b"kept")] == [b"1", None, b"v"]


def test_a_rebuild_shows_nothing_before_it_is_complete(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"old", 7)
    page = GenerationPage.open(str(tmp_path))
    assert page is not None
    before = page.read()
    with store.rebuild() as tx:
        tx.put(b"k", b"new", db=tx.tables.settings)
        tx.set_applied(9, 2)
        assert page.read() == before
    assert page.read() == store.generation > before
    assert (get(store, b"k"), store.applied_index, store.applied_term) == (b"new", 9, 2)


def test_a_rebuild_that_fails_keeps_the_old_state(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"old", 7)
    before = store.generation

    def fail() -> None:
        with store.rebuild() as tx:
            tx.put(b"k", b"new", db=tx.tables.settings)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (get(store, b"k"), store.applied_index, store.generation, store.trusted) == (b"old", 7, before, True)
    assert [path.name for path in tmp_path.glob("store-*")] == [Path(environment_path("", before)).name]
    put(store, b"k", b"newer", 8)
    assert get(store, b"k") == b"newer"


def test_reset_withdraws_the_store_until_it_is_written_again(tmp_path: Path) -> None:
    store = StateStore.open(str(tmp_path), BOOT)
    put(store, b"k", b"v", 7)
    page = GenerationPage.open(str(tmp_path))
    assert page is not None
    store.reset()
    assert page.read() == 0
    put(store, b"k", b"w", 1)
    assert page.read() == store.generation


def test_a_reader_before_the_writer_says_so(tmp_path: Path) -> None:
    reader = StateReader(str(tmp_path / "nowhere"))
    with pytest.raises(StateUnavailableError, match="retry when raft_node has started"):
        reader.snapshot()


def test_a_full_disk_is_told_from_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = str(tmp_path)
    short_write = lmdb.Error("mdb_txn_commit: Input/output error")
    assert isinstance(as_state_error(directory, lmdb.MapFullError("x")), StateFullError)
    assert isinstance(as_state_error(directory, lmdb.Error("mdb_txn_commit: No space left on device")), StateFullError)
    assert isinstance(as_state_error(directory, lmdb.PanicError("x")), StateBrokenError)
    monkeypatch.setattr(tables, "_free_bytes", lambda _directory: 1 << 30)
    assert isinstance(as_state_error(directory, short_write), StateBrokenError)
    monkeypatch.setattr(tables, "_free_bytes", lambda _directory: 1 << 16)
    assert isinstance(as_state_error(directory, short_write), StateFullError)
