"""Together: results that leave in one frame, because one event brought them all."""

from __future__ import annotations

from typing import Any

from shared.ipc import frames
from shared.ipc.transport import Transport


class Together:
    """Collects the results of calls until `flush`: half the work for either side where there are many."""

    def __init__(self) -> None:
        self._results: dict[Transport, list[tuple[int, Any]]] = {}

    def add(self, transport: Transport, call_id: int, value: Any) -> None:
        """`value` answers call `call_id` of the connection `transport`."""
        results = self._results.get(transport)
        if results is None:
            self._results[transport] = [(call_id, value)]
        else:
            results.append((call_id, value))

    def flush(self) -> None:
        """One frame per connection. A connection that has gone loses its results: its calls ended when it went."""
        if self._results:
            answered, self._results = self._results, {}
            for transport, results in answered.items():
                transport.write(frames.encode((frames.RESULTS, results)))
