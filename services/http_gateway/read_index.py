"""How far is the leader? What a follower's rounds ask (Proconsul.ReadIndex), by the gateway's line or rpc_core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.rounds import is_unknown_method
from shared.ipc.calls import OnDone
from shared.ipc.errors import IpcError, RemoteError
from shared.structs.errors import WireTypeError
from shared.structs.wire import pack, unpack

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway

METHOD: Final = "Proconsul.ReadIndex"
_INDEX_BYTES_MAX: Final = 9


def ask_leader(gateway: Gateway, consistent: bool, on_done: OnDone) -> None:
    """on_done is called with a Raft index. consistent: with a round of heartbeats behind it."""
    leader = gateway.moment.leadership().leader_address

    def answered(index: Any, error: IpcError | None) -> None:
        if is_unknown_method(error):
            gateway.leader_without_index = leader
        if error is None and type(index) is not int:
            error = RemoteError("rpc", "rpc error making call: the answer is no index")
        on_done(index, error)

    def by_line(packed: Any, error: IpcError | None) -> None:
        answered(None if error is not None else _unpacked(packed), error)

    def by_rpc_core(timeout_s: float) -> None:
        gateway.rpc.post(METHOD, payload, answered, timeout_s=timeout_s, retry_safe=True)

    payload = {"Datacenter": gateway.config.datacenter, "RequireConsistent": consistent}
    line, timeout_s = gateway.line, gateway.rpc_timeout_s
    if line is None or not line.post(METHOD, pack(payload), by_line, by_rpc_core, timeout_s=timeout_s, repeatable=True):
        by_rpc_core(timeout_s)


def _unpacked(packed: bytes) -> Any:
    try:
        return unpack(packed) if len(packed) <= _INDEX_BYTES_MAX else None
    except WireTypeError:
        return None
