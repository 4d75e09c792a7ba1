"""Writes from the network that only the log has to be asked for: checked, encoded and handed on without a task.

What this server cannot give to its own log at once takes the way on which it can wait, and so does what is refused: the
handlers say why."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from services.rpc_core.core import APPLY_TIMEOUT_S, Core
from services.rpc_core.encoded_writes import KNOWN_OPS
from services.rpc_core.errors import from_neighbour
from shared import metrics
from shared.ipc import IpcError, RemoteError
from shared.log import get_logger
from shared.structs.catalog import DeregisterRequest, RegisterRequest
from shared.structs.commands import encode
from shared.structs.errors import RefusedError, WireTypeError
from shared.structs.kv import LOCK, KVSRequest
from shared.structs.registration import prepare_deregister, prepare_register
from shared.structs.schema import Struct
from shared.wire import rpc

_log = get_logger("agent.server.rpc")

OnDone = Callable[[bytes | None], None]
"""Called once with the encoded response; with None if the call has to take the other way, nothing having happened."""


class DirectWrites:
    """One per process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._kinds: dict[str, Callable[[Any], Struct | None]] = {
            "KVS.Apply": _kv,
            "Catalog.Register": _register,
            "Catalog.Deregister": _deregister,
        }

    def begin(self, call: rpc.Request, on_done: OnDone) -> bool:
        """Start a call; False, and nothing is called, if it has to take the other way."""
        kind = self._kinds.get(call.method)
        core = self._core
        if kind is None or not core.router.leads():
            return False
        try:
            args = kind(call.body)
            if args is None or getattr(args, "datacenter", None) != core.config.datacenter:
                return False
            command = encode(args)
        except (WireTypeError, RefusedError):
            return False
        except Exception as error:  # whatever it was, the other way meets it too, and knows what to say
            _log.error("RPC failed", method=call.method, error=repr(error))
            return False
        started = monotonic()

        def applied(value: Any, error: IpcError | None) -> None:
            if isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"):
                on_done(None)
                return
            metrics.incr("consul.rpc.request")
            if error is not None:
                on_done(rpc.encode_error(call.seq, call.method, str(from_neighbour(error))))
                return
            metrics.sample(f"consul.{call.method.lower()}", (monotonic() - started) * 1000)
            on_done(rpc.encode_response(call.seq, call.method, _result(args, value[1])))

        core.raft.post("Raft.Apply", command, applied, timeout_s=APPLY_TIMEOUT_S)
        return True


def _kv(body: Any) -> Struct | None:
    args = KVSRequest.from_wire(body)
    may_fail = args.op == LOCK or args.op not in KNOWN_OPS or not args.dir_ent.key
    return None if may_fail else args


def _register(body: Any) -> Struct | None:
    args = RegisterRequest.from_wire(body)
    prepare_register(args)
    return args


def _deregister(body: Any) -> Struct | None:
    args = DeregisterRequest.from_wire(body)
    prepare_deregister(args)
    return args


def _result(args: Struct, result: Any) -> Any:
    """What the method answers, as its handler does."""
    if not isinstance(args, KVSRequest):
        return {}
    return result if isinstance(result, bool) else False
