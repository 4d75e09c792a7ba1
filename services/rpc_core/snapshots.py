"""Snapshots for users: where a save or restore is done, and what this server does for it.

As with Consul's SnapshotRPC: another datacenter and a follower pass the request on to where it can be served; a
stale save is served by any server. The archive travels as a file of the agent's spool: the caller makes it, saving
fills it, restoring reads it, so that nothing of its size is ever in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import NoLeaderError, NoPathToDatacenterError, RpcError, from_neighbour
from shared.ipc import IpcError, RemoteError, Request, Server
from shared.spool import Spool, SpoolFile
from shared.state.leadership import LEADER
from shared.structs.query import QueryMeta
from shared.structs.schema import BOOL, INT, STR, Struct, attr

SAVE, RESTORE = 0, 1
SAVE_TIMEOUT_S = 600.0
RESTORE_TIMEOUT_S = 600.0
BARRIER_TIMEOUT_S = 120.0
REASSERT_TIMEOUT_S = 60.0


class SnapshotRequest(Struct):
    """What stands before the archive on the wire. op: SAVE or RESTORE."""

    datacenter: str = attr("Datacenter", STR)
    token: str = attr("Token", STR)
    allow_stale: bool = attr("AllowStale", BOOL)
    op: int = attr("Op", INT)


PassOn = Callable[[str, SnapshotRequest, str], Awaitable[QueryMeta]]
"""Ask the server at an address; the archive goes from or into the file at a path. Raises RpcError."""


@dataclass(frozen=True, slots=True)
class _Metadata:
    """Of an archive, as far as it matters here."""

    version: int
    index: int
    size: int


class Snapshots:
    """One per server. `reassert` makes the leader begin its office anew."""

    def __init__(self, core: Core, pass_on: PassOn, reassert: Callable[[], Awaitable[None]]) -> None:
        self._core = core
        self._pass_on = pass_on
        self._reassert = reassert
        self.spool = Spool(core.config.data_dir or core.config.run_dir, "rpc_core")

    def serve(self, server: Server) -> None:
        server.slow("Agent.Snapshot", self._local)

    async def _local(self, request: Request) -> dict[str, Any]:
        """Payload: a SnapshotRequest in wire form and `path`, that of the archive. The reply is a QueryMeta."""
        try:
            args = SnapshotRequest.from_wire(request.payload)
            return (await self.perform(args, request.payload["path"])).to_wire()
        except RpcError as error:
            raise RemoteError(error.code, str(error)) from None

    async def perform(self, args: SnapshotRequest, path: str) -> QueryMeta:
        """Save into, or restore from, the archive at `path`. Raises RpcError."""
        if args.datacenter != self._core.config.datacenter:
            raise NoPathToDatacenterError
        leadership = self._core.router.leadership()
        if not args.allow_stale and leadership.role != LEADER:
            if not leadership.leader_address:
                raise NoLeaderError
            return await self._pass_on(leadership.leader_address, args, path)
        try:
            if args.op == SAVE:
                return await self._save(args, path)
            if args.op == RESTORE:
                return await self._restore(args, path)
        except IpcError as error:
            raise from_neighbour(error) from None
        raise RpcError(f"unrecognized snapshot op {args.op}")

    # -- save ----------------------------------------------------------------------------------------

    async def _save(self, args: SnapshotRequest, path: str) -> QueryMeta:
        core = self._core
        if not args.allow_stale:
            await core.confirm_leadership()
        meta = core.query_meta(0)  # before: what is newer than this is at most in the snapshot as well
        saved = await core.raft.call("Raft.SaveSnapshot", {"path": path}, timeout_s=SAVE_TIMEOUT_S)
        meta.index = saved["index"]
        return meta

    # -- restore -------------------------------------------------------------------------------------

    async def _restore(self, args: SnapshotRequest, path: str) -> QueryMeta:
        if args.allow_stale:
            raise RpcError("stale not allowed for restore")
        core = self._core
        try:
            state = self.spool.create()
        except OSError as error:
            raise RpcError(f"failed to create temp snapshot file: {error.strerror}") from None
        with state:
            metadata = await trio.to_thread.run_sync(_unpack, path, state)
            payload = {
                "path": state.path,
                "version": metadata.version,
                "index": metadata.index,
                "size": metadata.size,
            }
            await core.raft.call("Raft.RestoreSnapshot", payload, timeout_s=RESTORE_TIMEOUT_S)
        await core.raft.call("Raft.Barrier", timeout_s=BARRIER_TIMEOUT_S)
        with trio.move_on_after(REASSERT_TIMEOUT_S) as scope:
            await self._reassert()
        if scope.cancelled_caught:
            raise RpcError("timed out waiting for re-run of leader actions")
        return QueryMeta()


def _unpack(path: str, state: SpoolFile) -> _Metadata:
    """In a thread: the archive at `path`, checked, its state in `state`. Raises RpcError."""
    from shared.snapshot_archive import ArchiveError, read

    try:
        with open(path, "rb") as archive:
            document = read(archive, state.file.write)
        state.file.flush()
    except ArchiveError as error:
        raise RpcError(str(error)) from None
    except OSError as error:
        reason = f"failed to read or write snapshot data: {error.strerror or error}"
        raise RpcError(f"failed to read snapshot file: {reason}") from None
    numbers = [document.get(name, 0) for name in ("Version", "Index", "Size")]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        raise RpcError("failed to read snapshot file: failed to decode snapshot metadata: a number is none")
    return _Metadata(*numbers)
