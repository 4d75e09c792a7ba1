"""/v1/coordinate: network coordinates of nodes and of the servers of all datacenters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.http_gateway.call import Call, decode_failed
from services.http_gateway.errors import BareNotFoundError, UnauthorizedError
from services.http_gateway.reads import ZERO_META, Read, read
from services.http_gateway.routes.table import Handler, Route
from shared.state.answer import Answer
from shared.state.queries import coordinate
from shared.state.snapshot import Snapshot
from shared.structs.coordinate import Coordinate, CoordinateUpdateRequest
from shared.structs.errors import JsonError


def _while_enabled(handler: Handler) -> Handler:
    def checked(call: Call) -> Any:
        if call.gateway.config.disable_coordinates:
            raise UnauthorizedError("Coordinate support disabled")
        return handler(call)

    return checked


def datacenters(call: Call) -> Any:
    def then(reply: Any) -> Any:
        return [{**each, "Coordinates": each.get("Coordinates") or []} for each in reply or ()]

    return call.rpc("Coordinate.ListDatacenters", {}, then, retry_safe=True)


def nodes(call: Call) -> Any:
    return _list(call, "Coordinate.ListNodes", {}, coordinate.nodes, _in_segment(call))


def node(call: Call) -> Any:
    name = call.rest
    chosen = _in_segment(call)

    def local(snap: Snapshot) -> Answer[list[Coordinate]]:
        answer = coordinate.node(snap, name)
        return answer._replace(value=[one.replace(node=name) for one in answer.value])

    def show(found: list[Coordinate]) -> Any:
        shown = chosen(found)
        if not shown:
            raise BareNotFoundError("")
        return shown

    return _list(call, "Coordinate.Node", {"Node": name}, local, show)


def _list(
    call: Call,
    method: str,
    arguments: dict[str, Any],
    local: Callable[[Snapshot], Answer[list[Coordinate]]],
    show: Callable[[list[Coordinate]], Any],
) -> Any:
    options = call.options()
    call.on_failure = ZERO_META.headers()
    query = Read(method=method, arguments=arguments, local=local, remote=_remote, show=show, level=False)
    return read(call, options, query)


def _remote(reply: Any) -> list[Coordinate]:
    return [Coordinate.from_wire(each) for each in reply.get("Coordinates") or ()]


def _in_segment(call: Call) -> Callable[[list[Coordinate]], Any]:
    """Shows the coordinates of one network segment if `?segment=` is given, empty or not; else of all."""
    wanted = call.request.query.get("segment")

    def show(found: list[Coordinate]) -> Any:
        return [one.to_json() for one in found if wanted is None or one.segment == wanted[0]]

    return show


def update(call: Call) -> Any:
    try:
        request = CoordinateUpdateRequest.from_json(call.json_body())
    except JsonError as error:
        raise decode_failed(error) from None
    request.datacenter, request.token = call.datacenter(), call.token()
    return call.rpc("Coordinate.Update", request.to_wire(), lambda _reply: None)


ROUTES = [
    Route("/v1/coordinate/datacenters", "GET", _while_enabled(datacenters)),
    Route("/v1/coordinate/nodes", "GET", _while_enabled(nodes)),
    Route("/v1/coordinate/node/", "GET", _while_enabled(node)),
    Route("/v1/coordinate/update", "PUT", _while_enabled(update)),
]
