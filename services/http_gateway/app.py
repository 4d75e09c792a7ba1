"""The same endpoints as an ASGI application (Quart on trio): the door for HTTPS and HTTP/2.

Imported only where such a listener is configured: Quart and Hypercorn cost more memory than the whole lane. No
handler is written twice: this door makes a `Request`, runs it through the gateway, and gives the answer to Quart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import quart
import trio
from quart_trio import QuartTrio

from services.http_gateway.call import Call
from services.http_gateway.errors import HttpError
from services.http_gateway.gateway import Gateway
from services.http_gateway.go_http import PLAIN_TEXT, compress
from services.http_gateway.lane.connection import ConnectionLimits
from services.http_gateway.lane.head import accepts_gzip
from services.http_gateway.message import Request, Response, TargetError

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
_STREAM_PARTS_MAX = 64


class _NoChannel:
    """Answers of this door are taken by `on_response`; nothing is written as bytes."""

    def finish(self, request: Request, data: bytes) -> None:
        raise AssertionError("an ASGI request has no byte channel")

    stream = finish


class _AppStream:
    """A streamed answer: the handler writes into a bounded channel, Quart reads from it."""

    def __init__(self) -> None:
        self.started = False
        self.response: Response | None = None
        self.head = trio.Event()
        self.parts, self.reader = trio.open_memory_channel[bytes](_STREAM_PARTS_MAX)

    async def start(self, response: Response) -> None:
        self.started, self.response = True, response
        self.head.set()
        await trio.lowlevel.checkpoint()

    async def send(self, data: bytes) -> None:
        await self.parts.send(data)


class Door:
    """One per process. `nursery` runs the streams."""

    def __init__(self, gateway: Gateway, limits: ConnectionLimits, nursery: trio.Nursery) -> None:
        self._gateway, self._limits, self._nursery = gateway, limits, nursery
        self.app = QuartTrio("services.http_gateway", static_folder=None)
        self.app.config["MAX_CONTENT_LENGTH"] = limits.body_bytes_max
        self.app.config["BODY_TIMEOUT"] = limits.body_timeout_s
        # Routing is the gateway's: one rule takes every path as it is.
        self.app.url_map.strict_slashes = False
        self.app.url_map.merge_slashes = False
        for rule in ("/", "/<path:_path>"):
            self.app.add_url_rule(
                rule,
                endpoint=f"door {rule}",
                view_func=self._serve,
                methods=list(_METHODS),
                provide_automatic_options=False,
            )

    async def _serve(self, _path: str = "") -> quart.Response:
        incoming = quart.request
        target = incoming.scope["raw_path"].decode("ascii")
        if incoming.query_string:
            target += "?" + incoming.query_string.decode("ascii")
        fields: dict[str, str] = {}
        for name, value in incoming.headers:
            fields.setdefault(name.lower(), value)
        client = incoming.scope.get("client") or ("", 0)
        try:
            request = Request(
                _NoChannel(),
                incoming.method,
                target,
                fields,
                remote=f"{client[0]}:{client[1]}",
                gzip=accepts_gzip(fields.get("accept-encoding", "")),
            )
        except TargetError:
            return quart.Response("400 Bad Request", 400, content_type=PLAIN_TEXT)
        request.started_s = trio.current_time()
        await self._read_body(request, int(fields.get("content-length", "0") or 0))
        return await self._answer(request)

    async def _read_body(self, request: Request, announced: int) -> None:
        limit = self._limits.value_bytes_max if request.path.startswith("/v1/kv/") else self._limits.body_bytes_max
        request.content_length = announced
        if announced > limit:
            request.body_complete = False
            return
        parts, size = [], 0
        async for part in quart.request.body:
            size += len(part)
            if size > limit:
                request.body_complete, request.content_length = False, -1
                return
            parts.append(part)
        request.body = b"".join(parts)
        request.content_length = size

    async def _answer(self, request: Request) -> quart.Response:
        done = trio.Event()
        answers: list[Response] = []

        def take(response: Response) -> None:
            answers.append(response)
            done.set()

        request.on_response = take
        stream = _AppStream()
        gateway = self._gateway
        gateway.begin_batch()
        try:
            gateway.handle(request, slow=lambda call: self._nursery.start_soon(self._stream, call, stream))
        finally:
            gateway.end_batch()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_first_of, done, nursery.cancel_scope)
                nursery.start_soon(_first_of, stream.head, nursery.cancel_scope)
        except trio.Cancelled:
            request.abandon()
            raise
        if stream.response is not None:
            return quart.Response(_parts(stream), 200, headers=stream.response.headers)
        return _as_quart(request, answers[0])

    async def _stream(self, call: Call, stream: _AppStream) -> None:
        with trio.CancelScope() as scope:
            call.request.on_abandon = scope.cancel
            try:
                assert call.route.stream is not None
                await call.route.stream(call, stream)
            except HttpError as error:
                call.failed(error)
            except trio.BrokenResourceError:
                pass  # the client has gone
            except Exception as error:  # as for every handler: one broken answer, not a broken process
                self._gateway.failed_badly(call, error)
        stream.parts.close()


async def _first_of(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _parts(stream: _AppStream) -> AsyncIterator[bytes]:
    try:
        async for part in stream.reader:
            yield part
    finally:
        stream.reader.close()


def _as_quart(request: Request, response: Response) -> quart.Response:
    headers, body = dict(response.headers), response.body
    if body and "Content-Type" not in headers:
        headers["Content-Type"] = PLAIN_TEXT
    if request.gzip and body and "Vary" in headers:
        body = compress(body)
        headers["Content-Encoding"] = "gzip"
    headers.pop("Content-Length", None)
    made = quart.Response(body, response.status, headers=headers)
    if "Content-Type" not in headers:
        made.headers.pop("Content-Type", None)
    return made
