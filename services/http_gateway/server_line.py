"""ServerLine: reads and writes on their way from a gateway to a server, past rpc_core.

The connections are the gateway's own. What the line cannot take or bring to an end (no connection yet, calls that are
limited, a server that says nothing, a call that may be tried again) goes by rpc_core, which has all the patience and
the rules for it. A client calls the server that its rpc_core names (client_line), a follower its leader (leader_line).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from shared import metrics
from shared.ipc.calls import OnDone
from shared.ipc.errors import DeadlineError, RemoteError
from shared.server_rpc.errors import ServerCallError
from shared.server_rpc.pool import ServerPool

IDLE_TIMEOUT_S: Final = 120.0
DIAL_PAUSE_S: Final = 1.0
"""Between attempts to connect; calls go by rpc_core meanwhile."""
EXPIRY_S: Final = 1.0
"""How often is looked for calls whose time is up."""


class LineCall:
    """One call until its end. repeatable: doing it twice changes nothing."""

    __slots__ = ("address", "deadline", "let_go", "method", "on_done", "otherwise", "repeatable", "started")

    def __init__(
        self,
        address: str,
        method: str,
        on_done: OnDone,
        otherwise: Callable[[], None],
        repeatable: bool,
        timeout_s: float,
    ) -> None:
        self.address, self.method, self.on_done, self.otherwise = address, method, on_done, otherwise
        self.repeatable, self.started = repeatable, trio.current_time()
        self.deadline = self.started + timeout_s
        self.let_go: Callable[[], None] | None = None


class ServerLine:
    """One per gateway. bind_host: see ServerPool. after_batch: called when calls were answered, before what that led to
    leaves. may_pass: whether calls need not be counted by rpc_core. hold_timeout_s: how long after its start a write
    may be tried once more."""

    knows_many_reads = False
    """Whether the server understands shared.many_reads."""

    def __init__(self, bind_host: str, after_batch: Callable[[], None]) -> None:
        self._after_batch = after_batch
        self._pool = ServerPool(bind_host, idle_timeout_s=IDLE_TIMEOUT_S, after_batch=after_batch)
        self._pool.on_silent = self._silent
        self.may_pass, self.hold_timeout_s = False, 0.0
        self._address, self._dial_from = "", 0.0
        """Of the server that was called last."""
        self._calls: set[LineCall] = set()
        self._busy = trio.Event()

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

    # -- what the kinds of lines differ in ----------------------------------------------------------

    def server(self) -> str:
        """The address to call now, "" for none."""
        raise NotImplementedError

    def on_failure(self, call: LineCall, error: ServerCallError) -> None:
        """A call to a server that speaks has failed."""

    def on_silence(self, address: str) -> None:
        """Nothing comes from a server any more."""

    # -- calls --------------------------------------------------------------------------------------

    def post(
        self,
        method: str,
        body: bytes,
        on_done: OnDone,
        otherwise: Callable[[], None],
        *,
        timeout_s: float,
        repeatable: bool = False,
        packed: bool = False,
    ) -> bool:
        """Send a call. body: the request in msgpack. packed: its reply is wanted so. Either on_done or otherwise is
        called once; otherwise: the call has to go by rpc_core after all, which can do no harm. False: so it has from
        the beginning, and neither will be called."""
        address, pool = self.server(), self._pool
        if not address or not self.may_pass or (repeatable and pool.is_silent(address)):
            return False
        call = LineCall(address, method, on_done, otherwise, repeatable, timeout_s)
        on_reply = partial(self._replied, call)
        call.let_go = pool.begin(address, method, body, on_reply, repeatable=repeatable, packed=packed)
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
        self._pool.flush(self.server())

    def _connect(self, address: str) -> None:
        now = trio.current_time()
        if address != self._address or now >= self._dial_from:
            self._address, self._dial_from = address, now + DIAL_PAUSE_S
            self._pool.open(address)

    def _replied(self, call: LineCall, value: Any, error: ServerCallError | None) -> None:
        self._calls.discard(call)
        if error is None:
            call.on_done(value, None)
            return
        if not self._pool.is_silent(call.address):
            self.on_failure(call, error)
        in_time = trio.current_time() - call.started < self.hold_timeout_s
        if call.repeatable or (error.retry_always and in_time):
            call.otherwise()
        else:
            call.on_done(None, RemoteError("rpc", str(error)))
        self._after_batch()  # the end of a connection is in no batch

    def _expire(self, now: float) -> None:
        for call in [one for one in self._calls if one.deadline <= now]:
            self._calls.discard(call)
            if call.let_go is not None:
                call.let_go()
            call.on_done(None, DeadlineError(call.address, call.method, sent=True, harmless=call.repeatable))
            self._after_batch()

    def _silent(self, address: str) -> None:
        """What can be repeated need not wait for a server that says nothing; whether writes are done only that server
        can tell."""
        self.on_silence(address)
        self._pool.give_up(address, "nothing comes from the server")
