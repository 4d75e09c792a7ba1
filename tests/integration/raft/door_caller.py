"""A gateway at the door of a raft_node, as tests need it."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections import deque
from typing import Any

import pytest
import trio

from shared.ipc import FrameDecoder, Link, RemoteError, frames
from shared.ipc.remote import LEAVING, VERSION
from shared.structs.commands import encode
from shared.structs.kv import DirEntry, KVSRequest
from tests.integration.raft.raft_process import (
    RaftProcess,
    apply,
)

LIMIT_S = 30.0
HELLO = (frames.HELLO, VERSION, "http_gateway")


class Caller:
    """A gateway at the door: one connection, which rpc_core has handed over."""

    def __init__(self, link: Link, source: str = "127.0.0.1:1") -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        with theirs:
            link.send_fds("Raft.Handoff", {"source": source, "door": True}, [theirs.fileno()])
        ours.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._decoder = FrameDecoder()
        self._frames: deque[frames.Frame] = deque()
        self._ids = itertools.count(1)
        self._answers: dict[int, Any] = {}
        self.is_leaving = False

    async def send(self, data: bytes | bytearray) -> None:
        """Whoever has closed the connection need not take it."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.send_all(data)

    async def end(self) -> None:
        """Nothing follows."""
        await self._stream.send_eof()

    async def next(self) -> frames.Frame | None:
        """The next frame, None at the end of the connection."""
        with trio.fail_after(LIMIT_S):
            while not self._frames:
                try:
                    data = await self._stream.receive_some(frames.READ_BYTES)
                except trio.BrokenResourceError:  # what it had not read when it closed
                    return None
                if not data:
                    return None
                self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    async def greet(self) -> Caller:
        await self.send(frames.encode(HELLO))
        assert await self.next() == [frames.HELLO, VERSION, "raft_node"]
        return self

    async def post(self, method: str, payload: Any = None) -> int:
        """Sends a call without waiting for its answer."""
        call_id = next(self._ids)
        await self.send(frames.encode((frames.CALL, call_id, method, 30_000, payload)))
        return call_id

    async def answer(self, call_id: int) -> Any:
        """Raises RemoteError."""
        while call_id not in self._answers:
            frame = await self.next()
            assert frame is not None, "the connection was closed"
            self.take(frame)
        value = self._answers.pop(call_id)
        if isinstance(value, RemoteError):
            raise value
        return value

    def take(self, frame: frames.Frame) -> None:
        match frame:
            case [frames.RESULT, call_id, value]:
                self._answers[call_id] = value
            case [frames.RESULTS, results]:
                self._answers.update((call_id, value) for call_id, value in results)
            case [frames.ERROR, call_id, code, message, data]:
                self._answers[call_id] = RemoteError(code, message, data)
            case [frames.EVENT, topic, None]:
                assert topic == LEAVING
                self.is_leaving = True
            case _:
                raise AssertionError(f"nothing that is said at the door: {frame}")

    async def call(self, method: str, payload: Any = None) -> Any:
        """Raises RemoteError."""
        return await self.answer(await self.post(method, payload))

    async def code(self, call_id: int) -> str:
        """Of the error that answers a call, "" for a result."""
        try:
            await self.answer(call_id)
        except RemoteError as error:
            return error.code
        return ""

    async def refusal(self, method: str, payload: Any = None) -> RemoteError:
        with pytest.raises(RemoteError) as caught:
            await self.call(method, payload)
        return caught.value

    async def wait_closed(self) -> list[frames.Frame]:
        """What else came before the connection was closed."""
        found = []
        while (frame := await self.next()) is not None:
            found.append(frame)
        return found


async def linked(nursery: trio.Nursery, process: RaftProcess) -> Link:
    """A link to a server that leads, and has a state store."""
    link = process.link()
    await nursery.start(link.run)
    await apply(link, "first", b"")
    return link


def kv(op: str, key: str, value: bytes | None = None, **fields: Any) -> bytes:
    return encode(KVSRequest("dc1", op, DirEntry(key=key, value=value, **fields)))
