"""Local IPC: how the processes of one agent talk. msgpack frames over Unix stream sockets, and nothing else.

Link(path, name=...)       client side: `await link.call(...)`, `link.post(...)` for lanes, streams, topics
Server(path, name=...)     server side: `fast`, `slow` and `stream` handlers, `publish` to subscribers
Request                    one incoming call: .payload .deadline .peer .fds, .reply(value) / .fail(code, text)
Together                   results of many calls that leave in one frame
IpcError and its children  RemoteError, ConnectionLostError, DeadlineError, BusyError, ProtocolError, SocketPathError
FrameDecoder, frames       the codec, for tests

What is promised: a call ends exactly once, with a value or an `IpcError`, at the latest at its deadline.
A neighbour that is away is waited for; a call that may have reached a neighbour which then died is sent again
only if the caller said that this is safe, and otherwise ends as `ConnectionLostError`: outcome unknown.
"""

from shared.ipc.errors import (
    BusyError,
    ConnectionLostError,
    DeadlineError,
    IpcError,
    ProtocolError,
    RemoteError,
    SocketPathError,
)
from shared.ipc.frames import FrameDecoder
from shared.ipc.link import Link
from shared.ipc.server import Server
from shared.ipc.serving import Request
from shared.ipc.together import Together
from shared.ipc.transport import Peer

__all__ = [
    "BusyError",
    "ConnectionLostError",
    "DeadlineError",
    "FrameDecoder",
    "IpcError",
    "Link",
    "Peer",
    "ProtocolError",
    "RemoteError",
    "Request",
    "Server",
    "SocketPathError",
    "Together",
]
