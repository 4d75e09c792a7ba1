"""Term and vote, snapshots, the directory lock."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from services.raft_node.core.types import NON_VOTER, Configuration, HardState, Server
from services.raft_node.log import (
    CorruptionError,
    DirectoryLock,
    FileSnapshots,
    LockedError,
    MemorySnapshots,
    OsDisk,
    Snapshots,
    StableStore,
    StorageError,
)
from services.raft_node.log.crc64 import crc64
from tests.simulation.raft_disk import SimDisk

CONFIGURATION = Configuration((Server("a", "10.0.0.1:8300"), Server("b", "10.0.0.2:8300", NON_VOTER)))


def test_hard_state_survives_and_the_file_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "stable"
    store = StableStore.open(OsDisk(), str(path))
    assert store.state == HardState()
    for term in range(1, 6):
        store.save(HardState(term, term, "10.0.0.1:8300"))
    store.close()
    assert StableStore.open(OsDisk(), str(path)).state == HardState(5, 5, "10.0.0.1:8300")
    assert path.stat().st_size == 8192


@pytest.mark.parametrize("seed", range(100))
def test_a_crash_leaves_the_saved_state_or_the_one_being_saved(seed: int) -> None:
    rng = random.Random(seed)
    disk = SimDisk(rng)
    disk.make_directory("/raft")
    store = StableStore.open(disk, "/raft/stable")
    saved = HardState()
    for term in range(1, 10):
        if rng.random() < 0.3:
            disk.fault = lambda name, path: _fail() if name == "sync" else None
            with pytest.raises(StorageError):
                store.save(HardState(term, term, "lost"))
            disk.fault = None
            disk.crash()
            store = StableStore.open(disk, "/raft/stable")
            assert store.state in (saved, HardState(term, term, "lost"))
        else:
            store.save(HardState(term, 0, "kept"))
        saved = store.state


def _fail() -> None:
    raise OSError(5, "Input/output error")


def test_a_stable_store_without_a_whole_slot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stable"
    StableStore.open(OsDisk(), str(path)).close()
    path.write_bytes(b"x" * 8192)
    with pytest.raises(CorruptionError, match="stable is damaged at offset 0"):
        StableStore.open(OsDisk(), str(path))


# ---- snapshots -------------------------------------------------------------------------------------------------------


def take(store: Snapshots, index: int, data: bytes, now_ms: int = 1700000000000) -> str:
    writer = store.create(index, 3, CONFIGURATION, 1, now_ms)
    for start in range(0, len(data), 1000):
        writer.write(data[start : start + 1000])
    return writer.finish().id


def test_a_snapshot_has_the_layout_of_consul(tmp_path: Path) -> None:
    store = FileSnapshots(OsDisk(), str(tmp_path))
    name = take(store, 17, b"state" * 1000)
    assert name == "3-17-1700000000000"
    meta = json.loads((tmp_path / name / "meta.json").read_text())
    assert list(meta) == [
        "Version", "ID", "Index", "Term", "Peers", "Configuration", "ConfigurationIndex", "Size", "CRC",
    ]  # fmt: skip
    assert (meta["Index"], meta["Term"], meta["Size"], meta["ConfigurationIndex"]) == (17, 3, 5000, 1)
    assert base64.b64decode(meta["Peers"]) == b"\x91\xad10.0.0.1:8300"
    assert meta["Configuration"]["Servers"][1] == {"Suffrage": 1, "ID": "b", "Address": "10.0.0.2:8300"}
    assert base64.b64decode(meta["CRC"]) == crc64(b"state" * 1000).to_bytes(8, "big")
    assert (tmp_path / name / "state.bin").read_bytes() == b"state" * 1000


def test_the_newest_two_snapshots_are_kept(tmp_path: Path) -> None:
    store = FileSnapshots(OsDisk(), str(tmp_path))
    for index in (5, 9, 7, 20):
        take(store, index, bytes(index))
    assert [meta.index for meta in store.list()] == [20, 9]
    newest = store.newest()
    assert newest is not None
    assert newest.configuration == CONFIGURATION
    reader = store.open(newest)
    assert reader.read() == bytes(20)
    reader.close()


def test_an_unfinished_snapshot_is_none_and_is_cleared_away(tmp_path: Path) -> None:
    store = FileSnapshots(OsDisk(), str(tmp_path))
    store.create(8, 1, CONFIGURATION, 1, 1).write(b"half")
    assert store.newest() is None
    assert FileSnapshots(OsDisk(), str(tmp_path)).list() == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_snapshot_is_not_restored(tmp_path: Path) -> None:
    store = FileSnapshots(OsDisk(), str(tmp_path))
    name = take(store, 8, b"good state")
    (tmp_path / name / "state.bin").write_bytes(b"evil state")
    newest = store.newest()
    assert newest is not None
    with pytest.raises(CorruptionError, match="CRC-64"):
        store.open(newest)


def test_a_snapshot_without_readable_meta_is_passed_over_and_named(tmp_path: Path) -> None:
    store = FileSnapshots(OsDisk(), str(tmp_path))
    take(store, 8, b"old")
    name = take(store, 9, b"new")
    (tmp_path / name / "meta.json").write_text("{}")
    newest = store.newest()
    assert newest is not None
    assert newest.index == 8
    assert name in store.unreadable[0]


def test_a_full_disk_fails_the_snapshot_and_leaves_nothing() -> None:
    disk = SimDisk(random.Random(1))
    store = FileSnapshots(disk, "/snapshots")
    disk.room = 100
    writer = store.create(4, 1, CONFIGURATION, 1, 1)
    with pytest.raises(StorageError, match="No space left"):
        writer.write(bytes(1000))
    writer.cancel()
    assert disk.paths() == []


@pytest.mark.parametrize("seed", range(40))
def test_a_finished_snapshot_survives_power_cuts_and_an_unfinished_one_does_no_harm(seed: int) -> None:
    rng = random.Random(seed)
    disk = SimDisk(rng)
    finished = 0
    for index in range(1, 12):
        store = FileSnapshots(disk, "/snapshots")
        writer = store.create(index, 1, CONFIGURATION, 1, 1)
        writer.write(bytes([index]) * 2000)
        if rng.random() < 0.6:
            writer.finish()
            finished = index
        disk.crash()
        newest = FileSnapshots(disk, "/snapshots").newest()
        assert (newest.index if newest else 0) == finished
        if newest:
            assert FileSnapshots(disk, "/snapshots").open(newest).read() == bytes([finished]) * 2000


def test_memory_snapshots_keep_the_newest() -> None:
    store = MemorySnapshots()
    assert store.newest() is None
    take(store, 4, b"four")
    take(store, 6, b"six")
    newest = store.newest()
    assert newest is not None
    assert store.open(newest).read() == b"six"


def test_the_crc_is_crc_64_xz() -> None:
    assert crc64(b"123456789") == 0x995DC9BBDF1939FA
    data = random.Random(1).randbytes(100_003)
    assert crc64(data[7777:], crc64(data[:7777])) == crc64(data)


def test_a_second_agent_on_the_directory_is_refused(tmp_path: Path) -> None:
    lock = DirectoryLock(str(tmp_path))
    with pytest.raises(LockedError, match=r"in use by another agent \(process \d+\).*-data-dir of its own"):
        DirectoryLock(str(tmp_path))
    lock.release()
    DirectoryLock(str(tmp_path)).release()


def test_a_directory_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="-data-dir that it owns"):
        DirectoryLock(str(tmp_path / "missing"))
