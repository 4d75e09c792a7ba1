"""/debug/pprof: what the processes of this agent are doing, in their own words (shared.profiling), with `enable_debug`.

The paths are those that Consul's clients ask (`consul debug`); there is no Go runtime to give Go's formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError, NotFoundError, UnauthorizedError
from services.http_gateway.message import Response
from services.http_gateway.routes.table import Route
from shared.ipc.errors import IpcError

if TYPE_CHECKING:
    from services.http_gateway.streaming import Stream
    from shared.ipc import Link

_DEFAULT_S = {"profile": 30.0, "trace": 1.0}
_GRACE_S = 5.0
_NEIGHBOURS = ("supervisor", "raft", "gossip", "rpc", "dns")
"""Links of the gateway."""


async def profile(call: Call, stream: Stream) -> None:
    if not call.gateway.config.enable_debug:
        raise UnauthorizedError("ACL support disabled")
    from shared import profiling

    kind = call.rest
    if kind not in profiling.KINDS:
        raise NotFoundError("Unknown profile\n")
    seconds = min(_seconds(call, kind), profiling.SECONDS_MAX)
    found: dict[str, str] = {}

    async def ask(name: str) -> None:
        link: Link = getattr(call.gateway.links, name)
        wanted = {"kind": kind, "seconds": seconds}
        try:
            found[name] = await link.call("Process.Profile", wanted, timeout_s=seconds + _GRACE_S)
        except IpcError as error:
            found[name] = f"no answer: {error}\n"

    async def look() -> None:
        found["http"] = await profiling.take(kind, seconds)

    async with trio.open_nursery() as nursery:
        for name in _NEIGHBOURS:
            nursery.start_soon(ask, name)
        nursery.start_soon(look)
    text = "".join(f"== {name} ==\n{found[name]}\n" for name in (*_NEIGHBOURS, "http"))
    call.headers["X-Content-Type-Options"] = "nosniff"
    call.done(Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode()))


def _seconds(call: Call, kind: str) -> float:
    given = call.request.first("seconds")
    if not given:
        return _DEFAULT_S.get(kind, 0.0)
    if not given.isascii() or not given.isdigit() or len(given) > 3:
        raise BadRequestError("seconds must be a number of at most three digits")
    return float(given)


ROUTES = [Route("/debug/pprof/", "", None, stream=profile)]
