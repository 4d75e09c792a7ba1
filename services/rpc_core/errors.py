"""What an RPC can fail with. The texts are Consul's: clients compare them."""

from __future__ import annotations

from shared.ipc import BusyError, ConnectionLostError, DeadlineError, IpcError, RemoteError


class RpcError(Exception):
    """A call failed, and the text is exactly what the caller must see."""

    code = "rpc"
    """The code under which local callers get it."""


class NoLeaderError(RpcError):
    """There is no leader, or none that answers: trying again later may work, nothing was changed."""

    code = "no_leader"

    def __init__(self) -> None:
        super().__init__("No cluster leader")


class ElsewhereError(NoLeaderError):
    """Only the leader can answer, and this server is not it. address: the leader's RPC address, "" if none is known."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address


class NoPathToDatacenterError(RpcError):
    def __init__(self) -> None:
        super().__init__("No path to datacenter")


class NoServersError(RpcError):
    """A client agent knows of no server."""

    def __init__(self) -> None:
        super().__init__("No known Consul servers")


class NotReadyError(RpcError):
    def __init__(self) -> None:
        super().__init__("Not ready to serve consistent reads")


class RateExceededError(RpcError):
    code = "rate_limited"

    def __init__(self) -> None:
        super().__init__("RPC rate limit exceeded")


class MalformedCallError(RpcError):
    """The call itself cannot be understood; on the wire its stream is closed after the answer."""

    code = "bad_request"


def from_neighbour(error: IpcError) -> RpcError:
    """What a caller is told when raft_node or gossip could not do its part."""
    if isinstance(error, RemoteError):
        if error.code in ("no_leader", "not_leader"):
            return NoLeaderError()
        return RpcError(str(error))
    if isinstance(error, ConnectionLostError):
        return RpcError("leadership lost while committing log")
    if isinstance(error, DeadlineError | BusyError):
        return RpcError("timed out enqueuing operation")
    return RpcError(str(error))
