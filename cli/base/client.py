"""Requests to an agent's HTTP API, with the parameters and error texts that Consul's own client uses.

Each command builds its few paths itself; what is common to all (token, datacenter, status handling, JSON)
is here.
"""

from __future__ import annotations

from cli.base import gojson
from cli.base.errors import ApiError, TransportError
from cli.base.transport import Connection, escape_path, escape_query
from cli.base.ui import to_bytes
from shared.gotext.json_syntax import JsonSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cli.base.http import Settings
    from cli.base.transport import Response

    Params = Mapping[str, str | list[str]]


MAX_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
METHOD_KEEPING_REDIRECTS = frozenset({307, 308})
"""The others turn a write into a GET, as browsers and Go do. An agent sends 301 for paths such as /v1/kv/a//b."""


class Client:
    """One agent. Connects at the first request and keeps the connection for the next ones.

    Raises SettingsError already here when TLS files cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = Connection(settings)

    def get(self, path: str, params: Params | None = None) -> Any:
        """The decoded JSON of a 200 answer. Raises ApiError."""
        return self._decode(self.require_ok("GET", path, params))

    def put(self, path: str, params: Params | None = None, body: bytes = b"") -> bytes:
        """The body of a 200 answer to a PUT. Raises ApiError."""
        return self.require_ok("PUT", path, params, body).read()

    def post(self, path: str, params: Params | None = None, body: bytes = b"") -> bytes:
        """The body of a 200 answer to a POST. Raises ApiError."""
        return self.require_ok("POST", path, params, body).read()

    def delete(self, path: str, params: Params | None = None, body: bytes = b"") -> bytes:
        """The body of a 200 answer to a DELETE. Raises ApiError."""
        return self.require_ok("DELETE", path, params, body).read()

    def get_or_none(self, path: str, params: Params | None = None) -> Any:
        """The decoded JSON, or None for 404. Other statuses are an error without their text, as for KV reads."""
        response = self.request("GET", path, params)
        if response.status == 404:
            response.read()
            return None
        if response.status != 200:
            raise ApiError(f"Unexpected response code: {response.status}")
        return self._decode(response)

    def node_name(self) -> str:
        """Name of the agent's own node. Raises ApiError."""
        return str(self.get("/v1/agent/self")["Config"]["NodeName"])

    def stream_lines(self, path: str, params: Params | None = None) -> Iterator[bytes]:
        """Lines of a 200 answer as they arrive, without their ends. Raises ApiError before the first."""
        response = self.require_ok("GET", path, params)
        return _lines(response)

    def require_ok(
        self, method: str, path: str, params: Params | None = None, body: bytes | Iterator[bytes] = b""
    ) -> Response:
        """The answer to a request, its status being 200. Raises ApiError."""
        response = self.request(method, path, params, body)
        if response.status != 200:
            text = response.read()
            shown = text.decode("utf-8", "surrogateescape")
            raise ApiError(f"Unexpected response code: {response.status} ({shown})")
        return response

    def request(
        self, method: str, path: str, params: Params | None = None, body: bytes | Iterator[bytes] = b""
    ) -> Response:
        """The answer to a request, whatever its status. Raises ApiError when there is none."""
        settings = self._settings
        query: dict[str, str | list[str]] = {}
        if settings.datacenter:
            query["dc"] = settings.datacenter
        if settings.namespace:
            query["ns"] = settings.namespace
        query.update(params or {})
        target = escape_path(path)
        if parameters := _encode(query):
            target += f"?{parameters}"
        headers: list[tuple[str, str]] = []
        if settings.token:
            headers.append(("X-Consul-Token", settings.token))
        if settings.basic_auth:
            headers.append(("Authorization", _basic_auth(settings.basic_auth)))
        for _ in range(MAX_REDIRECTS):
            try:
                response = self._connection.request(method, target, headers, body)
                location = response.headers.get("location", "")
                if response.status not in REDIRECTS or not location.startswith("/"):
                    return response
                response.read()
            except TransportError as error:
                raise ApiError(f'{method.capitalize()} "{self._connection.url(target)}": {error}') from None
            target = location
            if response.status not in METHOD_KEEPING_REDIRECTS and method != "GET":
                method, body = "GET", b""
        raise ApiError(f'{method.capitalize()} "{target}": stopped after {MAX_REDIRECTS} redirects')

    def _decode(self, response: Response) -> Any:
        try:
            return gojson.decode_first(response.read())
        except JsonSyntaxError as error:
            raise ApiError(str(error)) from None


def _encode(query: Params) -> str:
    """Parameters in the order of their names, as net/url writes them."""
    pairs: list[str] = []
    for name in sorted(query):
        values = query[name]
        for value in [values] if isinstance(values, str) else values:
            pairs.append(f"{escape_query(name)}={escape_query(value)}")
    return "&".join(pairs)


def _basic_auth(credentials: str) -> str:
    import base64

    user, _, password = credentials.partition(":")
    return "Basic " + base64.b64encode(to_bytes(f"{user}:{password}")).decode()


def _lines(response: Response) -> Iterator[bytes]:
    pending = b""
    try:
        for chunk in response.chunks():
            *lines, pending = (pending + chunk).split(b"\n")
            yield from (line.removesuffix(b"\r") for line in lines)
    except TransportError:
        pass  # the remote side went away, which for a stream is how it ends
    if pending:
        yield pending
