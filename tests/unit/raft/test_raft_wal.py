"""The write-ahead log: what was appended is found again, torn tails are cut, damage is refused."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.raft_node.core.types import COMMAND, CONFIGURATION, Entry
from services.raft_node.log import AppendError, CorruptionError, MemoryLog, OsDisk, StorageError, Wal
from services.raft_node.log.segment import HEADER_BYTES, decode_entries, encode_frame, frame_at
from tests.simulation.raft_disk import SimDisk

DIRECTORY = "/raft/wal"
SEGMENT_BYTES = 2048


def entries(first: int, count: int, term: int = 1, size: int = 20) -> list[Entry]:
    return [
        Entry(index, term, COMMAND, bytes([index % 251, term % 251]) * (size // 2), b"")
        for index in range(first, first + count)
    ]


def opened(disk: SimDisk) -> Wal:
    return Wal.open(disk, DIRECTORY, SEGMENT_BYTES)


def content(wal: Wal | MemoryLog) -> list[Entry]:
    if wal.last_index < wal.first_index:
        return []
    found: list[Entry] = []
    while not found or found[-1].index < wal.last_index:
        found += wal.read(found[-1].index + 1 if found else wal.first_index, wal.last_index, 500)
    return found


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk(random.Random(1))


def joined(batches: list[list[Entry]]) -> list[Entry]:
    return [entry for batch in batches for entry in batch]


# ---- what was appended is found again ------------------------------------------------------------------------------


def test_entries_survive_reopening(disk: SimDisk) -> None:
    wal = opened(disk)
    wal.append(entries(1, 5))
    wal.append([Entry(6, 2, CONFIGURATION, b"config", b"ext")])
    wal.close()
    again = opened(disk)
    assert content(again) == [*entries(1, 5), Entry(6, 2, CONFIGURATION, b"config", b"ext")]
    assert (again.term_at(5), again.term_at(6)) == (1, 2)
    assert [entry.index for entry in again.recovered_configurations] == [6]


def test_a_real_directory_works_as_the_simulated_one(tmp_path: Path) -> None:
    wal = Wal.open(OsDisk(), str(tmp_path / "wal"), 1 << 16)
    for first in range(1, 2000, 10):
        wal.append(entries(first, 10))
    wal.compact(1500)
    wal.close()
    again = Wal.open(OsDisk(), str(tmp_path / "wal"), 1 << 16)
    assert again.last_index == 2000
    assert 1 <= again.first_index <= 1501
    assert again.read(1400, 1500, 1 << 20) == entries(1400, 101)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "wal").iterdir())
    again.close()


def test_an_append_below_the_end_replaces_the_suffix_across_segments(disk: SimDisk) -> None:
    wal = opened(disk)
    for first in range(1, 200, 4):
        wal.append(entries(first, 4))
    assert len(disk.names(DIRECTORY)) > 3
    wal.append(entries(50, 3, term=2))
    expected = entries(1, 49) + entries(50, 3, term=2)
    assert content(wal) == expected
    assert (wal.last_index, wal.term_at(49), wal.term_at(50)) == (52, 1, 2)
    wal.close()
    assert content(opened(disk)) == expected


def test_compaction_removes_whole_segments_and_keeps_the_rest(disk: SimDisk) -> None:
    wal = opened(disk)
    for first in range(1, 400, 4):
        wal.append(entries(first, 4))
    before = len(disk.names(DIRECTORY))
    wal.compact(300)
    assert wal.first_index == 301
    assert len(disk.names(DIRECTORY)) < before
    assert content(wal) == entries(301, 100)
    wal.close()
    again = opened(disk)
    assert again.first_index <= 301
    assert content(again)[-100:] == entries(301, 100)


def test_a_reset_leaves_a_hole_and_drops_what_was_before(disk: SimDisk) -> None:
    wal = opened(disk)
    wal.append(entries(1, 30))
    wal.reset(1000)
    assert (wal.first_index, wal.last_index) == (1000, 999)
    wal.append(entries(1000, 2, term=7))
    wal.close()
    again = opened(disk)
    assert content(again) == entries(1000, 2, term=7)


def test_a_gap_is_refused(disk: SimDisk) -> None:
    wal = opened(disk)
    with pytest.raises(ValueError, match="does not fit"):
        wal.append(entries(5, 1))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60), st.integers(1, 6), st.integers(0, 90)), max_size=25))
def test_any_history_equals_a_list(steps: list[tuple[int, int, int, int]]) -> None:
    """Appends, replacements, compactions, resets and reopenings in any order: the same as a plain list."""
    disk, term = SimDisk(random.Random(0)), 1
    wal, model = opened(disk), MemoryLog()
    for kind, position, count, size in steps:
        if kind == 3:
            wal.close()
            wal = opened(disk)
        elif kind == 2 and position % 5 == 0:
            wal.reset(position + model.last_index)
            model.reset(position + model.last_index)
        elif kind == 2:
            wal.compact(min(position, wal.last_index))
            model.compact(min(position, model.last_index))
        else:
            floor = max(wal.first_index, model.first_index)
            first = model.last_index + 1 if kind == 0 else max(floor, model.last_index + 1 - position)
            term += kind
            new = entries(first, count, term, size)
            wal.append(new)
            model.append(new)
        kept = content(model)
        assert content(wal)[len(content(wal)) - len(kept) :] == kept
        assert wal.last_index == model.last_index
        assert all(wal.term_at(entry.index) == entry.term for entry in kept)


# ---- torn tails ------------------------------------------------------------------------------------------------------


def written(rng: random.Random) -> tuple[SimDisk, list[list[Entry]]]:
    """A disk with a closed-by-kill log of one segment, and the batches in it."""
    disk = SimDisk(rng)
    wal = Wal.open(disk, DIRECTORY, 1 << 14)
    batches, first = [], 1
    for _ in range(rng.randint(2, 8)):
        batch = entries(first, rng.randint(1, 5), size=rng.randrange(0, 200, 2))
        wal.append(batch)
        batches.append(batch)
        first += len(batch)
    disk.kill()
    return disk, batches


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 1 << 14))
def test_a_file_cut_at_any_byte_gives_a_prefix_of_the_batches(seed: int, cut: int) -> None:
    disk, batches = written(random.Random(seed))
    [path] = disk.paths()
    disk.truncate(path, cut)
    wal = Wal.open(disk, DIRECTORY, 1 << 14)
    prefixes = [joined(batches[:count]) for count in range(len(batches) + 1)]
    assert content(wal) in prefixes
    whole = content(wal)
    wal.append(entries(wal.last_index + 1, 3, term=9))
    wal.close()
    assert content(Wal.open(disk, DIRECTORY, 1 << 14)) == whole + entries(len(whole) + 1, 3, term=9)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 30), st.data())
def test_a_byte_flipped_before_the_last_batch_refuses_to_open(seed: int, data: st.DataObject) -> None:
    disk, batches = written(random.Random(seed))
    [path] = disk.paths()
    last = len(encode_frame(batches[-1], 1, 1, 0))
    used = len(bytes(disk.content(path)).rstrip(b"\0"))
    end = HEADER_BYTES + sum(len(encode_frame(batch, 1, 1, 0)) for batch in batches)
    assert used <= end
    at = data.draw(st.integers(0, end - last - 1))
    disk.content(path)[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptionError, match="Restore the data directory") as caught:
        Wal.open(disk, DIRECTORY, 1 << 14)
    assert caught.value.path == path
    assert caught.value.offset <= at
    assert path in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 30), st.data())
def test_a_byte_flipped_anywhere_gives_the_prefix_or_an_error(seed: int, data: st.DataObject) -> None:
    disk, batches = written(random.Random(seed))
    [path] = disk.paths()
    at = data.draw(st.integers(0, len(disk.content(path)) - 1))
    disk.content(path)[at] ^= 1 << data.draw(st.integers(0, 7))
    prefixes = [joined(batches[:-1]), joined(batches)]
    with contextlib.suppress(CorruptionError):
        assert content(Wal.open(disk, DIRECTORY, 1 << 14)) in prefixes


def test_damage_is_found_even_in_the_last_batch_once_the_log_was_closed_or_opened_again(disk: SimDisk) -> None:
    for ending in ("close", "kill"):
        wal = opened(disk)
        wal.append(entries(wal.last_index + 1, 2))
        if ending == "close":
            wal.close()
        else:
            disk.kill()
            opened(disk)
            disk.kill()
        [path] = disk.paths()
        saved = bytes(disk.content(path))
        disk.content(path)[len(saved.rstrip(b"\0")) - 40] ^= 1
        with pytest.raises(CorruptionError):
            opened(disk)
        disk.content(path)[:] = saved


def test_a_missing_segment_is_refused(disk: SimDisk) -> None:
    wal = opened(disk)
    for first in range(1, 200, 4):
        wal.append(entries(first, 4))
    disk.kill()
    disk.remove(disk.paths()[1])
    with pytest.raises(CorruptionError, match="are missing"):
        opened(disk)


def test_a_frame_hidden_in_a_value_is_not_believed() -> None:
    disk = SimDisk(random.Random(3))
    wal = opened(disk)
    hidden = encode_frame(entries(2, 1, term=9), 2, 9, 0)
    wal.append([Entry(1, 1, COMMAND, b"12345678" + hidden)])
    disk.kill()
    [path] = disk.paths()
    disk.content(path)[HEADER_BYTES + 20] ^= 1  # the frame around it is torn
    assert content(opened(disk)) == []


@pytest.mark.parametrize("seed", range(60))
def test_acknowledged_entries_survive_power_cuts(seed: int) -> None:
    """Append and crash, over and over: what was acknowledged is there, what was not is there whole or not at all."""
    rng = random.Random(seed)
    disk, acknowledged = SimDisk(rng), 0
    wal = opened(disk)
    for _ in range(20):
        for _ in range(rng.randint(0, 4)):
            wal.append(entries(wal.last_index + 1, rng.randint(1, 4), size=rng.randrange(0, 600, 2)))
            acknowledged = wal.last_index
        if rng.random() < 0.7:
            batch = entries(wal.last_index + 1, rng.randint(1, 4), size=rng.randrange(0, 600, 2))
            wal.write(batch)  # power fails before the sync
        disk.crash()
        wal = opened(disk)
        assert wal.last_index >= acknowledged
        for entry in content(wal):
            assert entry.data == entries(entry.index, 1, size=len(entry.data))[0].data
        acknowledged = wal.last_index


# ---- disks that fail -------------------------------------------------------------------------------------------------


def failing(operation: str, number: int) -> object:
    def fault(name: str, path: str) -> None:
        if name == operation:
            raise OSError(number, os.strerror(number), path)

    return fault


def test_a_full_disk_fails_appends_and_recovers_when_there_is_room(disk: SimDisk) -> None:
    wal = opened(disk)
    disk.room = 0

    def fill() -> None:
        for first in range(1, 1000, 4):
            wal.append(entries(first, 4))

    with pytest.raises(AppendError, match="No space left on device; writes resume"):
        fill()
    last = wal.last_index
    assert last > 4
    assert content(wal) == entries(1, last)
    disk.room = 1 << 20
    wal.append(entries(last + 1, 4))
    wal.close()
    assert content(opened(disk)) == entries(1, last + 4)


@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("ending", ["kill", "crash"])
def test_an_entry_whose_append_failed_is_not_believed_later(
    disk: SimDisk, operation: str, repeated: bool, ending: str
) -> None:
    wal = opened(disk)
    wal.append(entries(1, 3))
    failures = [0]

    def fault(name: str, path: str) -> None:
        if name == operation and (repeated or not failures[0]):
            failures[0] += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    disk.fault = fault
    with pytest.raises(AppendError, match="Input/output error"):
        wal.append(entries(4, 2, term=5))
    assert wal.last_index == 3
    disk.fault = None
    wal.append(entries(4, 1, term=6))
    getattr(disk, ending)()
    assert content(opened(disk)) == entries(1, 3) + entries(4, 1, term=6)


def test_an_unreadable_directory_says_so(disk: SimDisk) -> None:
    disk.fault = failing("make_directory", errno.EACCES)  # type: ignore[assignment]
    with pytest.raises(StorageError, match="Permission denied"):
        opened(disk)


def test_damage_that_appears_while_running_is_not_handed_out(disk: SimDisk) -> None:
    wal = opened(disk)
    wal.append(entries(1, 3))
    [path] = disk.paths()
    disk.content(path)[HEADER_BYTES + 60] ^= 4
    with pytest.raises(CorruptionError):
        wal.read(1, 3, 1000)


# ---- format ----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 255), st.binary(), st.binary()), max_size=5),
    st.integers(0, 2**32 - 1),
    st.integers(1, 2**63),
)
def test_frames_round_trip(items: list[tuple[int, int, bytes, bytes]], seed: int, first: int) -> None:
    batch = [Entry(first + at, *item) for at, item in enumerate(items)]
    data = encode_frame(batch, first, 3, seed)
    frame = frame_at(data, 0, seed)
    assert frame is not None
    assert decode_entries(data, frame) == batch
    assert frame_at(data, 0, seed ^ 1) is None


@pytest.mark.parametrize("seed", range(30))
def test_a_replacement_that_failed_and_came_back_does_not_make_a_gap(seed: int) -> None:
    """The disk took it after all, and refused to wipe it out; the next append goes to a new segment."""
    disk = SimDisk(random.Random(seed))
    wal = opened(disk)
    wal.append(entries(1, 6))
    syncs_fail = True

    def fault(operation: str, path: str) -> None:
        if operation == "sync" and syncs_fail and path.endswith(".wal.tmp"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk.fault = fault
    with pytest.raises(AppendError):
        wal.append(entries(3, 1, term=2))
    syncs_fail = False
    assert wal.broken
    wal.append(entries(3, 1, term=2))
    wal.append(entries(4, 2, term=2))
    disk.crash()
    assert content(opened(disk)) == entries(1, 2) + entries(3, 3, term=2)
