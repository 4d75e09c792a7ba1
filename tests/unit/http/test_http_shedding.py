"""Who is let go when all connections together hold too much."""

from __future__ import annotations

import pytest

from services.http_gateway.lane.shedding import largest

HELD = [(5, "a"), (9, "b"), (1, "c"), (7, "d")]


@pytest.mark.parametrize(
    ("surplus", "expected"),
    [(-3, []), (0, []), (1, ["b"]), (9, ["b"]), (10, ["b", "d"]), (17, ["b", "d", "a"]), (99, ["b", "d", "a", "c"])],
)
def test_the_largest_go_first_and_no_more_than_needed(surplus: int, expected: list[str]) -> None:
    assert largest(HELD, surplus) == expected
