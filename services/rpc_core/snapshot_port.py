"""Connections of type 5: a snapshot request and its archive over the RPC port, from either side.

client -> server   SnapshotRequest (msgpack), the archive if it is a restore, end of the sending side
server -> client   {Error, Index, LastContact, KnownLeader, ConsistencyLevel}, the archive if it is a save"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import IO, Any

import msgpack
import trio

from services.rpc_core.errors import RpcError
from services.rpc_core.snapshots import RESTORE, SAVE, SnapshotRequest, Snapshots
from shared.log import get_logger
from shared.server_rpc.errors import DialError
from shared.spool import room_bytes
from shared.structs.errors import WireTypeError
from shared.structs.query import QueryMeta
from shared.wire import rpc

_log = get_logger("agent.server")

SNAPSHOT_BYTE = b"\x05"
HEADER_BYTES_MAX = 1 << 20
STALL_TIMEOUT_S = 60.0
"""A peer that sends or takes nothing for so long has gone."""
ANSWER_TIMEOUT_S = 900.0
CHUNK_BYTES = 1 << 16

Dial = Callable[[str], Awaitable[trio.SocketStream]]
"""Connects to an address. Raises DialError."""


class _HeaderError(Exception):
    """What came is no header."""


class _Incoming:
    """One msgpack value at the front of a stream, and the bytes behind it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = b""

    async def header(self, timeout_s: float) -> Any:
        """Raises _HeaderError."""
        decoder = msgpack.Unpacker(
            raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=2 * HEADER_BYTES_MAX
        )
        received = b""
        with trio.move_on_after(timeout_s):
            while len(received) < HEADER_BYTES_MAX:
                data = bytes(await self._stream.receive_some(CHUNK_BYTES))
                if not data:
                    raise _HeaderError("EOF" if not received else "unexpected EOF")
                received += data
                decoder.feed(data)
                try:
                    value = decoder.unpack()
                except msgpack.OutOfData:
                    continue
                except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
                    raise _HeaderError(str(error) or type(error).__name__) from None
                self._rest = received[decoder.tell() :]
                return value
            raise _HeaderError("the header is too long")
        raise _HeaderError("i/o timeout")

    async def body_into(self, target: IO[bytes]) -> None:
        """Everything up to the end of the stream. Raises OSError, also for more than there is room for, and
        trio.TooSlowError."""
        data, room = self._rest, room_bytes(target)
        while True:
            room -= len(data)
            if room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC).lower())
            target.write(data)
            with trio.fail_after(STALL_TIMEOUT_S):
                data = bytes(await self._stream.receive_some(CHUNK_BYTES))
            if not data:
                target.flush()
                return


async def serve(snapshots: Snapshots, stream: trio.SocketStream) -> None:
    """Serves one connection whose first byte was read."""
    incoming = _Incoming(stream)
    try:
        args = SnapshotRequest.from_wire(await incoming.header(STALL_TIMEOUT_S))
    except (_HeaderError, WireTypeError, trio.BrokenResourceError) as error:
        _log.error("Snapshot RPC error", error=f"failed to decode request: {error}")
        return
    meta, problem = QueryMeta(), ""
    try:
        with snapshots.spool.create() as archive:
            try:
                if args.op == RESTORE:
                    await incoming.body_into(archive.file)
                meta = await snapshots.perform(args, archive.path)
            except RpcError as error:
                problem = str(error)
            await _send(stream, rpc.pack({"Error": problem, **meta.to_wire()}))
            if args.op == SAVE and not problem:
                await _send_file(stream, archive.path)
        with trio.fail_after(STALL_TIMEOUT_S):
            await stream.send_eof()
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        _log.error("Snapshot RPC error", error=f"failed to stream snapshot: {str(error) or 'i/o timeout'}")


async def ask_server(dial: Dial, address: str, args: SnapshotRequest, path: str) -> QueryMeta:
    """Have the server at `address` ("ip:port") do it; the archive comes from, or goes into, the file at `path`.

    Raises RpcError."""
    try:
        stream = await dial(address)
    except DialError as error:
        raise RpcError(error.reason) from None
    async with stream:
        try:
            await _send(stream, SNAPSHOT_BYTE + rpc.pack(args.to_wire()))
            if args.op == RESTORE:
                await _send_file(stream, path)
            await stream.send_eof()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise RpcError(f"failed to copy snapshot in: {str(error) or 'i/o timeout'}") from None
        return await _take_answer(_Incoming(stream), args, path)


async def _take_answer(incoming: _Incoming, args: SnapshotRequest, path: str) -> QueryMeta:
    try:
        header = await incoming.header(ANSWER_TIMEOUT_S)
        meta = QueryMeta.from_wire(header)
    except (_HeaderError, WireTypeError, trio.BrokenResourceError) as error:
        raise RpcError(f"failed to decode response: {error}") from None
    if header.get("Error"):
        raise RpcError(str(header["Error"]))
    if args.op == SAVE:
        try:
            with _opened(path) as file:
                await incoming.body_into(file)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            raise RpcError(f"failed to stream snapshot: {str(error) or 'i/o timeout'}") from None
    return meta


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    with trio.fail_after(STALL_TIMEOUT_S):
        await stream.send_all(data)


async def _send_file(stream: trio.SocketStream, path: str) -> None:
    with _opened(path) as file:
        while data := file.read(CHUNK_BYTES):
            await _send(stream, data)


def _opened(path: str) -> IO[bytes]:
    """Reads and writes of a file in the page cache are too short to be worth a thread each."""
    return open(path, "r+b")
