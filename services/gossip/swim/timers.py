"""Timers of a core: what is to be called when. The core's owner asks for `deadline` and calls `run_due`."""

import heapq
import math
from collections.abc import Callable

Action = Callable[[float], None]


def void(value: object) -> None:
    """For lambdas whose value does not matter."""


class Timer:
    """A pending call; cancel() is safe at any time."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Action) -> None:
        self.at = at
        self.action: Action | None = action

    @property
    def active(self) -> bool:
        return self.action is not None

    def cancel(self) -> None:
        self.action = None


class Timers:
    """Actions in the order of their times, equal times in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0

    def at(self, when: float, action: Action) -> Timer:
        """Call action(now) once `when` has come."""
        timer = Timer(when, action)
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, timer))
        return timer

    @property
    def deadline(self) -> float:
        """When run_due has something to do; infinity if nothing is pending."""
        while self._heap and not self._heap[0][2].active:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def run_due(self, now: float) -> None:
        while self.deadline <= now:
            timer = heapq.heappop(self._heap)[2]
            action, timer.action = timer.action, None
            if action is not None:
                action(now)


class Phase:
    """A grid of times: periodic work is done on grid points only, and skipped while there is none.

    The random offset keeps nodes that started together apart, as memberlist's staggered tickers do."""

    def __init__(self, interval_s: float, offset_s: float) -> None:
        self.interval_s = interval_s
        self._offset_s = offset_s

    def next_after(self, now: float) -> float:
        passed = math.floor((now - self._offset_s) / self.interval_s)
        following = self._offset_s + (passed + 1) * self.interval_s
        # Rounding can make the grid point at which we stand look like the next one.
        return following if following - now > self.interval_s / 1000 else following + self.interval_s
