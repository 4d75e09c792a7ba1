"""Caller: calls on their way to a server, those of the agent itself and those of local processes.

While the server is connected a call takes no task: it is sent, and its answer passed on, by callbacks. A task exists
only where something has to be waited for: a connection, a pause between attempts, the first word of gossip."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.client.attempts import Attempts
from services.rpc_core.client.manager import ServerManager
from services.rpc_core.errors import NoServersError, RateExceededError, RpcError
from services.rpc_core.forwarding import WRITES, WireRequest
from services.rpc_core.members import Server
from shared import metrics
from shared.ipc import Request
from shared.many_reads import METHOD, UNKNOWN
from shared.server_rpc.errors import UNKNOWN_THERE, DialError, ServerCallError
from shared.server_rpc.pool import STOPPING

TASKS_MAX = 4096
"""Calls that may wait for a connection, or for their next attempt, at a time."""

OnEnd = Callable[[Any, RpcError | None], None]


class BusyError(RpcError):
    code = "unavailable"

    def __init__(self) -> None:
        super().__init__("too many calls are waiting for a server")


class UnknownMethodError(RpcError):
    code = UNKNOWN


class Call:
    """One call until its end. packed: the request in msgpack, for the next attempt. on_end: called once. as_it_comes:
    with the reply in msgpack."""

    __slots__ = ("as_it_comes", "attempts", "ended", "let_go", "method", "on_end", "packed", "repeatable")

    def __init__(
        self, method: str, packed: Callable[[], bytes], on_end: OnEnd, hold_timeout_s: float, as_it_comes: bool
    ) -> None:
        self.method, self.packed, self.on_end, self.as_it_comes = method, packed, on_end, as_it_comes
        self.repeatable = method not in WRITES
        self.attempts = Attempts(hold_timeout_s, repeatable=self.repeatable, now=trio.current_time())
        self.ended = False
        self.let_go: Callable[[], None] | None = None
        """What ends the attempt under way."""

    def end(self, value: Any, error: RpcError | None = None) -> None:
        if not self.ended:
            self.ended = True
            self.on_end(value, error)

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        self.ended = True
        if self.let_go is not None:
            self.let_go()


class Caller:
    """One per process."""

    def __init__(self, core: AgentCore, manager: ServerManager) -> None:
        self._core, self._manager = core, manager
        self._nursery: trio.Nursery | None = None
        self._tasks = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves calls until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None  # connections that end now fail their calls, which are not tried again

    # -- the two kinds of callers --------------------------------------------------------------------

    async def call(self, method: str, body: Any) -> Any:
        """The reply in wire form, for the agent itself. Raises RpcError."""
        done = trio.Event()
        outcome: list[tuple[Any, RpcError | None]] = []

        def on_end(value: Any, error: RpcError | None) -> None:
            outcome.append((value, error))
            done.set()

        call = self.begin(method, self._wire(body), on_end)
        try:
            await done.wait()
        finally:
            if not outcome:
                call.abandon()
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def serve(
        self,
        request: Request,
        method: str,
        packed: Callable[[], bytes],
        show: Callable[[Any], Any] | None = None,
        *,
        as_it_comes: bool = False,
    ) -> None:
        """Answer a local process with the reply of `method`. show: makes the answer of the reply. as_it_comes: the
        answer is the reply in msgpack."""

        def on_end(value: Any, error: RpcError | None) -> None:
            request.unpark()
            if error is None:
                request.reply(value if show is None else show(value))
            else:
                request.fail(error.code, str(error))

        call = self.begin(method, packed, on_end, as_it_comes=as_it_comes)
        if not call.ended:
            request.park(call.abandon)

    def serve_wire(self, method: str, request: Request) -> None:
        """The same for a request in wire form."""
        self.serve(request, method, self._wire(request.payload))

    def serve_many_reads(self, request: Request) -> None:
        """Pass on a `Proconsul.Read`, whose request is in msgpack already and whose reply stays so."""
        server = self._manager.servers.first()
        if server is not None and self._manager.knows_many_reads.get(server.address) is False:
            request.fail(UNKNOWN, f"{server.name} does not know {METHOD}")
            return
        self.serve(request, METHOD, lambda: request.payload, as_it_comes=True)

    def _wire(self, body: Any) -> Callable[[], bytes]:
        return WireRequest({} if body is None else body, self._core.config.default_query_time_s).packed

    # -- attempts ------------------------------------------------------------------------------------

    def begin(self, method: str, packed: Callable[[], bytes], on_end: OnEnd, *, as_it_comes: bool = False) -> Call:
        """Start a call; it may have ended when this returns."""
        call = Call(method, packed, on_end, self._core.config.performance.rpc_hold_timeout_s, as_it_comes)
        self._attempt(call)
        return call

    def _attempt(self, call: Call) -> None:
        core = self._core
        server = self._manager.find() if len(self._manager.servers) or core.pools.known.is_set() else None
        if server is None:
            if core.pools.known.is_set():
                call.end(None, NoServersError())
            else:
                self._in_task(call, partial(self._when_known, call))
            return
        if not core.allow_call():
            metrics.incr("consul.client.rpc.exceeded")
            call.end(None, RateExceededError())
            return
        body, on_reply = call.packed(), partial(self._answered, call, server)
        call.let_go = core.servers.begin(
            server.address, call.method, body, on_reply, repeatable=call.repeatable, packed=call.as_it_comes
        )
        if call.let_go is None:
            self._in_task(call, partial(self._connect, call, server, body))

    def _answered(self, call: Call, server: Server, value: Any, error: ServerCallError | None) -> None:
        call.let_go = None
        if error is None:
            if call.method == METHOD:
                self._manager.learn_many_reads(server, known=True)
            call.end(value)
            return
        if call.ended:
            return
        if call.method == METHOD and UNKNOWN_THERE in str(error):
            self._manager.learn_many_reads(server, known=False)
            call.end(None, UnknownMethodError(str(error)))
            return
        self._manager.failed(server, call.method, error)
        core = self._core
        names = [one.name for one in self._manager.servers.all()]
        pause_s = call.attempts.pause_s(error, server.name, names, trio.current_time(), core.rng)
        if pause_s is None:
            call.end(None, RpcError(str(error)))
        else:
            self._in_task(call, partial(self._again, call, pause_s))

    def _in_task(self, call: Call, task: Callable[[], Awaitable[None]]) -> None:
        if self._nursery is None:
            call.end(None, RpcError(STOPPING))
            return
        if self._tasks >= TASKS_MAX:
            call.end(None, BusyError())
            return
        self._tasks += 1
        scope = trio.CancelScope()
        call.let_go = scope.cancel
        self._nursery.start_soon(self._run_task, scope, task)

    async def _run_task(self, scope: trio.CancelScope, task: Callable[[], Awaitable[None]]) -> None:
        try:
            with scope:
                await task()
        finally:
            self._tasks -= 1

    async def _when_known(self, call: Call) -> None:
        """This process has just started, or gossip has not: there may be servers."""
        with trio.move_on_after(self._core.config.performance.rpc_hold_timeout_s):
            await self._core.pools.known.wait()
        if self._core.pools.known.is_set():
            self._attempt(call)
        else:
            call.end(None, NoServersError())

    async def _connect(self, call: Call, server: Server, body: bytes) -> None:
        on_reply = partial(self._answered, call, server)
        try:
            call.let_go = await self._core.servers.begin_soon(
                server.address, call.method, body, on_reply, repeatable=call.repeatable, packed=call.as_it_comes
            )
        except DialError as error:
            self._answered(call, server, None, error)
        else:
            if call.ended:  # abandoned while it was being sent
                call.abandon()

    async def _again(self, call: Call, pause_s: float) -> None:
        await trio.sleep(pause_s)
        self._attempt(call)
