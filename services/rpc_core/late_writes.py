"""Encoded writes that cannot go into the log here: on to the leader, or waiting for one.

An encoded request is on the wire what it is in the log after the type byte. While the leader is
known and connected, passing one on takes no task and no copy of the command; what that does not cover - no connection
yet, no leader, an answer after which the call may be repeated - gets a task."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from services.rpc_core.forwarding import may_repeat
from shared.ipc import Request
from shared.server_rpc.errors import ServerCallError
from shared.structs.commands import BOOL_OPS, CATALOG_METHODS, KVS

WAITING_MAX = 1024
"""How many may wait in tasks, and as many more to get one; further ones are refused."""


class _Write(NamedTuple):
    """method: of Consul. kind: the type byte in the log. has_result: whether the caller wants it; else True."""

    method: str
    kind: bytes
    encoded: bytes
    has_result: bool
    request: Request

    def reply(self, result: Any) -> None:
        self.request.reply(bool(result) if self.has_result else True)


class LateWrites:
    """One per process. `kv` and `catalog` take requests of the methods in `encoded_writes`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._in, self._out = trio.open_memory_channel[_Write](WAITING_MAX)

    def kv(self, request: Request) -> None:
        """Takes a KVS.ApplyEncoded; answers it later."""
        op, _, encoded = request.payload
        self._take(_Write("KVS.Apply", KVS, encoded, op in BOOL_OPS, request))

    def catalog(self, request: Request) -> None:
        """Takes a Catalog.ApplyEncoded; answers it later."""
        command = request.payload[0]
        self._take(_Write(CATALOG_METHODS[command[:1]], command[:1], command[1:], False, request))

    def _take(self, write: _Write) -> None:
        router, servers = self._core.router, self._core.servers
        leader = "" if router.leaving.is_set() else router.leader_elsewhere()
        if not (leader and servers.post(leader, write.method, write.encoded, partial(self._answered, write))):
            self._wait(write)

    def _answered(self, write: _Write, result: Any, error: ServerCallError | None) -> None:
        if error is None:
            write.reply(result)
        elif may_repeat(write.method, error):
            self._wait(write)
        else:
            write.request.fail("rpc", str(error))

    def _wait(self, write: _Write) -> None:
        try:
            self._in.send_nowait(write)
        except trio.WouldBlock:
            write.request.fail("unavailable", "too many writes are waiting for a leader")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Those that wait, each in a task, at most as long as their callers do."""
        room = trio.Semaphore(WAITING_MAX)
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for write in self._out:
                await room.acquire()
                nursery.start_soon(self._serve, write, room)

    async def _serve(self, write: _Write, room: trio.Semaphore) -> None:
        try:
            with trio.move_on_at(write.request.deadline):
                write.reply(await self._perform(write))
        except RpcError as error:
            write.request.fail(error.code, str(error))
        except Exception as error:  # as for every call: it must not end the others
            write.request.fail_with(error)
        finally:
            room.release()

    async def _perform(self, write: _Write) -> Any:
        core, method = self._core, write.method

        async def here() -> Any:
            await core.router.answer_here(method, core.config.datacenter)
            return await core.apply_command(write.kind + write.encoded)

        return await core.forwarder.answer(method, here, lambda: write.encoded)
