"""Writes: commands on their way to the log.

A leader's gateway hands what it has checked and encoded straight to raft_node, which answers all results of a batch in
one frame, together with the change record that wakes the readers: so a write wakes each of the two processes once.
The gateway of a client or a follower sends it to the leader's raft_node, by its door, or to a server's rpc_core, on
lines of its own (server_line).
Everything else goes by rpc_core: a write without a leader, a leader's lock, which may have to be refused for a
while, a write of an agent whose calls are limited, and what the log refused because it has just lost its office."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from services.http_gateway.server_line import ServerLine
from shared import metrics
from shared.ipc import IpcError, Link, RemoteError
from shared.ipc.calls import OnDone
from shared.ipc.remote import PAYLOAD_BYTES_MAX
from shared.structs.commands import BOOL_OPS, CATALOG_METHODS, KVS

TIMEOUT_S: Final = 30.0
_AHEAD: Final = 4
"""While so few are under way, they leave at once, ahead of the rest of their batch: raft_node logs and applies them
while this process still reads requests."""
_TOGETHER: Final = 8
"""So many leave together later on. A whole batch at once would keep one process busy after the other; fewer would cost
each of them more wake-ups than the work side by side is worth."""
_LOCK: Final = "lock"
_TRUE: Final = b"\xc3"
"""In msgpack."""


class Writes:
    """One per process. Belongs to the event loop.

    leads: whether this server's log takes writes now. may_pass: whether they need not be counted by rpc_core."""

    def __init__(self, raft: Link, rpc: Link, leads: Callable[[], bool]) -> None:
        self._raft, self._rpc, self._leads = raft, rpc, leads
        self.may_pass = True
        self.door: ServerLine | None = None
        """To the leader."""
        self.line: ServerLine | None = None
        """To a server."""
        self._under_way = 0
        self._held = 0
        """Posted since the last of them left."""
        self._passed = 0
        """Handed to the log since it was counted last."""

    def post(self, operation: str, raw_key: bytes, command: bytes, on_done: OnDone) -> None:
        """command: Consul's KVS request in msgpack. `on_done(value, error)` is called once; value: whether the
        operation took effect, True (or None) for those that always do. A lost neighbour leaves the outcome unknown."""

        def by_rpc_core(timeout_s: float = TIMEOUT_S) -> None:
            self._rpc.post("KVS.ApplyEncoded", (operation, raw_key, command), on_done, timeout_s=timeout_s)

        if operation != _LOCK:
            if self._passes():
                self._pass(KVS + command, "consul.kvs.apply", by_rpc_core, on_done)
                return
            if self._knock(KVS + command, by_rpc_core, on_done):
                return
        if not self._send("KVS.Apply", command, operation in BOOL_OPS, by_rpc_core, on_done):
            by_rpc_core()

    def post_catalog(self, command: bytes, metric: str, on_done: OnDone) -> None:
        """The same for a checked registration or deregistration, encoded as a whole; value: of no meaning.

        metric: sample of the time until it was applied."""

        def by_rpc_core(timeout_s: float = TIMEOUT_S) -> None:
            self._rpc.post("Catalog.ApplyEncoded", (command,), on_done, timeout_s=timeout_s)

        if self._passes():
            self._pass(command, metric, by_rpc_core, on_done)
        elif not self._knock(command, by_rpc_core, on_done) and not self._send(
            CATALOG_METHODS[command[:1]], command[1:], False, by_rpc_core, on_done
        ):
            by_rpc_core()

    def end_batch(self) -> None:
        """Count what was handed over; the rest of it leaves now, like everything that was written in this batch."""
        self._held = 0
        if self._passed:
            metrics.incr("consul.client.rpc", self._passed)
            self._passed = 0

    def _passes(self) -> bool:
        return self.may_pass and self._raft.connected and self._leads()

    def _knock(self, command: bytes, by_rpc_core: Callable[[float], None], on_done: OnDone) -> bool:
        """Send a write to the door of the leader's raft_node; whether that can be done."""
        if self.door is None or len(command) > PAYLOAD_BYTES_MAX:
            return False

        def otherwise(timeout_s: float) -> None:
            self._under_way -= 1
            by_rpc_core(timeout_s)

        def finished(value: Any, error: IpcError | None) -> None:
            self._under_way -= 1
            if error is None and (type(value) is not list or len(value) != 2):
                error = RemoteError("rpc", "rpc error making call: the answer is no result of a command")
            on_done(None if error is not None else value[1], error)

        if not self.door.post("Raft.Apply", command, finished, otherwise, timeout_s=TIMEOUT_S):
            return False
        self._under_way += 1
        self._leave_early(self.door.flush)
        return True

    def _leave_early(self, flush: Callable[[], None]) -> None:
        """A write was posted; send what waits if that pays."""
        self._held += 1
        if self._under_way == _AHEAD or self._held >= _TOGETHER:
            self._held = 0
            flush()

    def _send(
        self, method: str, body: bytes, bool_result: bool, by_rpc_core: Callable[[float], None], on_done: OnDone
    ) -> bool:
        """Send a write of a client or a follower straight to a server; whether that can be done."""
        if self.line is None:
            return False

        def finished(value: Any, error: IpcError | None) -> None:
            on_done(value == _TRUE or not bool_result, error)

        return self.line.post(method, body, finished, by_rpc_core, timeout_s=TIMEOUT_S)

    def _pass(self, command: bytes, metric: str, by_rpc_core: Callable[[], None], on_done: OnDone) -> None:
        started = monotonic()

        def finished(value: Any, error: IpcError | None) -> None:
            self._under_way -= 1
            if error is None:
                metrics.sample(metric, (monotonic() - started) * 1000)
                on_done(value[1], None)
            elif isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                # Refused by the log, so it is in no log: rpc_core knows how to find, or wait for, the leader.
                by_rpc_core()
            else:
                on_done(None, error)

        self._under_way += 1
        self._passed += 1
        self._raft.post("Raft.Apply", command, finished, timeout_s=TIMEOUT_S)
        self._leave_early(self._raft.flush)
