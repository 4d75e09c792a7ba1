"""Sorting an answer by round trip time from a node (`?near=`), by network coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from shared.state.queries import coordinate
from shared.state.snapshot import Snapshot
from shared.structs.coordinate import Vivaldi

T = TypeVar("T")


def sort_by_distance(snap: Snapshot, source_node: str, items: list[T], node_of: Callable[[T], str]) -> None:
    """Sort `items` in place, nearest to `source_node` first; those without a coordinate last, in their order.

    Without a coordinate of the source nothing is sorted."""
    origin = _coordinates(snap, source_node)
    if not origin:
        return
    distances: dict[str, float] = {}
    for item in items:
        name = node_of(item)
        if name not in distances:
            distances[name] = _between(origin, _coordinates(snap, name))
    items.sort(key=lambda item: distances[node_of(item)])


def _coordinates(snap: Snapshot, node: str) -> Mapping[str, Vivaldi]:
    """Coordinates of a node by network segment."""
    found = coordinate.node(snap, node).value
    return {one.segment: one.coord for one in found if one.coord is not None}


def _between(one: Mapping[str, Vivaldi], other: Mapping[str, Vivaldi]) -> float:
    """Seconds between two nodes in a segment both are in; infinity if there is none.

    A node in one segment only may be a client: its segment counts."""
    segment = ""
    for candidates in (one, other):
        if len(candidates) == 1:
            segment = next(iter(candidates))
    first, second = one.get(segment), other.get(segment)
    if first is None or second is None:
        return math.inf
    return round_trip_s(first, second)


def round_trip_s(one: Vivaldi, other: Vivaldi) -> float:
    """Estimated round trip time in seconds; infinity for coordinates of different dimensions."""
    first, second = one.vec or [], other.vec or []
    if len(first) != len(second):
        return math.inf
    raw = math.dist(first, second) + one.height + other.height
    adjusted = raw + one.adjustment + other.adjustment
    return adjusted if adjusted > 0 else raw
