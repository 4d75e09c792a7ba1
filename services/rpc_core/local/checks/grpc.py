"""gRPC checks: passing if the health service says that the server, or one service of it, is serving."""

from __future__ import annotations

import trio

from services.rpc_core.local.checks.dial import DialError, dial_tcp
from services.rpc_core.local.checks.grpc_call import (
    DEADLINE_EXCEEDED,
    UNAVAILABLE,
    GrpcError,
    HealthCall,
    NoMessageError,
)
from services.rpc_core.local.checks.periodic import Result
from services.rpc_core.local.checks.tcp import timeout_s
from services.rpc_core.local.checks.tls import CheckTls, TlsError, start_tls
from shared.gotext.quoting import quote
from shared.structs.catalog import CRITICAL, PASSING
from shared.structs.proxy import CheckType

READ_BYTES = 65536


class GrpcProbe:
    """Calls the server of one check. The target is server[/service]; tls: None for plain text."""

    def __init__(self, check: CheckType, tls: CheckTls | None) -> None:
        self._check, self._tls = check, tls

    async def __call__(self) -> Result:
        check = self._check
        target = check.proxy_grpc or check.grpc
        try:
            with trio.fail_after(timeout_s(check)):
                serving = await self._ask(target.partition("/")[0], check.grpc.partition("/")[2])
        except trio.TooSlowError:
            return Result(CRITICAL, str(GrpcError(DEADLINE_EXCEEDED, "context deadline exceeded")))
        except (GrpcError, NoMessageError) as error:
            return Result(CRITICAL, str(error))
        if not serving:
            return Result(CRITICAL, "gRPC application didn't report service healthy")
        return Result(PASSING, f"gRPC check {target}: success")

    async def _ask(self, server: str, service: str) -> bool:
        """Raises GrpcError, NoMessageError."""
        left_s = trio.current_effective_deadline() - trio.current_time()
        # Told apart from the deadline of the whole call, which is what counts when both have passed.
        try:
            stream: trio.abc.Stream = await dial_tcp(server, left_s + 1)
        except DialError as error:
            raise _unavailable(f"transport: Error while dialing {error}") from None
        if self._tls is not None:
            assert isinstance(stream, trio.SocketStream)
            try:
                stream = await start_tls(stream, self._tls, server.rpartition(":")[0].strip("[]"))
            except TlsError as error:
                raise _unavailable(f"transport: authentication handshake failed: {error}") from None
        try:
            call = HealthCall(server, service, secure=self._tls is not None, timeout_s=left_s)
            return await _talk(stream, call)
        finally:
            await trio.aclose_forcefully(stream)


async def _talk(stream: trio.abc.Stream, call: HealthCall) -> bool:
    """Raises GrpcError, NoMessageError."""
    to_send = call.start()
    while not call.done:
        try:
            if to_send:
                await stream.send_all(to_send)
            data = await stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError:
            data = b""
        to_send = call.receive(bytes(data))
    return call.serving


def _unavailable(reason: str) -> GrpcError:
    return GrpcError(UNAVAILABLE, f"connection error: desc = {quote(reason)}")
