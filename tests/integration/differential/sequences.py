"""Sequences of operations that two agents are taken through: after every step all that can be seen must be equal."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from hypothesis import HealthCheck, settings

Operation = tuple[Any, ...]
_numbers = itertools.count()


class Performer(Protocol):
    """One agent. `prefix` sets apart what belongs to a sequence."""

    def begin(self, prefix: str) -> None: ...

    def perform(self, operation: Operation) -> tuple[int, str]:
        """Status and text of the answer."""

    def look(self) -> list[tuple[int, str]]:
        """All that can be seen of the sequence."""

    def clear(self) -> None:
        """Leave nothing to the next sequence."""


def examples(count: int) -> settings:
    """So many sequences. The agents live on from one to the next."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=count, suppress_health_check=slow)


def assert_same_course(sides: tuple[Performer, Performer], operations: list[Operation]) -> None:
    """The real one first."""
    prefix = f"s{next(_numbers)}/"
    real, ours = sides
    for side in sides:
        side.begin(prefix)
    try:
        _assert_same_sight(sides, "before the first step")
        for number, operation in enumerate(operations):
            where = f"step {number}: {operation}"
            expected, found = real.perform(operation), ours.perform(operation)
            assert found == expected, where
            _assert_same_sight(sides, where)
    finally:
        for side in sides:
            side.clear()


def _assert_same_sight(sides: tuple[Performer, Performer], where: str) -> None:
    real, ours = sides
    pairs = zip(real.look(), ours.look(), strict=True)
    different = [f"{theirs}\n    != {own}" for theirs, own in pairs if own != theirs]
    assert not different, "\n".join((where, *different))
