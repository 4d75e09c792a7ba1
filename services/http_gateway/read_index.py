"""How far is the leader? What a follower's rounds ask, at the door of the leader's raft_node or by rpc_core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.rounds import is_unknown_method
from shared.ipc.calls import OnDone
from shared.ipc.errors import IpcError, RemoteError

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway

METHOD: Final = "Proconsul.ReadIndex"
_LEASE: Final = ("Raft.LeaseIndex", None)


def ask_leader(gateway: Gateway, consistent: bool, on_done: OnDone) -> None:
    """on_done is called with a Raft index. consistent: confirmed by a quorum, otherwise by the leader's lease."""
    leadership = gateway.moment.page.read()
    leader = leadership.leader_address

    def answered(index: Any, error: IpcError | None) -> None:
        if is_unknown_method(error):
            gateway.leader_without_index = leader
        if error is None and type(index) is not int:
            error = RemoteError("rpc", "rpc error making call: the answer is no index")
        on_done(index, error)

    def by_rpc_core(timeout_s: float) -> None:
        payload = {"Datacenter": gateway.config.datacenter, "RequireConsistent": consistent}
        gateway.rpc.post(METHOD, payload, answered, timeout_s=timeout_s, retry_safe=True)

    # The term is read after the reads came: it is this server's own confirmation that nobody else led before them. What
    # a raft_node has left there that runs no more may be from before a power cut.
    method, payload = ("Raft.ReadIndex", [gateway.config.raft_id, leadership.term]) if consistent else _LEASE
    door, timeout_s = gateway.door, gateway.rpc_timeout_s
    if not (
        door is not None
        and gateway.links.raft.connected
        and door.post(method, payload, answered, by_rpc_core, timeout_s=timeout_s, repeatable=True)
    ):
        by_rpc_core(timeout_s)
