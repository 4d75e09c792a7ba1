"""/v1/event: fire a user event, list the recent ones."""

from __future__ import annotations

from base64 import b64encode
from functools import partial
from typing import Any

from services.http_gateway import parked
from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError
from services.http_gateway.options import ReadOptions, parse_wait
from services.http_gateway.routes.table import Route

_WAIT_MAX_S = 600.0
_FIRE_TIMEOUT_S = 15.0


def fire(call: Call) -> Any:
    request = call.request
    if not call.rest:
        raise BadRequestError("Missing name")
    payload = {
        "name": call.rest,
        "payload": request.body,
        "node": request.first("node"),
        "service": request.first("service"),
        "tag": request.first("tag"),
        "datacenter": call.datacenter(),
        "token": call.token(),
    }
    return call.rpc("Agent.EventFire", payload, _shown, timeout_s=_FIRE_TIMEOUT_S)


def list_(call: Call) -> Any:
    options = ReadOptions(datacenter="")
    parse_wait(options, call.request)
    name = call.request.first("name")
    if not options.min_index:
        return call.rpc("Agent.EventList", _wanted(name, 0), partial(_show_list, call), retry_safe=True)
    wait_s = min(options.wait_ns / 1e9, _WAIT_MAX_S) if options.wait_ns > 0 else _WAIT_MAX_S
    known, nothing_known = _wanted(name, options.min_index), _wanted(name, 0)
    return parked.wait(call, "Agent.EventList", known, nothing_known, wait_s, partial(_show_list, call))


def _wanted(name: str, index: int) -> dict[str, Any]:
    return {"name": name, "index": index}


def _show_list(call: Call, reply: Any) -> Any:
    call.headers["X-Consul-Index"] = str(reply["index"])
    return [_shown(event) for event in reply["events"]]


def _shown(event: Any) -> Any:
    payload = event["Payload"]
    return {**event, "Payload": None if payload is None else b64encode(payload).decode()}


ROUTES = [
    Route("/v1/event/fire/", "PUT", fire),
    Route("/v1/event/list", "GET", list_),
]
