"""Shedding: whom to let go when what is kept for all connections together is too much."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def largest(candidates: Iterable[tuple[int, Item]], surplus: int) -> list[Item]:
    """Those that hold most, as few as make `surplus` bytes; all of them if that is not enough."""
    chosen: list[Item] = []
    for size, item in sorted(candidates, key=lambda candidate: candidate[0], reverse=True):
        if surplus <= 0:
            break
        chosen.append(item)
        surplus -= size
    return chosen
