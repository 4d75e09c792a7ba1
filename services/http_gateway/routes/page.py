"""What lies below the UI path: a status page that shows nodes, services, checks and the number of keys."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from services.http_gateway.message import Response

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.message import Request

_ROBOTS = b"User-agent: *\nDisallow: /\n"


def serve(gateway: Gateway, request: Request) -> None:
    """Every path below the UI's gives the page, as a single-page application needs it."""
    headers = dict(gateway.policy.headers)
    if request.method not in ("GET", "HEAD"):
        gateway.finish(request, Response(405, {**headers, "Allow": "GET, HEAD"}, b"Method Not Allowed"), None)
        return
    robots = request.path == "/robots.txt"
    body = _ROBOTS if robots else _page()
    headers["Content-Type"] = "text/plain; charset=utf-8" if robots else "text/html; charset=utf-8"
    headers["Content-Length"] = str(len(body))
    if not robots:
        headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
        )
        headers["X-Content-Type-Options"] = "nosniff"
    gateway.finish(request, Response(200, headers, body), None)


@cache
def _page() -> bytes:
    return resources.files("services.http_gateway.ui").joinpath("index.html").read_bytes()
