"""Writes that come encoded: on to the log or the leader, without a task and without a copy of the command.

A gateway has checked the request and encoded the whole command as it goes into the log. It hands it in here when it
cannot say by itself that the log would take it (this server does not lead, the agent's calls are limited, or a lock
may be delayed), and when the log has refused it. Everything that one read of the socket brought is posted to raft_node
in one write.

`KVS.ApplyEncoded` [op, key, encoded]: `encoded` is the KVS request without its type byte. The answer is whether the
operation took effect: always true for set, delete and delete-tree.
`Catalog.ApplyEncoded` [command]: a registration or deregistration of this datacenter. The answer is true."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from services.rpc_core.errors import RpcError, from_neighbour
from shared import metrics
from shared.ipc import IpcError, Link, RemoteError, Request
from shared.structs.commands import BOOL_OPS, CATALOG_METHODS, KVS

DELETE_TREE, LOCK = "delete-tree", "lock"
KNOWN_OPS = frozenset({"set", "delete", "delete-cas", DELETE_TREE, "cas", LOCK, "unlock"})
APPLY_TIMEOUT_S = 30.0

Allow = Callable[[], bool]
"""Whether the agent may originate one more call now."""
LockDelayed = Callable[[bytes], bool]
"""Whether a key may not be locked yet because its last holder was lost."""
Later = Callable[[Request], None]
"""Takes a request that has to wait for a leader."""


class Door:
    """The way to the log, shared by all encoded writes. `allow` is the agent's rate limit, `leads` whether a write
    would be accepted now."""

    def __init__(self, raft: Link, *, allow: Allow, leads: Callable[[], bool]) -> None:
        self._raft, self._allow, self._leads = raft, allow, leads
        self._calls = 0
        self._leads_now: bool | None = None

    def end_batch(self) -> None:
        """After all calls of one read: what holds for a batch is looked up once, and counted once."""
        if self._calls:
            metrics.incr("consul.client.rpc", self._calls)
            self._calls = 0
            self._leads_now = None

    def admits(self, request: Request) -> bool:
        """Count a call; False if it was refused."""
        self._calls += 1
        if self._allow():
            return True
        metrics.incr("consul.client.rpc.exceeded")
        request.fail("rate_limited", "RPC rate limit exceeded")
        return False

    def pass_on(self, request: Request, command: bytes, later: Later, *, metric: str, bool_result: bool) -> None:
        """To raft_node, or to `later` while there is no leader here. The answer is the command's result if it is a
        `bool_result`, True if not. metric: sample of the time."""
        leads = self._leads_now
        if leads is None:
            leads = self._leads_now = self._leads()
        if not leads:
            later(request)
        else:
            self._post(request, command, later, metric, bool_result=bool_result)

    def _post(self, request: Request, command: bytes, later: Later, metric: str, *, bool_result: bool) -> None:
        started = monotonic()

        def on_done(value: Any, error: IpcError | None) -> None:
            if error is None:
                metrics.sample(metric, (monotonic() - started) * 1000)
                request.reply(value[1] if bool_result else True)
            elif isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                later(request)
            else:
                failure = from_neighbour(error)
                request.fail(failure.code, str(failure))

        self._raft.post("Raft.Apply", command, on_done, timeout_s=APPLY_TIMEOUT_S)


class KvsApplyEncoded:
    """The handler of that method."""

    def __init__(self, door: Door, *, lock_delayed: LockDelayed, later: Later) -> None:
        self._door, self._lock_delayed, self._later = door, lock_delayed, later

    def __call__(self, request: Request) -> None:
        """One call; answers now or when raft_node has answered."""
        try:
            op, key, encoded = request.payload
        except (TypeError, ValueError):
            request.fail("bad_request", "KVS.ApplyEncoded takes [op, key, encoded request]")
            return
        if not self._door.admits(request):
            return
        if not key and op != DELETE_TREE:
            request.fail("rpc", "Must provide key")
        elif op not in KNOWN_OPS:
            request.fail("rpc", f"Invalid KVS operation '{op}'")
        elif not (op == LOCK and self._refuses_lock(request, key)):
            self._door.pass_on(
                request, KVS + encoded, self._later, metric="consul.kvs.apply", bool_result=op in BOOL_OPS
            )

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


class CatalogApplyEncoded:
    """The handler of that method."""

    def __init__(self, door: Door, *, later: Later) -> None:
        self._door, self._later = door, later

    def __call__(self, request: Request) -> None:
        """One call; answers now or when raft_node has answered."""
        try:
            (command,) = request.payload
            method = CATALOG_METHODS[command[:1]]
        except (TypeError, ValueError, KeyError):
            request.fail("bad_request", "Catalog.ApplyEncoded takes [command] of the catalog")
            return
        if self._door.admits(request):
            metric = f"consul.{method.lower()}"
            self._door.pass_on(request, command, self._later, metric=metric, bool_result=False)
