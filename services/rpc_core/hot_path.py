"""`KVS.ApplyEncoded`: a key/value write from a lane to the log, without a task and without a copy of the value.

Payload [op, key, encoded]: `encoded` is the whole KVS request as it goes into the log. The answer is whether
the operation took effect: always true for set, delete and delete-tree. Everything that one read of the socket
brought is posted to raft_node in one write, and all of its answers go back in one.

Payload [op, key, encoded, number, tag]: `number` is the caller's own connection to raft_node. A command that is passed
on is then answered there by raft_node itself, as an `applied` event with this tag; here are answered only those that
are not passed on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from services.rpc_core.errors import RpcError, from_neighbour
from shared import metrics
from shared.ipc import IpcError, Link, RemoteError, Request

KVS_MESSAGE_TYPE = b"\x02"
DELETE_TREE, LOCK = "delete-tree", "lock"
KNOWN_OPS = frozenset({"set", "delete", "delete-cas", DELETE_TREE, "cas", LOCK, "unlock"})
BOOL_OPS = frozenset({"delete-cas", "cas", LOCK, "unlock"})
"""Operations whose outcome is in the result; the others succeed or fail."""
APPLY_TIMEOUT_S = 30.0

Allow = Callable[[], bool]
"""Whether the agent may originate one more call now."""
LockDelayed = Callable[[bytes], bool]
"""Whether a key may not be locked yet because its last holder was lost."""


class KvsApplyEncoded:
    """The handler. `allow` is the agent's rate limit, `leads` whether a write would be accepted now,
    `retry_later` takes a request that has to wait for a leader."""

    def __init__(
        self,
        raft: Link,
        *,
        allow: Allow,
        leads: Callable[[], bool],
        lock_delayed: LockDelayed,
        retry_later: Callable[[Request], None],
    ) -> None:
        self._raft = raft
        self._allow = allow
        self._leads = leads
        self._lock_delayed = lock_delayed
        self._retry_later = retry_later
        self._calls = 0
        self._leads_now: bool | None = None

    def end_batch(self) -> None:
        """After all calls of one read: what holds for a batch is looked up once, and counted once."""
        if self._calls:
            metrics.incr("consul.client.rpc", self._calls)
            self._calls = 0
            self._leads_now = None

    def __call__(self, request: Request) -> None:
        """One call; answers now or when raft_node has answered."""
        try:
            op, key, encoded, *direct = request.payload
        except (TypeError, ValueError):
            request.fail("bad_request", "KVS.ApplyEncoded takes [op, key, encoded request]")
            return
        self._calls += 1
        if self._leads_now is None:
            self._leads_now = self._leads()
        if not self._allow():
            metrics.incr("consul.client.rpc.exceeded")
            request.fail("rate_limited", "RPC rate limit exceeded")
        elif not key and op != DELETE_TREE:
            request.fail("rpc", "Must provide key")
        elif op not in KNOWN_OPS:
            request.fail("rpc", f"Invalid KVS operation '{op}'")
        elif op == LOCK and self._refuses_lock(request, key):
            return
        elif not self._leads_now:
            self._retry_later(request)
        elif not (direct and self._raft.notify("Raft.ApplyFor", (direct[0], direct[1], KVS_MESSAGE_TYPE + encoded))):
            self.post(request, op, encoded)

    def _refuses_lock(self, request: Request, key: bytes) -> bool:
        """Answers a lock that must not be tried; False if it may go on."""
        try:
            if self._lock_delayed(key):
                request.reply(False)
                return True
        except RpcError as error:
            request.fail(error.code, str(error))
            return True
        return False

    def post(self, request: Request, op: str, encoded: bytes) -> None:
        """Hand the command to raft_node; the request is answered by its answer."""
        started = monotonic()

        def on_done(value: Any, error: IpcError | None) -> None:
            if error is None:
                metrics.sample("consul.kvs.apply", (monotonic() - started) * 1000)
                request.reply(value[1] if op in BOOL_OPS else True)
            elif isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                self._retry_later(request)
            else:
                failure = from_neighbour(error)
                request.fail(failure.code, str(failure))

        self._raft.post("Raft.Apply", KVS_MESSAGE_TYPE + encoded, on_done, timeout_s=APPLY_TIMEOUT_S)
