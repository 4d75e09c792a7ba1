"""Times as Go writes them, and the words about UUIDs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.structs import gotime, uuids


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
