"""Call: one request on its way through a handler, and the means to answer it now or later.

A handler is a plain function of a Call. It returns what to answer (anything JSON, a Response, or None for an
empty 200), or LATER after arranging that `done` or `failed` is called, or raises an HttpError. So the same
handler serves the lane, which has no task per request, and the ASGI application, which has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from services.http_gateway.errors import BadRequestError, BareNotFoundError, HttpError, as_http_error, error_response
from services.http_gateway.go_http import true_answer
from services.http_gateway.message import Request, Response
from services.http_gateway.options import ReadOptions, parse_options, request_token
from shared import metrics
from shared.ipc.calls import OnDone
from shared.ipc.errors import IpcError
from shared.structs import gojson
from shared.structs.errors import JsonError

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.routes.table import Route
    from shared.metrics.lookups import Counter
    from shared.metrics.registry import Labels


VARY: Final = {"Vary": "Accept-Encoding"}
"""Header field of every API answer."""


class Later:
    """Type of LATER."""


LATER: Final = Later()
"""What a handler returns when the answer comes later."""


class Call:
    """`headers` go into the answer, whatever it is; `rest` is the path after the route's pattern."""

    __slots__ = ("counted", "gateway", "headers", "on_failure", "request", "route")

    def __init__(self, gateway: Gateway, request: Request, route: Route, headers: dict[str, str]) -> None:
        self.gateway, self.request, self.route, self.headers = gateway, request, route, headers
        self.on_failure: dict[str, str] = {}
        """Header fields of an error answer: some endpoints of Consul show zero metadata with an error."""
        self.counted: list[Counter] = []
        """What was counted for it, and has to be for every answer that is given in its place."""

    @property
    def rest(self) -> str:
        return self.request.path[len(self.route.pattern) :]

    def count(self, name: str, labels: Labels) -> None:
        metrics.incr(name, labels=labels)
        self.counted.append((name, labels))

    def options(self) -> ReadOptions:
        """The query options. Raises BadRequestError."""
        return parse_options(self.request, self.gateway.config)

    def token(self) -> str:
        return request_token(self.request, self.gateway.config)

    def datacenter(self) -> str:
        return self.request.first("dc") or self.gateway.config.datacenter

    def require_rest(self, what: str) -> str:
        """The path's last part. Raises BadRequestError `Missing <what>` if it is empty."""
        rest = self.rest
        if not rest:
            raise BadRequestError(f"Missing {what}")
        return rest

    def refuse_namespace(self) -> None:
        """Raises BadRequestError for the namespace parameter or header, which only Enterprise knows."""
        if self.request.header("x-consul-namespace"):
            raise BadRequestError(
                'Bad request: Invalid header: "X-Consul-Namespace" - Namespaces are a Consul Enterprise feature'
            )
        if self.request.raw_query and self.request.first("ns"):
            raise BadRequestError(
                'Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature'
            )

    def json_body(self) -> Any:
        """The body as parsed JSON. Raises JsonError."""
        return gojson.loads(self.request.body)

    # -- answers --------------------------------------------------------------------------------

    def done(self, result: Any) -> None:
        """Answer with what a handler may return."""
        if result is LATER:
            return
        if result is True and self._is_plain():
            self._done_plainly()
            return
        if isinstance(result, Response):
            response = result
            response.headers = {**self.headers, **response.headers}
        elif result is None:
            response = Response(200, self.headers)
        else:
            self.headers["Content-Type"] = "application/json"
            response = Response(200, self.headers, self.json_text(result))
        self.gateway.finish(self.request, response, self.route.metric)

    def _is_plain(self) -> bool:
        """Whether the answer has no header field but those that every answer has."""
        request = self.request
        kept = request.keep_alive and request.version == 11 and request.method != "HEAD"
        return kept and self.headers == VARY and request.on_response is None

    def _done_plainly(self) -> None:
        """`true`, as most writes are answered, without rendering it anew."""
        gateway, request = self.gateway, self.request
        before, after = true_answer(request.gzip, self._pretty())
        gateway.finish_rendered(request, b"".join((before, gateway.moment.date_line(), after)), self.route.metric)

    def failed(self, error: Exception) -> None:
        """Answer with an error; any other than the foreseen kinds is raised again."""
        known = as_http_error(error)
        response = error_response(known)
        headers = {**self.headers, **self.on_failure}
        if isinstance(known, BareNotFoundError):
            headers = {name: value for name, value in headers.items() if not name.startswith("X-Consul-")}
        response.headers = {**headers, **response.headers}
        self.gateway.log_failure(self.request, known)
        self.gateway.finish(self.request, response, self.route.metric)

    def run(self, step: Callable[[], Any]) -> None:
        """Run a step of a handler and answer with its outcome."""
        try:
            self.done(step())
        except HttpError as error:
            self.failed(error)
        except Exception as error:  # as in Gateway.handle: one broken answer, not a broken process
            self.gateway.failed_badly(self, error)

    def json_text(self, value: Any) -> bytes:
        if self._pretty():
            return gojson.dumps(value, pretty=True) + b"\n"
        return gojson.dumps(value)

    def _pretty(self) -> bool:
        """On request, and always in dev mode, as Consul does."""
        return self.gateway.config.dev_mode or "pretty" in self.request.query

    # -- neighbours -----------------------------------------------------------------------------

    def rpc(
        self,
        method: str,
        payload: Any,
        then: Callable[[Any], Any],
        *,
        timeout_s: float | None = None,
        retry_safe: bool = False,
    ) -> Later:
        """Call `method` of rpc_core and answer with `then(reply)`."""
        return self.post(self.gateway.rpc, method, payload, then, timeout_s=timeout_s, retry_safe=retry_safe)

    def post(
        self,
        link: Any,
        method: str,
        payload: Any,
        then: Callable[[Any], Any],
        *,
        timeout_s: float | None = None,
        retry_safe: bool = False,
    ) -> Later:
        """The same for any neighbour. `timeout_s` defaults to the time requests are held for a leader."""
        timeout_s = timeout_s or self.gateway.rpc_timeout_s
        link.post(method, payload, self.on_done(then), timeout_s=timeout_s, retry_safe=retry_safe)
        return LATER

    def on_done(self, then: Callable[[Any], Any]) -> OnDone:
        """What answers with `then(value)`, or with the error."""

        def on_done(value: Any, error: IpcError | None) -> None:
            if error is not None:
                self.failed(error)
            else:
                self.run(lambda: then(value))

        return on_done


def decode_failed(error: JsonError) -> BadRequestError:
    """What Consul says of a body it cannot decode."""
    text = str(error)
    if text == 'json: unknown field "Namespace"':
        text += " - Namespaces are a Consul Enterprise feature"
    return BadRequestError(f"Request decode failed: {text}")
