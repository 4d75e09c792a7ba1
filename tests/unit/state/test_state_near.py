"""Sorting by distance: nearest first, unknown last, nothing else moved."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.state.keys import pair
from shared.state.near import round_trip_s, sort_by_distance
from shared.state.snapshot import Snapshot
from shared.state.store import StateStore
from shared.state.tables import pack_row
from shared.structs.coordinate import Coordinate, Vivaldi


def at(x: float, height: float = 0.0, adjustment: float = 0.0) -> Vivaldi:
    return Vivaldi(vec=[x] + [0.0] * 7, error=1.5, adjustment=adjustment, height=height)


@contextmanager
def catalog_with(coordinates: list[Coordinate]) -> Iterator[Snapshot]:
    with tempfile.TemporaryDirectory() as directory:
        store = StateStore.open(str(Path(directory, "state")))
        with store.write() as tx:
            for one in coordinates:
                tx.put(pair(one.node, one.segment), pack_row(one.to_row()), db=tx.tables.coordinates)
        with store.snapshot() as snap:
            yield snap
        store.close()


def order(coordinates: list[Coordinate], source: str, names: list[str]) -> list[str]:
    with catalog_with(coordinates) as snap:
        found = list(names)
        sort_by_distance(snap, source, found, lambda name: name)
    return found


def lan(node: str, coord: Vivaldi, segment: str = "") -> Coordinate:
    return Coordinate(node=node, segment=segment, coord=coord)


def test_the_nearest_comes_first_and_the_unknown_last_in_their_order() -> None:
    known = [lan("here", at(0)), lan("near", at(0.01)), lan("far", at(-0.5))]
    names = ["nobody", "far", "another", "near", "here", "near"]
    assert order(known, "here", names) == ["here", "near", "near", "far", "nobody", "another"]


def test_a_source_that_is_unknown_sorts_nothing() -> None:
    assert order([lan("near", at(0.01))], "nobody", ["far", "near"]) == ["far", "near"]


def test_a_client_of_one_segment_is_compared_in_that_segment() -> None:
    server = [lan("server", at(0)), lan("server", at(0.9), "alpha")]
    client = [lan("client", at(1.0), "alpha")]
    stranger = [lan("stranger", at(0.0), "beta")]
    everyone = server + client + stranger
    assert order(everyone, "client", ["stranger", "server", "client"]) == ["client", "server", "stranger"]
    assert order(everyone, "server", ["stranger", "client", "server"])[:2] == ["server", "client"]


distances = st.floats(-10, 10)


def thousandths(low: int, high: int) -> st.SearchStrategy[float]:
    """Numbers whose sums are exact: rounding must not decide whether a distance is above zero."""
    return st.integers(low * 1024, high * 1024).map(lambda number: number / 1024)


places = st.builds(at, thousandths(-10, 10), thousandths(0, 1), thousandths(-1, 1))


@given(one=places, other=places)
def test_the_way_back_is_as_long_and_no_way_is_negative(one: Vivaldi, other: Vivaldi) -> None:
    assert round_trip_s(one, other) == pytest.approx(round_trip_s(other, one))
    assert round_trip_s(one, other) >= 0


def test_an_adjustment_that_would_make_a_distance_negative_does_not_count() -> None:
    assert round_trip_s(at(0, height=0.1, adjustment=-1), at(0)) == pytest.approx(0.1)
    assert round_trip_s(at(0, height=0.1, adjustment=0.2), at(1)) == pytest.approx(1.3)


def test_coordinates_of_other_dimensions_are_infinitely_far() -> None:
    assert round_trip_s(Vivaldi(vec=[0.0]), at(0)) == math.inf


@given(xs=st.lists(distances, min_size=1, max_size=8, unique=True))
def test_any_nodes_come_out_in_the_order_of_their_distance(xs: list[float]) -> None:
    names = [f"n{number}" for number in range(len(xs))]
    coordinates = [lan(name, at(x)) for name, x in zip(names, xs, strict=True)]
    ordered = order(coordinates, "n0", names)
    far = [abs(xs[int(name[1:])] - xs[0]) for name in ordered]
    assert far == sorted(far)
    assert sorted(ordered) == sorted(names)
