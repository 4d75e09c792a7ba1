"""Progress: what a watch has seen so far, and so what it asks next, when its handler is called, and how long it waits
after a failure."""

from __future__ import annotations

from shared.watch_plan.plan import Answer, Plan, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RETRY_S = 5.0
RETRY_S_MAX = 180.0


class Progress:
    """One run of a plan. In turns: `request`, then `take` with the answer, or `fail` if there was none."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._mark: int | str | None = None
        self._data: Any = None
        self._failures = 0

    def request(self) -> Request:
        """Raises WatchError: `fail` then, too."""
        return self.plan.request(self._mark)

    def take(self, answer: Answer) -> tuple[int, Any] | None:
        """(index, data) if the handler is to be called; None if nothing has changed. Raises WatchError: `fail` then.

        index: 0 for a watch that does not block on an index."""
        seen = self.plan.read(answer, self._mark)
        self._failures = 0
        if self._mark is not None and seen.mark == self._mark:
            return None
        before, self._mark = self._mark, seen.mark
        if before is not None and seen.data == self._data:
            return None
        self._data = seen.data
        return (seen.mark if isinstance(seen.mark, int) else 0), seen.data

    def fail(self) -> float:
        """Seconds to wait. What was seen is forgotten, but not the data: the next answer goes to the handler."""
        self._failures += 1
        self._mark = None
        return min(RETRY_S * self._failures**2, RETRY_S_MAX)
