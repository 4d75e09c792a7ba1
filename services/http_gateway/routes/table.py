"""The table of endpoints: one for the lane and for the ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.http_gateway.call import Call
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.message import Request
    from services.http_gateway.streaming import Stream

Handler = Callable[["Call"], Any]
SlowHandler = Callable[["Call", "Stream"], Awaitable[None]]


class Route:
    """pattern: a path, or a prefix if it ends in a slash. methods: without OPTIONS. stream: a coroutine
    function for answers that take time, run in a task instead of `handler`. takes_large: the handler judges the
    size of bodies itself."""

    __slots__ = ("allow", "handler", "methods", "metric", "pattern", "stream", "takes_large")

    def __init__(
        self,
        pattern: str,
        methods: str,
        handler: Handler | None,
        *,
        stream: SlowHandler | None = None,
        takes_large: bool = False,
    ) -> None:
        self.pattern, self.handler, self.stream, self.takes_large = pattern, handler, stream, takes_large
        self.methods = tuple(methods.split())
        self.allow = ",".join(("OPTIONS", *self.methods))
        parts = pattern.split("/")[1:]
        self.metric = ".".join(part or "_" for part in parts)


class Routes:
    """Longest match wins, as in Go's ServeMux. fast_get, fast_put: answer a plain request below /v1/kv/, or leave it
    and return False; page: answers what lies below the UI path."""

    def __init__(
        self,
        routes: list[Route],
        fast_get: Callable[[Gateway, Request], bool],
        fast_put: Callable[[Gateway, Request], bool],
        page: Callable[[Gateway, Request], None],
    ) -> None:
        self.patterns = {route.pattern: route for route in routes}
        self.fast_get, self.fast_put, self.page = fast_get, fast_put, page

    def find(self, path: str) -> Route | None:
        route = self.patterns.get(path)
        at = len(path)
        while route is None and at > 0:
            at = path.rfind("/", 0, at)
            route = self.patterns.get(path[: at + 1])
        return route
