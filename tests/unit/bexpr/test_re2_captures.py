"""Groups of RE2 patterns, beside Python's own matcher where both mean the same."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bexpr.re2_captures import PatternError, compile_groups

_atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "^", "$", r"\b", "(a)", "(b|a)", "(?:a|b)", "(a|ab)", "(b*)"])
_repeats = st.sampled_from(["", "*", "+", "?", "*?", "+?", "??", "{1,2}", "{0,1}?"])
_plain = st.builds(lambda atom, repeat: atom + ("" if atom in "^$\\b" else repeat), _atoms, _repeats)
_patterns = st.lists(_plain | st.builds("({})".format, _plain), max_size=5).map("".join)


@given(_patterns, st.text("ab", max_size=8))
def test_the_same_groups_as_a_backtracking_matcher(pattern: str, text: str) -> None:
    try:
        found = compile_groups(pattern)(text)
    except PatternError:
        return
    match = re.search(pattern, text)
    if match is None or re.search(r"\([^()]*[*?][^()]*\)", pattern):
        # Groups that may match nothing are counted otherwise inside of repetitions; whether there is a match is not.
        assert (found is None) == (match is None)
        return
    assert found == [match[0], *(group or "" for group in match.groups())]


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("^geo-db-(.*?)-([^-]+?)$", "geo-db-x-y-z", ["geo-db-x-y-z", "x-y", "z"]),
        ("(?i)(DB)", "geo-db", ["db", "db"]),
        ("(?P<first>a)(?P<second>b)?", "a", ["a", "a", ""]),
        ("(?U)(a+)(a*)", "aaa", ["a", "a", ""]),
        ("(a|ab)(c|bcd)(d*)", "abcd", ["abcd", "a", "bcd", ""]),
        ("((a)|b)*", "ab", ["ab", "b", "a"]),
        ("x*", "", [""]),
        ("(é+)", "caféé", ["éé", "éé"]),
        ("a$", "ab", None),
    ],
)
def test_groups(pattern: str, text: str, wanted: list[str] | None) -> None:
    assert compile_groups(pattern)(text) == wanted


@pytest.mark.parametrize("pattern", ["(", "a**", "[z-a]", "(?P<n", r"\8", "a{1001}"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(PatternError, match="error parsing regexp: "):
        compile_groups(pattern)


def test_no_pattern_takes_long() -> None:
    started = time.process_time()
    assert compile_groups("(a*)*(a*)*(a*)*b")("a" * 250) is None
    assert time.process_time() - started < 5


def test_a_large_pattern_on_a_long_text_is_refused() -> None:
    match = compile_groups("(a{999})(b{999})")
    assert match("a" * 500) is None
    with pytest.raises(PatternError, match="text too long"):
        match("a" * 100_000)
