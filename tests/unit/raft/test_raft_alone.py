"""A server that is its whole cluster."""

from __future__ import annotations

from services.raft_node.core import events as ev
from services.raft_node.core.types import (
    BARRIER,
    COMMAND,
    LEADER,
    Configuration,
    Entry,
)
from tests.unit.raft.core_under_test import A, alone, core_of, perform, plain


def test_a_server_alone_commits_what_is_on_its_disk_and_never_loses_its_lease() -> None:
    core = alone()
    items = [(COMMAND, b"a", b""), (BARRIER, b"", b"")]
    expected = [Entry(3, 2, COMMAND, b"a"), Entry(4, 2, BARRIER, b"")]
    effects = core.step(ev.Propose("p", items), 5.0)
    assert effects == [ev.Accepted("p", 3, 2), ev.AppendLog(expected)]
    assert core.step(ev.ReadIndex("r"), 5.0) == [ev.ReadReady(["r"], 2)]
    assert perform(core, effects) == [ev.Commit(4)]
    assert core.take_committed() == expected
    assert core.take_committed() == []
    assert core.lease_end == core.deadline == float("inf")


def test_a_full_disk_withdraws_the_entries_of_a_server_alone_and_it_stays_leader() -> None:
    core = alone()
    core.step(ev.Propose("p", [(COMMAND, b"a", b"")]), 5.0)
    effects = plain(core.step(ev.AppendFailed(3, "disk full"), 5.0))
    assert effects == [ev.Dropped(3, "disk full", False)]
    assert core.role == LEADER
    assert ev.Accepted("q", 3, 2) in core.step(ev.Propose("q", [(COMMAND, b"b", b"")]), 5.0)


def test_a_server_alone_waits_only_a_moment_before_its_election() -> None:
    core = core_of(configuration=Configuration((A,)))
    assert 0.035 <= core.deadline <= 0.07


def test_a_late_durable_of_a_replaced_entry_is_not_believed() -> None:
    core = alone()
    core.step(ev.Propose("p", [(COMMAND, b"a", b"")]), 5.0)
    assert core.step(ev.Durable(3, 1), 5.0) == []
    assert core.log.durable_index == 2
