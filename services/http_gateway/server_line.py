"""ServerLine: a client agent's reads and writes on their way to a server, past rpc_core.

rpc_core knows the servers and says which one to ask (topics of its client/news); the connection is the gateway's own.
What the line cannot take or bring to an end (no connection yet, calls that are limited, a server that says nothing, a
read or a write that may be tried again) goes by rpc_core, which has all the patience and the rules for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from shared import metrics
from shared.ipc.calls import OnDone
from shared.ipc.errors import DeadlineError, IpcError, RemoteError
from shared.ipc.link import Link
from shared.server_rpc.errors import ServerCallError
from shared.server_rpc.pool import ServerPool

IDLE_TIMEOUT_S: Final = 120.0
DIAL_PAUSE_S: Final = 1.0
"""Between attempts to connect; calls go by rpc_core meanwhile."""
EXPIRY_S: Final = 1.0
"""How often is looked for calls whose time is up."""
ASK_TIMEOUT_S: Final = 10.0


class _Call:
    __slots__ = ("address", "deadline", "let_go", "method", "on_done", "otherwise", "read", "started")

    def __init__(
        self, address: str, method: str, on_done: OnDone, otherwise: Callable[[], None], read: bool, timeout_s: float
    ) -> None:
        self.address, self.method, self.on_done, self.otherwise, self.read = address, method, on_done, otherwise, read
        self.started = trio.current_time()
        self.deadline = self.started + timeout_s
        self.let_go: Callable[[], None] | None = None


class ServerLine:
    """One per client's gateway. bind_host: see ServerPool. after_batch: called when calls were answered, before what
    that led to leaves. may_pass: whether calls need not be counted by rpc_core. hold_timeout_s: how long after its
    start a write may be tried once more."""

    def __init__(self, rpc: Link, bind_host: str, after_batch: Callable[[], None]) -> None:
        self._rpc, self._after_batch = rpc, after_batch
        self._pool = ServerPool(bind_host, idle_timeout_s=IDLE_TIMEOUT_S, after_batch=after_batch)
        self._pool.on_silent = self._silent
        self.may_pass, self.hold_timeout_s = False, 0.0
        self._address = ""
        """Of the server to ask; "" for none."""
        self._knows_many_reads = False
        self._dial_from = 0.0
        self._calls: set[_Call] = set()
        self._busy = trio.Event()
        rpc.subscribe("server", self._told)
        rpc.subscribe("server_gone", lambda value: self._pool.give_up(value[0], "nothing comes from the server"))
        rpc.on_up(self._ask)

    async def run(self) -> None:
        """Serves calls until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            while True:
                if not self._calls:
                    self._busy = trio.Event()
                    await self._busy.wait()
                await trio.sleep(EXPIRY_S)
                self._expire(trio.current_time())

    # -- which server -------------------------------------------------------------------------------

    def _ask(self) -> None:
        """rpc_core may have missed us, or may be another process than before."""

        def answered(value: Any, error: IpcError | None) -> None:
            if error is None:
                self._told(value)

        self._rpc.post("Agent.Server", None, answered, timeout_s=ASK_TIMEOUT_S, retry_safe=True)

    def _told(self, value: Any) -> None:
        address, self._knows_many_reads = ("", False) if value is None else value
        if address != self._address:
            self._address, self._dial_from = address, 0.0

    # -- calls --------------------------------------------------------------------------------------

    def post(
        self,
        method: str,
        body: bytes,
        on_done: OnDone,
        otherwise: Callable[[], None],
        *,
        timeout_s: float,
        read: bool = False,
    ) -> bool:
        """Send a write, or a call of shared.many_reads (read), whose reply is wanted in msgpack. body: the request in
        msgpack. Either on_done or otherwise is called once; otherwise: the call has to go by rpc_core after all, which
        can do no harm. False: so it has from the beginning, and neither will be called."""
        address, pool = self._address, self._pool
        if not address or not self.may_pass or (read and (not self._knows_many_reads or pool.is_silent(address))):
            return False
        call = _Call(address, method, on_done, otherwise, read, timeout_s)
        call.let_go = pool.begin(address, method, body, partial(self._replied, call), repeatable=read, packed=read)
        if call.let_go is None:
            self._connect(address)
            return False
        metrics.incr("consul.client.rpc")
        if not self._calls:
            self._busy.set()
        self._calls.add(call)
        return True

    def flush(self) -> None:
        """Send what was posted now, instead of at the end of the batch."""
        self._pool.flush(self._address)

    def _connect(self, address: str) -> None:
        now = trio.current_time()
        if now >= self._dial_from:
            self._dial_from = now + DIAL_PAUSE_S
            self._pool.open(address)

    def _replied(self, call: _Call, value: Any, error: ServerCallError | None) -> None:
        self._calls.discard(call)
        if error is None:
            call.on_done(value, None)
            return
        if not self._pool.is_silent(call.address):
            self._rpc.notify("Agent.ServerFailed", [call.address, call.method, str(error)])
        in_time = trio.current_time() - call.started < self.hold_timeout_s
        if call.read or (error.retry_always and in_time):
            call.otherwise()
        else:
            call.on_done(None, RemoteError("rpc", str(error)))
        self._after_batch()  # the end of a connection is in no batch

    def _expire(self, now: float) -> None:
        for call in [one for one in self._calls if one.deadline <= now]:
            self._calls.discard(call)
            if call.let_go is not None:
                call.let_go()
            call.on_done(None, DeadlineError(call.address, call.method, sent=True, harmless=call.read))
            self._after_batch()

    def _silent(self, address: str) -> None:
        """Reads need not wait for a server that says nothing; whether writes are done only that server can tell."""
        self._rpc.notify("Agent.ServerSilent", [address])
        self._pool.give_up(address, "nothing comes from the server")
