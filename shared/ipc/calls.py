"""Pending calls: who waits for which answer, and until when. No sockets and no clock in here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from shared.ipc.errors import ConnectionLostError, DeadlineError, IpcError

OnDone = Callable[[Any, IpcError | None], None]


class Call:
    """One call that has no answer yet. `frame` is kept while it may have to be sent (again)."""

    __slots__ = ("deadline", "frame", "method", "on_done", "retry_safe", "sent")

    def __init__(self, method: str, on_done: OnDone, deadline: float, retry_safe: bool, frame: bytes | None) -> None:
        self.method = method
        self.on_done = on_done
        self.deadline = deadline
        self.retry_safe = retry_safe
        self.frame = frame
        self.sent = False


class CallTable:
    """All pending calls of one link, by id. Times are seconds of whatever clock the caller uses.

    Every call leaves the table exactly once, and only then is its `on_done` called.
    """

    def __init__(self, neighbour: str) -> None:
        self._neighbour = neighbour
        self._calls: dict[int, Call] = {}
        self.earliest = math.inf
        """No call expires before this time (a lower bound, made exact by `expire`)."""

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call_id: int, call: Call) -> None:
        self._calls[call_id] = call
        if call.deadline < self.earliest:
            self.earliest = call.deadline

    def discard(self, call_id: int) -> Call | None:
        """Forgets a call without an answer (its caller has gone)."""
        return self._calls.pop(call_id, None)

    def finish(self, call_id: int, value: Any, error: IpcError | None) -> None:
        """The answer has come. Answers to forgotten calls are dropped."""
        call = self._calls.pop(call_id, None)
        if call is not None:
            call.on_done(value, error)

    def expire(self, now: float) -> list[int]:
        """Ends all calls whose deadline has passed with DeadlineError; returns their ids (to be cancelled)."""
        expired = [call_id for call_id, call in self._calls.items() if call.deadline <= now]
        for call_id in expired:
            call = self._calls.pop(call_id)
            late = DeadlineError(self._neighbour, call.method, sent=call.sent, harmless=call.retry_safe)
            call.on_done(None, late)
        self.earliest = min((call.deadline for call in self._calls.values()), default=math.inf)
        return expired

    def disconnected(self) -> None:
        """The neighbour is gone: what may have reached it and must not be sent twice fails now."""
        lost = [call_id for call_id, call in self._calls.items() if call.sent and not call.retry_safe]
        for call_id in lost:
            call = self._calls.pop(call_id)
            call.on_done(None, ConnectionLostError(self._neighbour, call.method))
        for call in self._calls.values():
            call.sent = False

    def unsent(self) -> list[Call]:
        """Calls to send on a fresh connection, oldest first."""
        return [call for call in self._calls.values() if not call.sent and call.frame is not None]

    def close(self, error: IpcError) -> None:
        """Ends every call with `error`: the link itself is going away."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.on_done(None, error)
