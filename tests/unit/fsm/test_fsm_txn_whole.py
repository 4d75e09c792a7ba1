"""Transactions under any operations: all or nothing, and reads in the log say what reads of a snapshot say."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.state.queries.txn import read
from shared.structs.txn import TxnOp
from tests.unit.fsm.fsm_commands import KV_READS, Command, commands, operations
from tests.unit.fsm.fsm_driver import Driver, driver
from tests.unit.fsm.test_fsm_rebuild import rows


def state(fsm: Driver) -> Any:
    """Every row but the note how far the log was applied."""
    return rows(fsm, ("meta",))


@given(script=st.lists(commands, max_size=8), wanted=st.lists(operations, min_size=1, max_size=6))
def test_a_transaction_is_whole_or_leaves_every_row(script: list[Command], wanted: list[list[TxnOp]]) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        fsm.register("n1")
        for command in script:
            command(fsm)
        for made in wanted:
            before = state(fsm)
            response = fsm.txn(*made)
            if response["Errors"] is None:
                assert response["Results"] is not None
                continue
            assert response["Results"] is None
            places = [error["OpIndex"] for error in response["Errors"]]
            assert places == sorted(set(places))
            assert set(places) <= set(range(len(made)))
            assert state(fsm) == before
            assert fsm.topics == []


def only_reads(made: list[TxnOp]) -> list[TxnOp]:
    """The operations a read transaction takes."""
    return [
        one
        for one in made
        if (one.kv is not None and one.kv.verb in KV_READS)
        or any(each is not None and each.verb == "get" for each in (one.node, one.service, one.check))
    ]


@given(script=st.lists(commands, max_size=10), made=st.lists(operations, min_size=1, max_size=5))
def test_reads_in_the_log_say_what_reads_of_a_snapshot_say(script: list[Command], made: list[list[TxnOp]]) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        fsm.register("n1")
        for command in script:
            command(fsm)
        before = state(fsm)
        for each in made:
            reads = only_reads(each)
            with fsm.store.snapshot() as snap:
                expected = read(snap, reads).to_wire()
            answer = fsm.txn(*reads)
            assert {name: answer[name] for name in ("Results", "Errors")} == {
                name: expected[name] for name in ("Results", "Errors")
            }
        assert state(fsm) == before
