"""No filter from outside can hold up or crash the process that evaluates it."""

from __future__ import annotations

import random
import time
from types import SimpleNamespace as Value

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bexpr import STRING, FilterError, create_filter, list_of, map_of
from shared.bexpr.grammar import EXPRESSION_LENGTH_MAX
from shared.bexpr.re2 import PatternError, WorkError, compile_pattern

FIELDS = {"a": ("a", STRING), "tags": ("tags", list_of(STRING)), "meta": ("meta", map_of(STRING))}


def test_no_expression_means_no_filter() -> None:
    assert create_filter("", FIELDS) is None


def test_an_expression_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(FilterError, match="at most"):
        create_filter("a == " + "x" * EXPRESSION_LENGTH_MAX, FIELDS)


def test_deep_nesting_is_refused_and_long_chains_are_not() -> None:
    with pytest.raises(FilterError, match="nested more than 200 levels"):
        create_filter("(" * 500 + "a == b or a == c" + " or a == d)" * 500, FIELDS)
    chain = create_filter(" or ".join(f'a == "node-{i}"' for i in range(700)), FIELDS)
    assert chain is not None
    assert chain.matches(Value(a="node-699"))
    assert not chain.matches(Value(a="node-700"))


def test_a_pattern_that_would_backtrack_for_ever_is_answered_in_linear_time() -> None:
    search = compile_pattern("^(a+)+$")
    started = time.perf_counter()
    assert not search("a" * 2000 + "b")
    assert time.perf_counter() - started < 20


def test_a_pattern_with_too_many_states_is_refused() -> None:
    with pytest.raises(PatternError, match="expression too large"):
        compile_pattern("(abcdefghijkl){1000}")


def test_a_pattern_that_is_too_much_work_for_a_text_is_refused_in_the_middle() -> None:
    search = compile_pattern("a[ab]{900}c")
    rng = random.Random(7)
    text = "".join(rng.choice("ab") for _ in range(10_000))
    for _ in range(2):
        started = time.perf_counter()
        with pytest.raises(WorkError, match="needs too much work"):
            search(text)
        assert time.perf_counter() - started < 20
    assert not search("nothing of the kind")
    made = create_filter('a matches "a[ab]{900}c"', FIELDS)
    assert made is not None
    with pytest.raises(FilterError, match=r"Failed to evaluate regular expression .* needs too much work"):
        made.matches(Value(a=text))


@pytest.mark.parametrize("pattern", ["^web-[0-9]+$", "(a|b|ab)*c$", r"\bfailed\b", "(?i)error.*timeout", "x{100}y"])
def test_what_people_write_is_never_too_much_work(pattern: str) -> None:
    search = compile_pattern(pattern)
    for number in range(2000):
        search(f"web-{number} \u00e9{chr(0x4E00 + number)} abababab ERROR failed x{'x' * (number % 200)} timeout")


def test_sets_are_forgotten_before_they_are_too_many() -> None:
    search = compile_pattern("[a-z]*(a[b-y]){5}z")
    for number in range(3000):
        assert not search(f"{number} ab{chr(0x3400 + number)}")
    assert search("ab" * 5 + "z")
    assert not search("ab" * 5)


def test_nil_lists_and_maps_count_as_empty() -> None:
    value = Value(a="", tags=None, meta=None)
    for text, expected in [
        ("tags is empty", True),
        ("x in tags", False),
        ("x not in tags", True),
        ("meta is not empty", False),
        ("meta.x == 1", False),
        ("meta.x != 1", True),
    ]:
        made = create_filter(text, FIELDS)
        assert made is not None
        assert made.matches(value) is expected, text


WORDS = st.sampled_from(
    [*'.()"`[]1-0\\\n é*', "a", "tags", "meta", "==", "!=", "in", "not", "and", "or", "is empty", "contains", "matches"]
)


@given(st.lists(WORDS, max_size=14).map("".join))
def test_any_text_gives_a_filter_or_a_filter_error(text: str) -> None:
    try:
        made = create_filter(text, FIELDS)
    except FilterError:
        return
    assert made is None or made.matches(Value(a="x", tags=["a"], meta={"a": "b"})) in (True, False)


@given(st.lists(st.sampled_from([*"ab.^$|?*+()[]{}\\-:,0123dwsDWSbBpPLuQE<>i=!", "(?", "[[:", ":]]"]), max_size=12))
def test_any_pattern_compiles_or_is_refused(parts: list[str]) -> None:
    try:
        search = compile_pattern("".join(parts))
    except PatternError:
        return
    assert search("ab 01") in (True, False)
