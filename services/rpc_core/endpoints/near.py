"""Sorting an answer by round trip time from the source node of a query (`?near=`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.state import near
from shared.state.snapshot import Snapshot
from shared.structs.query import QuerySource

T = TypeVar("T")


def sort_by_distance(
    snap: Snapshot, source: QuerySource, datacenter: str, items: list[T], node_of: Callable[[T], str]
) -> None:
    """Sort `items` in place, nearest first; those without a coordinate come last, in their order.

    Without a source node of our datacenter that has a coordinate nothing is sorted."""
    if source.node and source.datacenter == datacenter:
        near.sort_by_distance(snap, source.node, items, node_of)
