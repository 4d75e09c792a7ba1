"""Relay: results that go straight to the process whose client waits, past the one that handed the command in.

A write comes from a gateway through rpc_core, which has nothing to add to its result. So rpc_core names the
gateway's connection to raft.sock (a number) and the gateway's tag for the write (`Raft.ApplyFor`), and all results of
a batch leave for that connection in one `applied` event: [[tag, result], ...], or [tag, None, code, text, data] for a
write that failed. It saves one wake-up of a process in both directions per batch."""

from __future__ import annotations

from typing import Any

from shared.ipc import Server

APPLIED = "applied"


class Relayed:
    """Waits for one proposal in place of a Request, and answers as a Request does."""

    __slots__ = ("_number", "_relay", "_tag")

    method = "Raft.Apply"

    def __init__(self, relay: Relay, number: int, tag: int) -> None:
        self._relay, self._number, self._tag = relay, number, tag

    def reply(self, value: Any) -> None:
        """value: (index, result)."""
        self._relay.add(self._number, (self._tag, value[1]))

    def fail(self, code: str, message: str, data: Any = None) -> None:
        self._relay.add(self._number, (self._tag, None, code, message, data))


class Relay:
    """Collects results until `flush`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._results: dict[int, list[tuple[Any, ...]]] = {}

    def add(self, number: int, item: tuple[Any, ...]) -> None:
        results = self._results.get(number)
        if results is None:
            self._results[number] = [item]
        else:
            results.append(item)

    def flush(self) -> None:
        """One event per connection. A connection that has gone loses its results: its calls ended when it went."""
        if self._results:
            for number, items in self._results.items():
                self._server.send_event(number, APPLIED, items)
            self._results.clear()
