"""Searches for an order of operations that explains a history.

Source: Wing and Gong, "Testing and verifying concurrent objects" (1993), with the memory of visited states of Lowe,
"Testing for linearizability" (2017): depth first, always taking an operation that began before any other ended; a pair
of (operations taken, state) is never tried twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tests.linearizability.history import Call, Operation

S = TypeVar("S")
STEPS_MAX = 2_000_000


class UndecidedError(Exception):
    """The search was given up: too many operations at once."""


class _Event:
    """The begin or the end of an operation, in a list linked both ways, from which operations are taken out."""

    __slots__ = ("after", "before", "end", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.end: _Event | None = None
        self.before: _Event = self
        self.after: _Event | None = None

    def link_behind(self, before: _Event) -> None:
        before.after, self.before = self, before

    def take_out(self) -> None:
        """Of the begin of an operation: it and its end leave the list."""
        assert self.end is not None
        for event in (self, self.end):
            event.before.after = event.after
            if event.after is not None:
                event.after.before = event.before

    def put_back(self) -> None:
        """Undoes the last `take_out` that was not undone."""
        assert self.end is not None
        for event in (self.end, self):
            event.before.after = event
            if event.after is not None:
                event.after.before = event


def explain(
    operations: Sequence[Operation], initial: S, step: Callable[[S, Call, Any], S | None], steps_max: int = STEPS_MAX
) -> list[Operation] | None:
    """The operations in an order that explains their outcomes, None if there is none. Raises UndecidedError.

    Two operations of which one ended when the other began count as overlapping."""
    head = _linked(operations)
    taken: list[tuple[_Event, S]] = []
    done, state = 0, initial
    visited = {(0, initial)}
    event = head.after
    for _ in range(steps_max):
        if event is None:
            return [operations[begin.number] for begin, _ in taken]
        if event.end is not None:
            operation = operations[event.number]
            after = step(state, operation.call, operation.outcome)
            tried = (done | 1 << event.number, after)
            if after is not None and tried not in visited:
                visited.add(tried)  # type: ignore[arg-type]  # after is no None here
                taken.append((event, state))
                event.take_out()
                done, state = tried[0], after
                event = head.after
            else:
                event = event.after
        elif taken:  # an operation has ended that none of the orders so far explains
            begin, state = taken.pop()
            begin.put_back()
            done &= ~(1 << begin.number)
            event = begin.after
        else:
            return None
    raise UndecidedError(f"no order of {len(operations)} operations found in {steps_max} steps")


def _linked(operations: Sequence[Operation]) -> _Event:
    """Begins and ends in the order of their times, begins first where they are equal, behind a head of the list."""
    times: list[tuple[float, int, int, _Event]] = []
    for number, operation in enumerate(operations):
        begin, end = _Event(number), _Event(number)
        begin.end = end
        times.append((operation.invoked_s, 0, number, begin))
        times.append((operation.returned_s, 1, number, end))
    head = last = _Event(-1)
    for *_, event in sorted(times, key=lambda each: each[:3]):
        event.link_behind(last)
        last = event
    return head
