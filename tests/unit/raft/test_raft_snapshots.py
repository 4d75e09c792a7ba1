"""Snapshots from the core's side: installed by a leader, taken by the server itself."""

from __future__ import annotations

import pytest

from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import (
    HardState,
    SnapshotMeta,
)
from tests.unit.raft.core_under_test import THREE, append, ask, command, core_of, install, of, plain


def test_an_installed_snapshot_replaces_state_and_log() -> None:
    core = core_of(command(2, 1))
    request = install(50)
    assert ask(core, request)[-1] == ev.ReceiveSnapshot("t", request)
    effects = plain(core.step(ev.SnapshotReceived("t", request), 0.2))
    assert effects == [
        ev.RestoreSnapshot(50, 2),
        ev.ResetLog(51),
        ev.Answer("t", msg.InstallSnapshotReply(3, True)),
    ]
    assert (core.log.last_index, core.log.last_term, core.commit_index) == (50, 2, 50)
    assert of(ev.AppendLog, ask(core, append(3, (50, 2), (command(51, 3),)))) == [ev.AppendLog([command(51, 3)])]


def test_a_snapshot_that_fits_the_log_keeps_what_follows_it() -> None:
    core = core_of(*[command(index, 2) for index in range(2, 9)], hard=HardState(3))
    effects = core.step(ev.SnapshotReceived("t", install(5)), 0.1)
    assert of(ev.ResetLog, effects) == []
    assert of(ev.CompactLog, effects) == [ev.CompactLog(5)]
    assert core.log.last_index == 8


@pytest.mark.parametrize("last", [5, 8])
def test_a_snapshot_that_contradicts_the_log_leaves_nothing_of_it(last: int) -> None:
    """What is there was an old leader's: as a leader, this server would hand it on as the truth."""
    core = core_of(*[command(index, 1) for index in range(2, last + 1)], hard=HardState(3))
    assert ask(core, install(5))[-1] == ev.ReceiveSnapshot("t", install(5))
    effects = plain(core.step(ev.SnapshotReceived("t", install(5)), 0.1))
    assert effects == [
        ev.RestoreSnapshot(5, 2),
        ev.ResetLog(6),
        ev.Answer("t", msg.InstallSnapshotReply(3, True)),
    ]
    assert (core.log.first_index, core.log.last_index, core.log.last_term) == (6, 5, 2)


def test_an_old_snapshot_is_answered_without_being_restored() -> None:
    core = core_of(command(2, 1))
    ask(core, append(1, (2, 1), commit=2))
    assert ask(core, install(2, term=1)) == [ev.Answer("t", msg.InstallSnapshotReply(1, True))]


def test_a_snapshot_that_came_in_a_term_that_is_over_is_not_used() -> None:
    core = core_of()
    ask(core, install(50))
    ask(core, append(4), 0.2)
    effects = plain(core.step(ev.SnapshotReceived("t", install(50)), 0.3))
    assert effects == [ev.Answer("t", msg.InstallSnapshotReply(4, False))]


def test_unknown_snapshot_versions_are_refused() -> None:
    effects = ask(core_of(), install(50)._replace(snapshot_version=2))
    assert effects[0].error == "unsupported snapshot version 2"  # type: ignore[union-attr]


def test_after_a_snapshot_trailing_entries_are_kept() -> None:
    core = core_of(*[command(index, 1) for index in range(2, 11)])
    ask(core, append(1, (10, 1), commit=10))
    core.take_committed()
    effects = core.step(ev.SnapshotTaken(SnapshotMeta("s", 10, 1, THREE, 1)), 0.2)
    assert effects == [
        ev.Log("info", "compacting logs", (("from", 1), ("to", 8))),
        ev.CompactLog(8),
    ]
