"""The state machine against odd commands: what an endpoint can put into the log, every server can apply.

A command that cannot be applied would end the server now and at every start to come. And snapshots: whatever state
comes about survives its own snapshot; a damaged stream is a SnapshotError and leaves the state as it was."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.raft_node.fsm.errors import CommandError, SnapshotError
from services.raft_node.fsm.machine import Entry, Fsm
from shared.state.store import StateStore
from shared.structs import wire
from shared.structs.errors import WireTypeError
from tests.unit.fuzz.fuzzing import damaged, fuzz
from tests.unit.fuzz.odd_calls import WRITES, odd_call

MESSAGE_TYPES = {
    "KVS.Apply": 2,
    "Catalog.Register": 0,
    "Catalog.Deregister": 1,
    "Session.Apply": 3,
    "Txn.Apply": 8,
    "Coordinate.Update": 6,
    "Operator.AutopilotSetConfiguration": 9,
}


@contextmanager
def empty_fsm() -> Iterator[Fsm]:
    with tempfile.TemporaryDirectory() as directory:
        store = StateStore.open(str(Path(directory, "state")))
        try:
            yield Fsm(store)
        finally:
            store.close()


def odd_commands(seed: int, count: int) -> Iterator[bytes]:
    """Commands as endpoints encode them: everything that Consul's structs can hold, checked by nobody."""
    rng = random.Random(seed)
    for _ in range(count):
        method, body = odd_call(rng)
        if method not in MESSAGE_TYPES:
            continue
        try:
            request = WRITES[method].from_wire(body)
        except WireTypeError:
            continue
        kind, payload = MESSAGE_TYPES[method], request.to_wire()
        yield bytes((kind,)) + wire.pack([payload] if kind == 6 else payload)


def stream_of(fsm: Fsm) -> bytes:
    return b"".join(fsm.write_snapshot())


@given(seed=st.integers(0, 2**32))
@fuzz(25)
def test_every_command_that_can_be_encoded_can_be_applied_and_its_state_snapshotted(seed: int) -> None:
    results: list[Any] = []
    with empty_fsm() as fsm, empty_fsm() as copy:
        for index, command in enumerate(odd_commands(seed, 120), 10):
            results += fsm.apply_batch([Entry(index, 1, command)], 1_000_000_000).results
        stream = stream_of(fsm)
        copy.restore([stream], fsm.applied_index, 1)
        assert copy.applied_index == fsm.applied_index
        assert stream_of(copy) == stream
    assert any(not isinstance(result, CommandError) for result in results)


def sample_stream() -> bytes:
    with empty_fsm() as fsm:
        index = 10
        for command in odd_commands(7, 60):
            fsm.apply_batch([Entry(index, 1, command)], 1_000_000_000)
            index += 1
        return stream_of(fsm)


STREAM = sample_stream()


@given(data=damaged([STREAM, STREAM[: len(STREAM) // 2], b"\x81\xa9LastIndex\x01"]) | st.binary(max_size=40))
@fuzz(60)
def test_a_damaged_snapshot_is_a_state_or_an_error_that_changes_nothing(data: bytes) -> None:
    with empty_fsm() as fsm:
        fsm.apply_batch([Entry(5, 1, bytes((2,)) + wire.pack({"Op": "set", "DirEnt": {"Key": "k"}}))], 1)
        before = stream_of(fsm)
        try:
            fsm.restore([data[:7], data[7:]], 9, 1)
        except SnapshotError:
            assert stream_of(fsm) == before
            assert fsm.applied_index == 5
        else:
            stream_of(fsm)
            assert fsm.applied_index == 9


@pytest.mark.parametrize(
    ("session_id", "text"),
    [
        ("", "object missing primary index"),
        ("short", "failed to build primary index: UUID must be 36 characters"),
        ("deadbeef-0000-0000-0000-000000000001", "not found"),
    ],
)
def test_a_transaction_cannot_delete_a_session_that_cannot_be(session_id: str, text: str) -> None:
    """The texts are the real agent's."""
    operation = {"Session": {"Verb": "delete", "Session": {"ID": session_id}}}
    with empty_fsm() as fsm:
        (result,) = fsm.apply_batch([Entry(5, 1, b"\x08" + wire.pack({"Ops": [operation]}))], 1).results
    assert result["Errors"] == [{"OpIndex": 0, "What": f"failed to delete session: failed deleting session: {text}"}]
