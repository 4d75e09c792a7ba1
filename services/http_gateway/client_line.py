"""ClientLine: a client's calls go to the server that its rpc_core names (see there, client/news)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from services.http_gateway.server_line import LineCall, ServerLine
from shared import many_reads
from shared.ipc.errors import DeadlineError, IpcError
from shared.ipc.link import Link
from shared.server_rpc.errors import UNKNOWN_THERE, ServerCallError

ASK_TIMEOUT_S: Final = 10.0


def _ignore(_value: Any, _error: IpcError | None) -> None:
    """What it says is told by rpc_core to all who want to know."""


class ClientLine(ServerLine):
    """rpc_core hears what calls meet: which server is asked is one decision for the whole agent. knows_many_reads:
    whether that server understands shared.many_reads, as none but ours do."""

    knows_many_reads = False

    def __init__(self, rpc: Link, bind_host: str, after_batch: Callable[[], None], datacenter: str) -> None:
        super().__init__(bind_host, after_batch)
        self._rpc = rpc
        self._no_reads = many_reads.request(datacenter, [], stale=True)
        self._looked_at = ""
        """The server that was asked whether it understands them."""
        self._server = ""
        rpc.subscribe("server", self._told)
        rpc.subscribe("server_gone", lambda value: self._pool.give_up(value[0], "nothing comes from the server"))
        rpc.on_up(self._ask)

    def _ask(self) -> None:
        """rpc_core may have missed us, or may be another process than before."""

        def answered(value: Any, error: IpcError | None) -> None:
            if error is None:
                self._told(value)
            elif isinstance(error, DeadlineError):
                self._ask()

        self._rpc.post("Agent.Server", None, answered, timeout_s=ASK_TIMEOUT_S, retry_safe=True)

    def _told(self, value: Any) -> None:
        self._server, self.knows_many_reads = ("", False) if value is None else value
        self._looked_at = ""

    def look_closer(self) -> None:
        """Have the server asked, once, whether it is one of ours, if nobody has read from it in such a way yet. What it
        says is known to rpc_core then."""
        if self._server and self._looked_at != self._server:
            self._looked_at = self._server
            self._rpc.post(many_reads.DOOR, self._no_reads, _ignore, timeout_s=ASK_TIMEOUT_S, retry_safe=True)

    def server(self) -> str:
        return self._server

    def may_try_again(self, call: LineCall, error: ServerCallError) -> bool:
        """As of rpc_core's own attempts: what waits for a leader is held once for all, and a final answer is final."""
        if error.retry_always:
            return trio.current_time() - call.started < self.hold_timeout_s
        return call.repeatable and (error.retry_reads or UNKNOWN_THERE in str(error))

    def on_failure(self, call: LineCall, error: ServerCallError) -> None:
        self._rpc.notify("Agent.ServerFailed", [call.address, call.method, str(error)])

    def on_silence(self, address: str) -> None:
        self._rpc.notify("Agent.ServerSilent", [address])
