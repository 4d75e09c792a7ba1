"""The table of methods, and its two doors: local processes (rpc.sock) and the RPC port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from services.rpc_core.core import Core
from services.rpc_core.endpoints import (
    catalog,
    config_entry,
    coordinate,
    event,
    health,
    internal,
    keyring,
    kvs,
    operator,
    prepared_query,
    read_index,
    session,
    status,
    txn,
)
from services.rpc_core.endpoints.at_hand import ReadsAtHand
from services.rpc_core.endpoints.read_many import ReadMany
from services.rpc_core.endpoints.waiting_reads import WaitingReads
from services.rpc_core.errors import MalformedCallError, RateExceededError, RpcError
from shared import metrics
from shared.ipc import RemoteError, Request, Server
from shared.log import get_logger
from shared.many_reads import METHOD as READ_MANY
from shared.many_reads import METHODS as AT_HAND
from shared.state.errors import StateError
from shared.structs.errors import WireTypeError
from shared.wire import rpc

_log = get_logger("agent.server.rpc")

Handler = Callable[[Core, Any], Awaitable[Any]]
SlowHandler = Callable[[Request], Awaitable[Any]]


class EndpointTable:
    """Every method of a server by its Consul name."""

    def __init__(self, core: Core) -> None:
        self._core = core
        families = (
            status,
            kvs,
            catalog,
            health,
            session,
            txn,
            internal,
            operator,
            coordinate,
            event,
            config_entry,
            prepared_query,
            keyring,
            read_index,
        )
        self.methods: dict[str, Handler] = {}
        for family in families:
            self.methods.update(family.METHODS)
        self._at_hand = ReadsAtHand(core, self.methods)
        self._waiting = WaitingReads(core, self._at_hand)
        self._read_many = ReadMany(core, self._at_hand)
        self.methods[READ_MANY] = self._read_many
        self._services = {name.partition(".")[0] for name in self.methods}

    async def call(self, method: str, body: Any) -> Any:
        """The reply in wire form. Raises RpcError; MalformedCallError if the call itself is wrong."""
        handler = self.methods.get(method)
        if handler is None:
            raise MalformedCallError(self._unknown(method))
        try:
            return await self._answer(method, handler, body)
        except WireTypeError as error:
            raise MalformedCallError(f"codec.decoder: {error}") from None
        except StateError as error:
            raise RpcError(str(error)) from None

    async def _answer(self, method: str, handler: Handler, body: Any) -> Any:
        """Here, or by the leader."""
        return await self._core.forwarder.answer_wire(method, partial(handler, self._core, body), body)

    async def call_for_agent(self, method: str, body: Any) -> Any:
        """As `call`, for the agent itself: under its rate limit."""
        self._take_token()
        return await self.call(method, body)

    def _take_token(self) -> None:
        if not self._core.allow_call():
            metrics.incr("consul.client.rpc.exceeded")
            raise RateExceededError

    def _unknown(self, method: str) -> str:
        service, dot, _ = method.rpartition(".")
        if not dot:
            return f"rpc: service/method request ill-formed: {method}"
        what = "method" if service in self._services else "service"
        return f"rpc: can't find {what} {method}"

    async def answer(self, call: rpc.Request) -> tuple[bytes, bool]:
        """A call from the network: the encoded response, and whether its stream can go on."""
        metrics.incr("consul.rpc.request")
        try:
            body = call.body
            if call.method in AT_HAND:
                packed, body = await self._waiting.answer(call.method, body)
                if packed is not None:
                    return rpc.encode_response_header(call.seq, call.method) + packed, True
            reply = await self.call(call.method, body)
            return rpc.encode_response(call.seq, call.method, reply), True
        except MalformedCallError as error:
            metrics.incr("consul.rpc.request_error")
            return rpc.encode_error(call.seq, call.method, str(error)), False
        except RpcError as error:
            return rpc.encode_error(call.seq, call.method, str(error)), True
        except Exception as error:  # a bug in one method must not end the caller's other calls
            _log.error("RPC failed", method=call.method, error=repr(error))
            text = f"{call.method} failed inside the server: {type(error).__name__}"
            return rpc.encode_error(call.seq, call.method, text), True

    def answer_now(self, call: rpc.Request) -> bytes | None:
        """The encoded response to a call from the network that has nothing to wait for; None for any other."""
        packed = call.packed
        if packed is None or not (call.method in AT_HAND or call.method == READ_MANY):
            return None
        try:
            if call.method == READ_MANY:
                reply = self._read_many.answer_now(packed, call.body)
                encoded = None if reply is None else rpc.pack(reply)
            else:
                encoded = self._read_now(call, packed)
        except Exception as error:  # whatever it was, the other way meets it too, and knows what to say
            _log.error("RPC failed", method=call.method, error=repr(error))
            return None
        if encoded is None:
            return None
        metrics.incr("consul.rpc.request")
        return rpc.encode_response_header(call.seq, call.method) + encoded

    def _read_now(self, call: rpc.Request, packed: bytes) -> bytes | None:
        if not self._core.router.leads():
            return None
        try:
            with self._core.snapshot() as snap:
                kept = self._at_hand.answer(snap, call.method, packed, lambda: call.body)
        except RpcError:
            return None  # there is no state yet
        return None if kept is None else kept.packed

    def serve(self, server: Server) -> None:
        """Offer all methods to local processes, under the agent's own rate limit."""
        for method, handler in self.methods.items():
            server.slow(method, self._local(method, handler))

    def _local(self, method: str, handler: Handler) -> SlowHandler:
        async def serve(request: Request) -> Any:
            try:
                self._take_token()
                return await self._answer(method, handler, request.payload)
            except WireTypeError as error:
                raise RemoteError("bad_request", f"{method}: {error}") from None
            except RpcError as error:
                raise RemoteError(error.code, str(error)) from None
            except StateError as error:
                raise RemoteError("rpc", str(error)) from None

        return serve
