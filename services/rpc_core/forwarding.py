"""Calls that this server cannot answer go to the leader, by the rules of Consul's ForwardRPC.

A handler that may not answer here raises ElsewhereError; then the very same request is sent to the leader. While there
is no leader, it says that it is none, or it cannot be reached, the call is tried again after a random pause, at most
`performance.rpc_hold_timeout` after its first failure. What the other server answers with is final, errors too, except
for reads whose connection failed. (Consul gives up at once where the leader cannot be reached.)"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from services.rpc_core.errors import ElsewhereError, NoLeaderError, RpcError
from services.rpc_core.router import Router
from shared.server_rpc.errors import ServerCallError
from shared.server_rpc.pool import ServerPool
from shared.wire import rpc

WRITES = frozenset(
    {
        "Catalog.Deregister",
        "Catalog.Register",
        "ConfigEntry.Apply",
        "ConfigEntry.Delete",
        "Coordinate.Update",
        "KVS.Apply",
        "Operator.AutopilotSetConfiguration",
        "Operator.RaftRemovePeerByAddress",
        "Operator.RaftRemovePeerByID",
        "Operator.RaftTransferLeader",
        "PreparedQuery.Apply",
        "Session.Apply",
        "Txn.Apply",
    }
)
"""Methods whose requests are Consul's WriteRequests. They must not be repeated when their outcome is unknown."""


class Forwarder:
    """One per process. default_query_time_s: how long blocking queries wait that do not say it."""

    def __init__(self, router: Router, pool: ServerPool, default_query_time_s: float) -> None:
        self._router, self._pool = router, pool
        self.default_query_time_s = default_query_time_s

    async def answer(self, method: str, here: Callable[[], Awaitable[Any]], body: Callable[[], bytes]) -> Any:
        """What `here` returns, or what the leader answers. body: the request in msgpack, made when it is needed.

        Raises RpcError, and whatever else `here` raises."""
        give_up_at: float | None = None
        while True:
            failure: RpcError
            try:
                return await here()
            except ElsewhereError as elsewhere:
                failure = NoLeaderError()
                if elsewhere.address:
                    try:
                        repeatable = method not in WRITES
                        return await self._pool.call(elsewhere.address, method, body(), repeatable=repeatable)
                    except ServerCallError as error:
                        failure = RpcError(str(error))
                        if not may_repeat(method, error):
                            raise failure from None
            now = trio.current_time()
            if give_up_at is None:
                give_up_at = now + self._router.hold_timeout_s
            if now >= give_up_at or self._router.leaving.is_set():
                raise failure
            await self._router.pause()

    async def answer_wire(self, method: str, here: Callable[[], Awaitable[Any]], body: Any) -> Any:
        """As `answer`, for a request in wire form. A blocking query that is repeated waits only for what is left of
        its time."""
        return await self.answer(method, here, WireRequest(body, self.default_query_time_s).packed)


class WireRequest:
    """A request in wire form that may have to be sent again: a blocking query then waits only for what is left of its
    time. default_query_time_s: the time of those that do not say it."""

    __slots__ = ("_body", "_default_query_time_s", "_repeated", "_started")

    def __init__(self, body: Any, default_query_time_s: float) -> None:
        self._body, self._default_query_time_s = body, default_query_time_s
        self._started = trio.current_time()
        self._repeated = False

    def packed(self) -> bytes:
        """In msgpack, for the next attempt."""
        body = self._body
        if self._repeated and isinstance(body, dict) and body.get("MinQueryIndex"):
            total_ns = body.get("MaxQueryTime") or int(self._default_query_time_s * 1e9)
            left_ns = total_ns - int((trio.current_time() - self._started) * 1e9)
            body = {**body, "MaxQueryTime": max(left_ns, 1)}
        self._repeated = True
        return rpc.pack(body)


def may_repeat(method: str, error: ServerCallError) -> bool:
    """Whether a forwarded call may be tried again after this failure."""
    return error.retry_always or (error.retry_reads and method not in WRITES)
