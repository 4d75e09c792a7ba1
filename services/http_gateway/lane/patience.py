"""Patience: a short busy wait for the next request of a client that asks one question after the other.

Such a client answers within some tens of microseconds. Falling asleep and being woken costs as much again, on top of a
turn of the event loop; waiting awake is what Go's scheduler does, too. Where it does not pay it is soon left alone."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

WAIT_S: Final = 50e-6
_IN_A_ROW_MAX: Final = 32
"""Turns that may follow each other without the event loop: others of this process have waited long enough then."""
_TRIES: Final = 8
_PAUSE_TURNS: Final = 256


class Patience:
    """Waits while that succeeds at least every other time; after some failures it pauses for many turns."""

    __slots__ = ("_credit", "_in_a_row")

    def __init__(self) -> None:
        self._credit = _TRIES
        self._in_a_row = 0

    def finds(self, poll: Callable[[int], list[Any]]) -> bool:
        """Whether `poll(0)` showed something within WAIT_S."""
        if self._credit <= 0:
            self._credit += 1
            if self._credit <= 0:
                return False
            self._credit = 1
        if self._in_a_row >= _IN_A_ROW_MAX:
            self._in_a_row = 0
            return False
        until = perf_counter() + WAIT_S
        while not poll(0):
            if perf_counter() > until:
                self._in_a_row = 0
                self._credit -= 1
                if self._credit == 0:
                    self._credit = -_PAUSE_TURNS
                return False
        self._in_a_row += 1
        self._credit = min(self._credit + 1, _TRIES)
        return True
