"""Neighbours of a gateway that are asked and answer when a test says so."""

from __future__ import annotations

from typing import Any

from shared.ipc.calls import OnDone


class FakeLink:
    """A neighbour that is asked and has not answered yet. calls: method, payload, and who waits."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, OnDone]] = []

    def post(self, method: str, payload: Any, on_done: OnDone, **_options: Any) -> int:
        self.calls.append((method, payload, on_done))
        return len(self.calls)

    def flush(self) -> None:
        pass
