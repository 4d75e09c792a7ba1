"""The checker itself: it accepts what one copy of a key did, and refuses what it cannot have done."""

from __future__ import annotations

import math
import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.linearizability.checker import UndecidedError, explain
from tests.linearizability.history import UNKNOWN, Call, Operation
from tests.linearizability.register import ABSENT, State, apply, step


def operation(kind: str, *arguments: str | None, gives: object, at: tuple[float, float], client: int = 0) -> Operation:
    return Operation(client, Call(kind, arguments), gives, *at)


def is_explained(*operations: Operation) -> bool:
    return explain(operations, ABSENT, step) is not None


def test_a_read_sees_the_last_write() -> None:
    write = operation("set", "a", gives=True, at=(0, 1))
    assert is_explained(write, operation("get", gives=State("a", ""), at=(2, 3)))
    assert not is_explained(write, operation("get", gives=ABSENT, at=(2, 3)))


def test_a_read_beside_a_write_sees_either() -> None:
    write = operation("set", "a", gives=True, at=(0, 2))
    for seen in (ABSENT, State("a", "")):
        assert is_explained(write, operation("get", gives=seen, at=(1, 3), client=1))


def test_what_one_reader_has_seen_no_later_one_may_miss() -> None:
    write = operation("set", "a", gives=True, at=(0, 9))
    new = operation("get", gives=State("a", ""), at=(1, 2), client=1)
    old = operation("get", gives=ABSENT, at=(3, 4), client=2)
    assert not is_explained(write, new, old)


def test_a_write_of_unknown_outcome_may_come_late_or_never() -> None:
    lost = operation("set", "a", gives=UNKNOWN, at=(0, math.inf))
    none = operation("get", gives=ABSENT, at=(1, 2), client=1)
    some = operation("get", gives=State("a", ""), at=(3, 4), client=1)
    assert is_explained(lost, none)
    assert is_explained(lost, none, some)
    assert not is_explained(lost, some, operation("get", gives=ABSENT, at=(5, 6), client=1))


def test_one_of_two_who_compare_and_set_wins() -> None:
    first = operation("cas", None, "a", gives=True, at=(0, 1))
    second = operation("cas", None, "b", gives=True, at=(0, 1), client=1)
    assert not is_explained(first, second)
    assert is_explained(first, operation("cas", None, "b", gives=False, at=(0, 1), client=1))


def test_a_lock_has_one_holder() -> None:
    held = operation("lock", "s1", "a", gives=True, at=(0, 1))
    assert not is_explained(held, operation("lock", "s2", "b", gives=True, at=(2, 3), client=1))
    released = operation("unlock", "s1", "c", gives=True, at=(2, 3))
    assert is_explained(held, released, operation("lock", "s2", "b", gives=True, at=(4, 5), client=1))


def test_a_search_without_an_end_is_given_up() -> None:
    many = [operation("set", str(number), gives=UNKNOWN, at=(0, math.inf)) for number in range(40)]
    with pytest.raises(UndecidedError):
        explain([*many, operation("get", gives=State("none of them", ""), at=(1, 2))], ABSENT, step, steps_max=1000)


CALLS = st.one_of(
    st.just(Call("get")),
    st.sampled_from("abc").map(lambda value: Call("set", (value,))),
    st.just(Call("delete")),
    st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from("abc")).map(lambda pair: Call("cas", pair)),
    st.tuples(st.sampled_from(["s1", "s2"]), st.sampled_from("abc")).map(lambda pair: Call("lock", pair)),
    st.tuples(st.sampled_from(["s1", "s2"]), st.sampled_from("abc")).map(lambda pair: Call("unlock", pair)),
)


@given(calls=st.lists(CALLS, max_size=30), seed=st.integers())
def test_what_one_copy_did_is_explained(calls: list[Call], seed: int) -> None:
    rng = random.Random(seed)
    state, operations = ABSENT, []
    for moment, call in enumerate(calls):
        gives, state = apply(state, call)
        end = moment + rng.uniform(0, 3)
        lost = rng.random() < 0.1
        operations.append(
            Operation(moment, call, UNKNOWN if lost else gives, moment - rng.uniform(0, 3), math.inf if lost else end)
        )
    rng.shuffle(operations)
    assert explain(operations, ABSENT, step) is not None


@given(
    calls=st.lists(st.tuples(CALLS, st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=5),
    outcome=st.data(),
)
def test_it_agrees_with_trying_every_order(calls: list[tuple[Call, int, int, bool]], outcome: st.DataObject) -> None:
    operations = []
    for number, (call, begin, length, lost) in enumerate(calls):
        states = st.sampled_from([ABSENT, State("a", ""), State("b", ""), State("a", "s1")])
        said = outcome.draw(states if call.kind == "get" else st.booleans())
        end = math.inf if lost else begin + length
        operations.append(Operation(number, call, UNKNOWN if lost else said, begin, end))

    def fits(order: tuple[Operation, ...]) -> bool:
        state: State | None = ABSENT
        for at, one in enumerate(order):
            if any(later.returned_s < one.invoked_s for later in order[at:]):
                return False
            state = step(state, one.call, one.outcome)
            if state is None:
                return False
        return True

    assert (explain(operations, ABSENT, step) is not None) == any(map(fits, permutations(operations)))
