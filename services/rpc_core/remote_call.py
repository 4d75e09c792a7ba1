"""One call to another server over its RPC port, on a connection of its own: for what is asked once in a while."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.errors import RpcError
from services.rpc_core.wire import rpc
from shared.config.runtime import split_host_port

RPC_BYTE = b"\x00"
CONNECT_TIMEOUT_S = 10.0
CHUNK_BYTES = 1 << 16


async def call_server(address: str, method: str, body: Any, *, timeout_s: float) -> Any:
    """The reply of the server at `address` ("ip:port"). Raises RpcError, also with the server's own text."""
    host, port = split_host_port(address)
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await trio.open_tcp_stream(host, port)
    except (OSError, trio.TooSlowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "i/o timeout"
        raise RpcError(f"rpc error getting client: failed to get conn: dial tcp {address}: {reason}") from None
    async with stream:
        try:
            with trio.fail_after(timeout_s):
                await stream.send_all(RPC_BYTE + rpc.encode_request(0, method, body))
                answer = await _answer(stream)
        except (trio.BrokenResourceError, trio.TooSlowError, rpc.WireError) as error:
            reason = "i/o timeout" if isinstance(error, trio.TooSlowError) else str(error) or "connection reset"
            raise RpcError(f"rpc error making call: {reason}") from None
    if answer.error:
        raise RpcError(f"rpc error making call: {answer.error}")
    return answer.body


async def _answer(stream: trio.SocketStream) -> rpc.Response:
    """The first answer that comes. Raises WireError."""
    decoder = rpc.ResponseDecoder()
    while data := bytes(await stream.receive_some(CHUNK_BYTES)):
        for response in decoder.feed(data):
            return response
    raise rpc.WireError("EOF")
