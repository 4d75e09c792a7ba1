"""What can go wrong between two processes of one agent."""

from __future__ import annotations

from typing import Any


class IpcError(Exception):
    """Any failure of a local call. `code` is a stable word, the message is for people."""

    code = "internal"


class RemoteError(IpcError):
    """The neighbour answered with an error.

    code: `rpc` (the message is the exact text for the client), `not_leader`, `no_leader`, `rate_limited`,
    `bad_request`, `unavailable`, `timeout`, `internal`, or `unknown_method`.
    data: extra facts, e.g. {"leader": "10.0.0.1:8300"} for `not_leader`; None if there are none.
    """

    def __init__(self, code: str, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class ConnectionLostError(IpcError):
    """The neighbour went away after the call may have reached it: the outcome is unknown."""

    code = "connection_lost"

    def __init__(self, neighbour: str, method: str) -> None:
        super().__init__(f"lost the connection to {neighbour} during {method}; the outcome is unknown")


class DeadlineError(IpcError):
    """No answer before the deadline. sent: the call may have reached the neighbour. harmless: it changes nothing."""

    code = "timeout"

    def __init__(self, neighbour: str, method: str, *, sent: bool, harmless: bool = False) -> None:
        self.sent = sent
        why = "did not answer in time" if sent else "is not reachable; is the process running?"
        if sent and not harmless:
            why += "; the outcome is unknown"
        super().__init__(f"{method}: {neighbour} {why}")


class BusyError(IpcError):
    """Too much is already on its way to this neighbour: back off and try again."""

    code = "busy"

    def __init__(self, neighbour: str, method: str) -> None:
        super().__init__(f"{method}: too many calls are waiting for {neighbour}")


class ProtocolError(IpcError):
    """The bytes on the socket are no frames of this protocol version."""

    code = "protocol"


class SocketPathError(IpcError):
    """A Unix socket cannot be bound or has an impossible path."""

    code = "socket_path"
