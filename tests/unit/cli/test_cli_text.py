"""Columns and tab stops, with outputs of the Go libraries that Consul uses."""

from __future__ import annotations

import pytest

from cli.base.text import columnize, tabulate
from cli.base.usage import usage, wrap
from cli.kv.get import Flags


def test_columns_are_two_spaces_apart_and_the_last_is_not_padded() -> None:
    rows = [["Node", "Address", "Tags"], ["n1", " 10.0.0.1:8301 ", ""], ["server-2", "x", "a=b"]]
    assert columnize(rows) == ("Node      Address        Tags\nn1        10.0.0.1:8301  \nserver-2  x              a=b")


def test_column_widths_count_bytes_but_padding_counts_characters() -> None:
    assert columnize([["é", "1"], ["a", "2"]]) == "é   1\na   2"


def test_rows_may_have_different_lengths() -> None:
    assert columnize([["a", "b"], ["long"], []]) == "a     b\nlong\n"


@pytest.mark.parametrize(
    ("text", "aligned"),
    [
        # Recorded from `consul kv get -detailed` with values that contain tabs and line ends.
        (b"Session\t-\nValue\thello", b"Session      -\nValue        hello"),
        (b"Session\t-\nValue\t", b"Session      -\nValue"),
        (
            b"Session\t-\nValue\ta\tb\nccc\td\te\n\nx",
            b"Session      -\nValue        a      b\nccc          d      e\n\nx",
        ),
        (
            "Session\t-\nValue\taé\tb\nccc\td\te\n\tx\ty\nz\x0bzz\x0cyy\t\t1\n".encode(),
            "Session      -\nValue        aé      b\nccc          d       e\n             x       y\n"
            "z            zz\nyy            1\n".encode(),
        ),
        (b"Session\t-\nValue\ta\t\n\v\f\rz", b"Session      -\nValue        a      \n             \n\rz"),
    ],
)
def test_tab_stops_are_elastic(text: bytes, aligned: bytes) -> None:
    assert tabulate(text) == aligned


def test_wrapping_balances_the_lines_instead_of_filling_them() -> None:
    assert wrap("aaa bb cc ddddd", 6) == ["aaa", "bb cc", "ddddd"]  # filling gives "aaa bb", "cc", "ddddd"
    assert wrap("", 10) == []
    assert wrap("a-word-that-is-too-long b", 5) == ["a-word-that-is-too-long", "b"]


def test_help_lists_common_flags_before_those_of_the_command() -> None:
    lines = usage("\nUsage: proconsul kv get\n\n  Text.\n", Flags()).split("\n")
    assert lines[:5] == ["Usage: proconsul kv get", "", "  Text.", "", "HTTP API Options"]
    titles = [line for line in lines if line.startswith(("HTTP", "Command", "  -"))]
    own = titles[titles.index("Command Options") :]
    assert own == [
        "Command Options",
        "  -base64",
        "  -detailed",
        "  -keys",
        "  -namespace=<default>",
        "  -recurse",
        "  -separator=<string>",
    ]
    assert max(map(len, lines)) <= 72
