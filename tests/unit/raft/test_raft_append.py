"""What a follower does with AppendEntries: exact effects, in the order in which they must happen."""

from __future__ import annotations

import pytest

from services.raft_node.core import codec
from services.raft_node.core import events as ev
from services.raft_node.core import messages as msg
from services.raft_node.core.types import (
    CONFIGURATION,
    Configuration,
    Entry,
    HardState,
    SnapshotMeta,
)
from tests.unit.raft.core_under_test import THREE, A, B, append, ask, command, core_of, lines, of


def test_an_older_term_is_refused_with_the_newer_one() -> None:
    core = core_of(hard=HardState(5))
    assert ask(core, append(4)) == [ev.Answer("t", msg.AppendEntriesReply(5, 1, False))]


def test_a_newer_term_is_persisted_before_the_answer() -> None:
    core = core_of(hard=HardState(5, 5, "x:1"))
    effects = ask(core, append(6))
    assert effects == [
        ev.SaveHardState(HardState(6, 5, "x:1")),
        ev.Answer("t", msg.AppendEntriesReply(6, 1, True)),
    ]
    assert core.state.leader_address == B.address


def test_new_entries_are_stored_before_the_answer_which_names_the_last_entry_before() -> None:
    core = core_of()
    new = (command(2, 1), command(3, 1))
    assert ask(core, append(1, (1, 1), new)) == [
        ev.AppendLog(list(new)),
        ev.Answer("t", msg.AppendEntriesReply(1, 1, True)),
    ]


def test_a_gap_is_refused_without_backoff() -> None:
    core = core_of()
    assert ask(core, append(1, (4, 1), (command(5, 1),))) == [
        ev.Answer("t", msg.AppendEntriesReply(1, 1, False, no_retry_backoff=True))
    ]


def test_a_different_previous_term_is_refused_without_backoff() -> None:
    core = core_of(command(2, 1))
    assert ask(core, append(3, (2, 2)))[-1] == ev.Answer(
        "t", msg.AppendEntriesReply(3, 2, False, no_retry_backoff=True)
    )


def test_a_conflicting_suffix_is_replaced_and_the_rest_is_skipped() -> None:
    core = core_of(command(2, 1), command(3, 1), command(4, 1))
    new = (command(2, 1), command(3, 2, b"new"))
    effects = core.step(ev.RpcRequest("t", append(2, (1, 1), new)), 0.1)
    assert of(ev.AppendLog, effects) == [ev.AppendLog([command(3, 2, b"new")])]
    assert "clearing log suffix" in lines(effects)
    assert (core.log.last_index, core.log.last_term) == (3, 2)


def test_an_older_request_that_arrives_late_takes_nothing_away() -> None:
    core = core_of(command(2, 1), command(3, 1))
    assert of(ev.AppendLog, ask(core, append(1, (1, 1), (command(2, 1),)))) == []
    assert core.log.last_index == 3


def test_only_what_was_verified_is_committed() -> None:
    """Entries behind those of the request may be an old leader's, whatever the leader has committed."""
    core = core_of(command(2, 1), command(3, 1), command(4, 1))
    assert ask(core, append(2, (1, 1), (command(2, 1),), commit=4))[-2:] == [
        ev.Commit(2),
        ev.Answer("t", msg.AppendEntriesReply(2, 4, True)),
    ]
    assert [entry.index for entry in core.take_committed()] == [1, 2]


@pytest.mark.parametrize("entries", [(), (command(2, 1),)])
def test_a_tail_of_an_old_leader_is_not_committed_by_what_comes_before_it(entries: tuple[Entry, ...]) -> None:
    """A leader of term 3 has committed up to 4. That entries 3 and 4 of this server are others shows only when it is
    sent those; until then nothing says that they are the same."""
    core = core_of(command(2, 1), command(3, 2, b"old"), command(4, 2, b"old"))
    ask(core, append(3, (1, 1), entries, commit=4))
    assert core.commit_index == 1 + len(entries)
    effects = ask(core, append(3, (2, 1), (command(3, 3, b"new"), command(4, 3, b"new")), commit=4))
    assert of(ev.AppendLog, effects) == [ev.AppendLog([command(3, 3, b"new"), command(4, 3, b"new")])]
    assert of(ev.Commit, effects) == [ev.Commit(4)]


def test_entries_that_do_not_follow_each_other_are_refused() -> None:
    core = core_of()
    for broken in ((command(3, 1),), (command(2, 1), command(4, 1)), (command(2, 9),)):
        assert ask(core, append(1, (1, 1), broken)) == [ev.Answer("t", msg.AppendEntriesReply(1, 1, False))]


def test_a_configuration_that_does_not_decode_is_refused() -> None:
    core = core_of()
    for data in (b"junk", codec.encode_configuration(Configuration())):
        effects = ask(core, append(1, (1, 1), (Entry(2, 1, CONFIGURATION, data),)))
        assert effects == [ev.Answer("t", msg.AppendEntriesReply(1, 1, False))]


def test_a_configuration_rules_when_it_is_stored_and_falls_back_when_it_is_cut() -> None:
    core = core_of(command(2, 1))
    two = Configuration((A, B))
    ask(core, append(1, (2, 1), (Entry(3, 1, CONFIGURATION, codec.encode_configuration(two)),)))
    assert core.state.configurations.latest == two
    ask(core, append(2, (2, 1), (command(3, 2),)))
    assert core.state.configurations.latest == THREE


def test_a_prefix_that_a_snapshot_covers_is_skipped() -> None:
    core = core_of(command(6, 2), snapshot=SnapshotMeta("s", 5, 2, THREE, 1))
    new = (command(4, 1), command(5, 2), command(6, 2), command(7, 2))
    assert of(ev.AppendLog, ask(core, append(2, (3, 1), new))) == [ev.AppendLog([command(7, 2)])]


def test_what_is_not_on_the_disk_is_not_applied() -> None:
    """However sure it is that it is committed: the disk may still refuse it, and then the log would lack it."""
    core = core_of()
    ask(core, append(1, (1, 1), (command(2, 1), command(3, 1)), commit=3))
    assert [entry.index for entry in core.take_committed()] == [1]
    core.step(ev.Durable(2, 1), 0.1)
    assert [entry.index for entry in core.take_committed()] == [2]
