"""A state does not depend on how it came about: command by command, in batches, or from a snapshot in between.

Servers of one cluster apply the same log in batches of their own, some of them from a snapshot on. Would they differ
in one row, they would differ in their answers, or in what they do with the next command."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.raft_node.fsm.errors import CommandError
from shared.state.tables import NAMES
from tests.unit.fsm.fsm_commands import QUERIES, Command, Recorder, all_commands
from tests.unit.fsm.fsm_driver import Driver, driver

Rows = dict[str, dict[bytes, bytes]]

LOCAL = ("versions", "lock_delays")
"""Tables that belong to one server: a restore moves all versions, and lock delays run on its own clock."""


@contextmanager
def two_drivers() -> Iterator[tuple[Driver, Driver]]:
    with (
        tempfile.TemporaryDirectory() as directory,
        driver(Path(directory, "one")) as one,
        driver(Path(directory, "other")) as other,
    ):
        yield one, other


def rows(fsm: Driver, without: tuple[str, ...] = ()) -> Rows:
    """Everything in the store, byte for byte."""
    with fsm.store.snapshot() as snap:
        return {
            name: {bytes(key): bytes(row) for key, row in snap.scan(getattr(snap.tables, name))}
            for name in NAMES
            if name not in without
        }


def shown(result: Any) -> Any:
    return ("refused", str(result)) if isinstance(result, CommandError) else result


def answers(fsm: Driver) -> list[tuple[int, Any]]:
    with fsm.store.snapshot() as snap:
        return [(answer.index, answer.value) for answer in (query(snap) for query in QUERIES)]


@given(script=st.lists(all_commands, min_size=1, max_size=20), cuts=st.sets(st.integers(1, 20)))
def test_batches_lead_where_single_commands_lead(script: list[Command], cuts: set[int]) -> None:
    recorder = Recorder(start=10)
    for command in script:
        command(recorder)
    entries = recorder.entries
    bounds = sorted({0, len(entries), *(cut for cut in cuts if cut < len(entries))})
    with two_drivers() as (one, other):
        alone = [result for entry in entries for result in one.fsm.apply_batch([entry], 5).results]
        together = [
            result
            for start, end in itertools.pairwise(bounds)
            for result in other.fsm.apply_batch(entries[start:end], 5).results
        ]
        assert list(map(shown, together)) == list(map(shown, alone))
        assert rows(other) == rows(one)


@given(script=st.lists(all_commands, max_size=20), more=st.lists(all_commands, max_size=8))
def test_a_copy_from_a_snapshot_goes_on_like_the_original(script: list[Command], more: list[Command]) -> None:
    with two_drivers() as (original, copy):
        original.register("n1")
        for command in script:
            command(original)
        copy.fsm.restore([original.dump()], original.index, 1)
        copy.index = original.index
        compare(copy, original)
        if rows(copy)["services"] != rows(original)["services"]:
            return  # a spelling was lost: Consul takes a registration under it for a change then, and so do we
        for command in more:
            assert shown(command(copy)) == shown(command(original))
            compare(copy, original)


def compare(copy: Driver, original: Driver) -> None:
    """Same answers with the same indexes, and the same rows, those of the lookup tables included.

    Two things a snapshot does not have, Consul's as ours: how a node was spelled when its service was registered, and
    the links to checks that a session leaves behind when a transaction deletes it. They lead nowhere."""
    assert respelled(repr(answers(copy))) == respelled(repr(answers(original)))
    copied, kept = rows(copy, LOCAL), rows(original, LOCAL)
    assert copied.pop("session_checks").items() <= kept.pop("session_checks").items()
    assert {name: respelled(repr(table)) for name, table in copied.items()} == {
        name: respelled(repr(table)) for name, table in kept.items()
    }


def respelled(text: str) -> str:
    return text.replace("N1", "n1")
