"""The small parts of the core: quorums, and the log as the core sees it."""

from __future__ import annotations

import pytest

from services.raft_node.core.log import RaftLog
from services.raft_node.core.quorum import quorum_index, quorum_time
from services.raft_node.log import MemoryLog
from tests.unit.raft.core_under_test import command


def test_quorum_values() -> None:
    assert quorum_index({"a": 9, "b": 4, "c": 7}, ["a", "b", "c"]) == 7
    assert quorum_index({"a": 9}, ["a", "b"]) == 0
    assert quorum_index({"a": 9, "b": 9, "x": 99}, ["a", "b", "c", "d", "e"]) == 0
    assert quorum_time({"a": 1.0}, ["a", "b", "c"]) == float("-inf")
    with pytest.raises(ValueError, match="without voters"):
        quorum_index({}, [])


def test_the_log_reads_across_storage_and_memory() -> None:
    storage = MemoryLog()
    storage.append([command(index, 1) for index in range(1, 6)])
    log = RaftLog(storage)
    log.append([command(6, 2), command(7, 2)])
    assert [entry.index for entry in log.read(3, 7, 1000)] == [3, 4, 5, 6, 7]
    assert [entry.index for entry in log.read(3, 7, 2)] == [3, 4]
    assert [log.term_at(index) for index in (0, 5, 6, 8)] == [0, 1, 2, None]
    log.cut(4)
    assert (log.last_index, log.last_term, log.durable_index) == (3, 1, 3)


def test_the_cache_of_entries_is_bounded() -> None:
    storage = MemoryLog()
    log = RaftLog(storage)
    log.cached_entries = 512
    for index in range(1, 5000):
        log.append([command(index, 1)])
        storage.append([command(index, 1)])
        log.mark_durable(index, 1)
        log.take_committed(index, 100, 1000)
        assert len(log._tail) <= 1025
    assert [entry.index for entry in log.read(1, 3, 1000)] == [1, 2, 3]
