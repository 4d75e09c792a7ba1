"""Streams: answers whose parts come over time, for handlers that run in a task of their own."""

from __future__ import annotations

from typing import Protocol

import trio

from services.http_gateway.go_http import LAST_CHUNK, DateLine, chunk, render_stream_head
from services.http_gateway.lane.connection import Connection
from services.http_gateway.lane.loop import Lane
from services.http_gateway.message import Request, Response

_UNSENT_BYTES_MAX = 256 * 1024


class Stream(Protocol):
    """Where a streaming handler writes to."""

    @property
    def started(self) -> bool:
        """Whether the head is out; before that an error can still be answered as such."""

    async def start(self, response: Response) -> None:
        """Send the head; the response's body is not looked at."""

    async def send(self, data: bytes) -> None:
        """Send a part. Waits while the client is behind."""


class LaneStream:
    """A stream on a connection of the lane. Cancels `scope` when the client has gone, or sends no more."""

    def __init__(self, request: Request, date: DateLine, lane: Lane, scope: trio.CancelScope) -> None:
        self._request, self._date, self._lane = request, date, lane
        self.started = False
        request.on_abandon = scope.cancel
        request.on_hurry = scope.cancel

    async def start(self, response: Response) -> None:
        self.started = True
        self._request.channel.stream(self._request, render_stream_head(self._request, response, self._date.text()))
        await trio.lowlevel.checkpoint()

    async def send(self, data: bytes) -> None:
        request = self._request
        if data:
            request.channel.stream(request, chunk(data) if request.version == 11 else data)
        await trio.lowlevel.checkpoint()
        connection = request.channel
        if isinstance(connection, Connection):
            while not request.abandoned and (
                self._lane.unsent_bytes(connection) > _UNSENT_BYTES_MAX
                or sum(map(len, request.backlog or ())) > _UNSENT_BYTES_MAX
            ):
                await self._lane.wait_sent(connection)

    def end(self) -> None:
        """The handler is done, or was cancelled: end the answer, without which the connection would stay for ever."""
        request = self._request
        request.channel.finish(request, LAST_CHUNK if self.started and request.version == 11 else b"")
