"""ServerLine: reads and writes on their way from a gateway to a server, past rpc_core.

The connections are the gateway's own. What the line cannot take or bring to an end (no connection yet, calls that are
limited, a server that says nothing, a call that may be tried again) goes by rpc_core, which has all the patience and
the rules for it. A client reads from the server that its rpc_core names (client_line) and writes to the leader
(client_door), a follower does both with its leader (leader_line).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
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
"""Between attempts to connect, doubled as long as they lead to no call; calls go by rpc_core meanwhile."""
DIAL_PAUSE_MAX_S: Final = 32.0
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
        otherwise: Callable[[float], None],
        repeatable: bool,
        timeout_s: float,
    ) -> None:
        self.address, self.method, self.on_done, self.otherwise = address, method, on_done, otherwise
        self.repeatable, self.started = repeatable, trio.current_time()
        self.deadline = self.started + timeout_s
        self.let_go: Callable[[], None] | None = None


class ServerLine(ABC):
    """bind_host: see ServerPool. after_batch: called when calls were answered, before what that led to leaves. doors:
    calls go to doors of raft_nodes, not to the methods of rpc_core. may_pass: whether calls need not be counted by
    rpc_core. hold_timeout_s: for how long calls are held that meet no leader."""

    def __init__(self, bind_host: str, after_batch: Callable[[], None], *, doors: bool = False) -> None:
        self._after_batch = after_batch
        self._pool = ServerPool(
            bind_host, idle_timeout_s=IDLE_TIMEOUT_S, after_batch=after_batch, only_proven=True, doors=doors
        )
        self._pool.on_silent = self._silent
        self.may_pass, self.hold_timeout_s = False, 0.0
        self._address, self._dial_from, self._dial_pause_s = "", 0.0, DIAL_PAUSE_S
        """Of the server that was connected to last."""
        self._token: trio.lowlevel.TrioToken | None = None
        """While calls are served."""
        self._settles = False
        self._calls: set[LineCall] = set()
        self._busy = trio.Event()

    async def run(self) -> None:
        """Serves calls until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._pool.run)
            self._token = trio.lowlevel.current_trio_token()
            try:
                while True:
                    if not self._calls:
                        self._busy = trio.Event()
                        await self._busy.wait()
                    await trio.sleep(EXPIRY_S)
                    self._expire(trio.current_time())
            finally:
                self._token = None  # connections that end now say nothing of their servers

    # -- what the kinds of lines differ in ----------------------------------------------------------

    @abstractmethod
    def server(self) -> str:
        """The address to call now, "" for none."""

    @abstractmethod
    def may_try_again(self, call: LineCall, error: ServerCallError) -> bool:
        """Whether a call that failed is to go by rpc_core after all."""

    def on_failure(self, call: LineCall, error: ServerCallError) -> None:  # noqa: B027  not every kind tells anybody
        """A call to a server that speaks has failed."""

    def on_silence(self, address: str) -> None:  # noqa: B027
        """Nothing comes from a server any more."""

    def on_unreachable(self, address: str) -> None:  # noqa: B027
        """An attempt to connect has led to nothing."""

    # -- calls --------------------------------------------------------------------------------------

    def post(
        self,
        method: str,
        body: Any,
        on_done: OnDone,
        otherwise: Callable[[float], None],
        *,
        timeout_s: float,
        repeatable: bool = False,
    ) -> bool:
        """Send a call. body: the request in msgpack, and on_done gets the reply so, too; at a door, both as they are.
        repeatable: doing it twice changes nothing. Either on_done or otherwise is called once; otherwise(seconds left):
        the call has to go by rpc_core after all, which can do no harm. False: so it has from the beginning, and neither
        will be called."""
        address, pool = self.server(), self._pool
        if not address or not self.may_pass or pool.is_silent(address):
            return False
        call = LineCall(address, method, on_done, otherwise, repeatable, timeout_s)
        on_reply = partial(self._replied, call)
        call.let_go = pool.begin(address, method, body, on_reply, repeatable=repeatable, packed=True)
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
        if address != self._address:
            self._address, self._dial_from, self._dial_pause_s = address, now, DIAL_PAUSE_S
        if now >= self._dial_from:
            self._dial_from = now + self._dial_pause_s
            self._dial_pause_s = min(2 * self._dial_pause_s, DIAL_PAUSE_MAX_S)
            self._pool.open(address)
        elif not (self._pool.is_dialing(address) or self._pool.is_ready(address)):
            self.on_unreachable(address)

    def _replied(self, call: LineCall, value: Any, error: ServerCallError | None) -> None:
        self._calls.discard(call)
        if error is None:
            self._dial_pause_s = DIAL_PAUSE_S
            call.on_done(value, None)
            return
        if self._token is not None and not self._pool.is_silent(call.address):
            self.on_failure(call, error)
        if self._token is not None and self.may_try_again(call, error):
            call.otherwise(max(call.deadline - trio.current_time(), 0.001))
        else:
            call.on_done(None, RemoteError("rpc", str(error)))
        self._settle_soon()

    def _settle_soon(self) -> None:
        """After the work at hand: the end of a connection, and a deadline, are in no batch."""
        if self._token is not None and not self._settles:
            self._settles = True
            self._token.run_sync_soon(self._settle)

    def _settle(self) -> None:
        self._settles = False
        self._after_batch()

    def _expire(self, now: float) -> None:
        for call in [one for one in self._calls if one.deadline <= now]:
            self._calls.discard(call)
            if call.let_go is not None:
                call.let_go()
            call.on_done(None, DeadlineError(call.address, call.method, sent=True, harmless=call.repeatable))
            self._settle_soon()

    def _silent(self, address: str) -> None:
        """What can be repeated need not wait for a server that says nothing; whether writes are done only that server
        can tell."""
        self.on_silence(address)
        self._pool.give_up(address, "nothing comes from the server")
