"""Connections of type 5 (snapshot save and restore): not served yet, and saying so in Consul's own frame."""

from __future__ import annotations

import trio

from services.rpc_core.wire import rpc

REQUEST_BYTES_MAX = 1 << 20
REQUEST_TIMEOUT_S = 10.0
NOT_SERVED = "snapshots are not served by this version"


async def refuse_snapshot(stream: trio.SocketStream) -> None:
    """Reads the request, answers with an error, and drains what a restore sends behind it."""
    response = {
        "Error": NOT_SERVED,
        "Index": 0,
        "LastContact": 0,
        "KnownLeader": False,
        "ConsistencyLevel": "",
    }
    with trio.move_on_after(REQUEST_TIMEOUT_S):
        received = len(await stream.receive_some(1 << 16))
        if not received:
            return
        await stream.send_all(rpc.pack(response))
        await stream.send_eof()
        while received < REQUEST_BYTES_MAX and (data := await stream.receive_some(1 << 16)):
            received += len(data)
