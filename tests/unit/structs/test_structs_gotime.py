"""Durations and times as Go writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.structs import gotime, uuids
from shared.structs.errors import JsonError


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
    assert gotime.format_duration(ns) == text
    assert gotime.parse_duration(text) == ns


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_every_duration_reads_back(ns: int) -> None:
    assert gotime.parse_duration(gotime.format_duration(ns)) == ns


@pytest.mark.parametrize("text", ["", "3", "-", "s", ".", "-.", ".s", "+.s", "1x", "9223372037s", "1 s", "1.2.3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(JsonError, match=r"^time: "):
        gotime.parse_duration(text)


def test_fractions_signs_and_both_micro_signs_are_read() -> None:
    assert gotime.parse_duration("+1.5h") == 5_400_000_000_000
    assert gotime.parse_duration("-.5s") == -500_000_000
    assert gotime.parse_duration("1μs") == gotime.parse_duration("1us") == gotime.parse_duration("1µs") == 1000
    assert gotime.parse_duration("0") == 0


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (gotime.ZERO_TIME.hex(), "0001-01-01T00:00:00Z"),
        ("010000000ed7431c4f0000000affff", "2020-11-15T12:55:43.00000001Z"),
    ],
)
def test_a_time_prints_as_rfc_3339(raw: str, text: str) -> None:
    assert gotime.time_to_text(bytes.fromhex(raw)) == text
    assert gotime.time_from_text(text) == bytes.fromhex(raw)


@given(st.integers(-(10**18), 4 * 10**18))
def test_times_keep_their_nanoseconds(unix_ns: int) -> None:
    raw = gotime.time_from_unix_ns(unix_ns)
    assert gotime.time_to_unix_ns(raw) == unix_ns
    assert gotime.time_from_text(gotime.time_to_text(raw)) == raw


def test_zones_are_kept() -> None:
    raw = gotime.time_from_text("2020-01-02T03:04:05.5+02:30")
    assert gotime.time_to_text(raw) == "2020-01-02T03:04:05.5+02:30"
    assert gotime.time_to_unix_ns(raw) == gotime.time_to_unix_ns(gotime.time_from_text("2020-01-02T00:34:05.5Z"))


@pytest.mark.parametrize(
    ("text", "node_problem", "index_problem"),
    [
        ("11111111-2222-3333-4444-555555555555", None, None),
        ("x", "uuid string is wrong length", "UUID must be 36 characters"),
        ("1111111111-22-3333-4444-555555555555", "uuid is improperly formatted", None),
        (
            "1111111g-2222-3333-4444-555555555555",
            "encoding/hex: invalid byte: U+0067 'g'",
            "Invalid UUID: encoding/hex: invalid byte: U+0067 'g'",
        ),
    ],
)
def test_uuid_problems_are_named_as_consul_does(text: str, node_problem: str | None, index_problem: str | None) -> None:
    assert uuids.uuid_problem(text) == node_problem
    assert uuids.uuid_index_problem(text) == index_problem
