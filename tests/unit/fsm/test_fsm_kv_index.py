"""The index that a read of one key carries: clients wait on it."""

from __future__ import annotations

from shared.state.queries import kv
from tests.unit.fsm.fsm_driver import Driver


def test_a_missing_key_in_an_empty_store_has_index_one(fsm: Driver) -> None:
    answer = fsm.ask(lambda snap: kv.get(snap, "none"))
    assert (answer.index, answer.value) == (1, None)


def test_a_missing_key_has_the_index_of_the_table(fsm: Driver) -> None:
    fsm.kv("set", "other", b"1")
    assert fsm.ask(lambda snap: kv.get(snap, "none")).index == fsm.index
    fsm.kv("delete", "other")
    assert fsm.ask(lambda snap: kv.get(snap, "none")).index == fsm.index


def test_a_key_has_its_own_modify_index_whatever_happens_elsewhere(fsm: Driver) -> None:
    fsm.kv("set", "mine", b"1")
    written = fsm.index
    fsm.kv("set", "other", b"1")
    answer = fsm.ask(lambda snap: kv.get(snap, "mine"))
    assert answer.value is not None
    assert (answer.index, answer.value.modify_index) == (written, written)
