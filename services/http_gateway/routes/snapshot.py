"""/v1/snapshot: the state of the servers as one archive, saved and restored.

The archive goes through a file of the spool that rpc_core reads or writes itself: nothing of its size is in memory
here, and a client that is slow holds up nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.call import Call
from services.http_gateway.errors import HttpError, as_http_error
from services.http_gateway.message import Response
from services.http_gateway.reads import Meta
from services.http_gateway.routes.table import Route
from shared.ipc.errors import IpcError

if TYPE_CHECKING:
    from services.http_gateway.streaming import Stream

_SAVE, _RESTORE = 0, 1
_TIMEOUT_S = 900.0
_PART_BYTES = 64 << 10
_ARCHIVE: Final = "application/x-gzip"


async def snapshot(call: Call, stream: Stream) -> None:
    if call.request.method == "PUT":
        await _restore(call)
    else:
        await _save(call, stream)


async def _save(call: Call, stream: Stream) -> None:
    try:
        archive = call.gateway.spool.create()
    except OSError as error:
        raise HttpError(f"failed to create snapshot file: {error.strerror}") from None
    with archive:
        meta = await _perform(call, _SAVE, archive.path)
        shown = Meta(int(meta["Index"]), int(meta["LastContact"]) // 1_000_000, bool(meta["KnownLeader"]))
        call.headers.update(shown.headers())
        await stream.start(Response(200, {**call.headers, "Content-Type": _ARCHIVE}))
        offset = 0
        while part := os.pread(archive.file.fileno(), _PART_BYTES, offset):
            await stream.send(part)
            offset += len(part)


async def _restore(call: Call) -> None:
    body = getattr(call.request, "spooled", None)
    if body is None:  # there is none, or it came through a door that keeps bodies in memory
        try:
            with call.gateway.spool.create() as archive:
                archive.file.write(call.request.body)
                archive.file.flush()
                await _perform(call, _RESTORE, archive.path)
        except OSError as error:
            raise HttpError(f"failed to create temp snapshot file: {error.strerror}") from None
    elif body.error:
        raise HttpError(f"failed to read snapshot file: failed to read or write snapshot data: {body.error}")
    else:
        try:
            await _perform(call, _RESTORE, body.path)
        finally:
            body.remove()
    call.done(None)


async def _perform(call: Call, operation: int, path: str) -> Any:
    payload = {
        "Datacenter": call.datacenter(),
        "Token": call.token(),
        "AllowStale": "stale" in call.request.query,
        "Op": operation,
        "path": path,
    }
    try:
        return await call.gateway.rpc.call("Agent.Snapshot", payload, timeout_s=_TIMEOUT_S)
    except IpcError as error:
        raise as_http_error(error) from None


ROUTES = [Route("/v1/snapshot", "GET PUT", None, stream=snapshot)]
