"""Writes without a task: a local call that is checked, encoded and posted to raft_node in one step.

For methods whose work before the log needs no waiting. A call that has to wait for a leader is handed to `later`, which
serves it as any other call, in a task.

`Direct` [method, arguments, number, tag] is such a call whose caller has a connection of its own to raft_node, the one
of this number: raft_node answers a command that is passed on there, with this tag (see hot_path)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from services.rpc_core.commands import encode
from services.rpc_core.core import APPLY_TIMEOUT_S, Core
from services.rpc_core.errors import RpcError, from_neighbour
from shared import metrics
from shared.ipc import IpcError, RemoteError, Request
from shared.structs.errors import WireTypeError
from shared.structs.schema import Struct

Prepare = Callable[[Any], tuple[str, Struct]]
"""Wire form of the arguments -> (datacenter, the command). Raises RpcError or WireTypeError."""


class DirectWrite:
    """Handler of one method. metric: sample for the time until the write is applied. reply: what success answers."""

    def __init__(
        self, core: Core, method: str, prepare: Prepare, later: Callable[[Request], None], *, metric: str, reply: Any
    ) -> None:
        self._core = core
        self._method = method
        self._prepare = prepare
        self._later = later
        self._metric = metric
        self._reply = reply

    def __call__(self, request: Request) -> None:
        self.serve(request, ())

    def serve(self, request: Request, direct: tuple[int, ...]) -> None:
        """direct: (number, tag) of where raft_node is to answer, () for here."""
        core = self._core
        if not core.router.leads():
            self._later(request)
            return
        if not core.allow_call():
            metrics.incr("consul.client.rpc.exceeded")
            request.fail("rate_limited", "RPC rate limit exceeded")
            return
        try:
            datacenter, command = self._prepare(request.payload)
            core.router.check_datacenter(self._method, datacenter)
        except WireTypeError as error:
            request.fail("bad_request", f"{self._method}: {error}")
            return
        except RpcError as error:
            request.fail(error.code, str(error))
            return
        encoded = encode(command)
        if direct and core.raft.notify("Raft.ApplyFor", (*direct, encoded)):
            return
        started = monotonic()

        def on_done(_: Any, error: IpcError | None) -> None:
            if error is None:
                metrics.sample(self._metric, (monotonic() - started) * 1000)
                request.reply(self._reply)
            elif isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                self._later(request)
            else:
                failure = from_neighbour(error)
                request.fail(failure.code, str(failure))

        core.raft.post("Raft.Apply", encoded, on_done, timeout_s=APPLY_TIMEOUT_S)


def serve_direct(writes: Mapping[str, DirectWrite]) -> Callable[[Request], None]:
    """The handler of `Direct`."""

    def serve(request: Request) -> None:
        try:
            method, arguments, number, tag = request.payload
            write = writes[method]
        except (TypeError, ValueError, KeyError):
            request.fail(
                "bad_request", "Direct takes [method, arguments, number, tag] of a write"
            )
            return
        request.payload = arguments
        write.serve(request, (number, tag))

    return serve
