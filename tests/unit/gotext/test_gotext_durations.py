"""Durations as Go reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gotext.durations import (
    DurationError,
    format_duration_ns,
    format_duration_s,
    parse_duration_ns,
    parse_duration_s,
)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (245_000_000_000, "4m5s"),
        (245_001_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (480_000_000_001, "8m0.000000001s"),
        (3_600_000_000_000, "1h0m0s"),
        (-90_000_000_000, "-1m30s"),
        (2**63 - 1, "2562047h47m16.854775807s"),
    ],
)
def test_a_duration_prints_as_in_go_and_reads_back(ns: int, text: str) -> None:
    assert format_duration_ns(ns) == text
    assert parse_duration_ns(text) == ns


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_duration_reads_back(ns: int) -> None:
    assert parse_duration_ns(format_duration_ns(ns)) == ns


@pytest.mark.parametrize(
    "text",
    ["", "3", "-", "s", ".", "-.", ".s", "+.s", "1x", "9223372037s", "1 s", "1.2.3s", "1..5s", "9999999h", "1\u0661s"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DurationError, match=r"^time: "):
        parse_duration_ns(text)


def test_fractions_signs_and_both_micro_signs_are_read() -> None:
    assert parse_duration_ns("+1.5h") == 5_400_000_000_000
    assert parse_duration_ns("-.5s") == -500_000_000
    assert parse_duration_ns("1μs") == parse_duration_ns("1us") == parse_duration_ns("1µs") == 1000
    assert parse_duration_ns("0") == 0


def test_what_is_refused_is_quoted_without_escapes() -> None:
    with pytest.raises(DurationError) as caught:
        parse_duration_ns('1x"')
    assert str(caught.value) == 'time: unknown unit "x"" in duration "1x""'


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("300ms", 0.3),
        ("-1.5h", -5400.0),
        ("2h45m30.5s", 9930.5),
        ("1µs", 1e-6),
        (".5s", 0.5),
        ("87600h", 315360000.0),
    ],
)
def test_seconds_of_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.2, "200ms"), (1.5, "1.5s"), (90, "1m30s"), (315360000, "87600h0m0s"), (-5e-9, "-5ns"), (60, "1m0s")],
)
def test_seconds_are_printed_as_go_does(seconds: float, text: str) -> None:
    assert format_duration_s(seconds) == text
