"""/v1/agent/service, /v1/agent/services, /v1/agent/health/service, /v1/agent/maintenance: services of this agent."""

from __future__ import annotations

from functools import partial
from typing import Any

from services.http_gateway import parked
from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError, HttpError, NotFoundError
from services.http_gateway.message import Response
from services.http_gateway.options import ReadOptions, parse_wait
from services.http_gateway.routes.table import Route
from services.http_gateway.selection import compile_filter
from shared.gotext.numbers import parse_bool
from shared.gotext.quoting import quote
from shared.structs.agent import AgentConnect, AgentProxy, AgentService
from shared.structs.catalog import CRITICAL
from shared.structs.errors import JsonError
from shared.structs.proxy import ServiceDefinition

SYNC_TIMEOUT_S = 60.0
"""A change is answered when the catalog knows of it too, or refuses it."""
_WAIT_DEFAULT_S, _WAIT_MAX_S = 300.0, 600.0
_CODES = {"passing": 200, "warning": 429}
_NO_DEFINITION = {"Interval": "0s", "Timeout": "0s", "DeregisterCriticalServiceAfter": "0s"}


def _empty(_reply: Any) -> None:
    return None


# -- reading ----------------------------------------------------------------------------------------


def services(call: Call) -> Any:
    call.refuse_namespace()
    expression = call.request.first("filter")

    def then(reply: Any) -> Any:
        keep = compile_filter(expression, AgentService)
        found = {key: AgentService.from_wire(reply[key]) for key in sorted(reply)}
        return {key: each.to_json() for key, each in found.items() if keep is None or keep(_whole(each))}

    return call.rpc("Agent.Services", {}, then, retry_safe=True)


def _whole(each: AgentService) -> AgentService:
    """With empty parts where it has none, so that a filter may ask for what is in them."""
    return each.replace(proxy=each.proxy or AgentProxy(), connect=each.connect or AgentConnect())


def service(call: Call) -> Any:
    """One service. With ?hash= of what the client knows, the answer waits until there is something else."""
    options = ReadOptions(datacenter=call.gateway.config.datacenter)
    parse_wait(options, call.request)
    call.refuse_namespace()
    known, show = call.request.first("hash"), partial(_show_service, call)
    nothing_known = {"id": call.rest, "hash": ""}
    if not known:
        return call.rpc("Agent.Service", nothing_known, show, retry_safe=True)
    wait_s = min(options.wait_ns / 1e9, _WAIT_MAX_S) if options.wait_ns > 0 else _WAIT_DEFAULT_S
    return parked.wait(call, "Agent.Service", {"id": call.rest, "hash": known}, nothing_known, wait_s, show)


def _show_service(call: Call, reply: Any) -> Any:
    if reply is None:
        raise NotFoundError(f"unknown service ID: {call.rest}")
    call.headers["X-Consul-Contenthash"] = reply["ContentHash"]
    return AgentService.from_wire(reply).to_json()


def health_by_id(call: Call) -> Any:
    service_id = call.rest
    if not service_id:
        raise HttpError("Bad request: Missing serviceID")
    call.refuse_namespace()

    def then(reply: Any) -> Any:
        if not reply:
            reason = f"ServiceId {service_id} not found"
            nothing = {"AggregatedStatus": CRITICAL, "Service": None, "Checks": None}
            return _health(call, 404, reason, reason if _wants_text(call) else nothing)
        (found,) = reply
        status = found["Status"]
        if _wants_text(call):
            return _health_text(call, _CODES.get(status, 503), status)
        return _health(call, _CODES.get(status, 503), status, _info(found))

    return call.rpc("Agent.ServiceHealth", {"id": service_id}, then, retry_safe=True)


def health_by_name(call: Call) -> Any:
    name = call.rest
    if not name:
        raise HttpError("Bad request: Missing service Name")
    call.refuse_namespace()

    def then(reply: Any) -> Any:
        code, status = 404, f"ServiceName {name} Not Found"
        for found in reply:
            found_code = _CODES.get(found["Status"], 503)
            if code == 404 or code < found_code:  # the worst of all instances
                code, status = found_code, found["Status"]
        if _wants_text(call):
            return _health_text(call, code, status)
        return _health(call, code, status, [_info(found) for found in reply])

    return call.rpc("Agent.ServiceHealth", {"name": name}, then, retry_safe=True)


def _wants_text(call: Call) -> bool:
    if call.request.header("accept").startswith("text/plain"):
        return True
    return call.request.first("format") == "text"


def _info(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "AggregatedStatus": found["Status"],
        "Service": AgentService.from_wire(found["Service"]).to_json(),
        "Checks": [_check(check) for check in found["Checks"]],
    }


def _check(check: dict[str, Any]) -> dict[str, Any]:
    """A check in the client library's shape. This endpoint says nothing of types and definitions."""
    names = ("Node", "CheckID", "Name", "Status", "Notes", "Output", "ServiceID", "ServiceName", "ServiceTags")
    definition = {
        **_NO_DEFINITION,
        "HTTP": "",
        "Header": None,
        "Method": "",
        "Body": "",
        "TLSSkipVerify": False,
        "TCP": "",
    }
    return {
        **{name: check[name] for name in names},
        "Type": "",
        "Definition": definition,
        "CreateIndex": 0,
        "ModifyIndex": 0,
    }


def _health(call: Call, code: int, reason: str, body: Any) -> Response:
    headers = {"Content-Type": "application/json"}
    if reason:
        headers["X-Consul-Reason"] = reason
    return Response(code, headers, call.json_text(body))


def _health_text(call: Call, code: int, status: str) -> Response:
    """A 404 by name is plain text too, other than by id."""
    headers = {"Content-Type": "text/plain"}
    if status:
        headers["X-Consul-Reason"] = status
    return Response(code, headers, status.encode("utf-8", "surrogateescape"))


# -- changing ---------------------------------------------------------------------------------------


def register(call: Call) -> Any:
    call.refuse_namespace()
    try:
        definition = ServiceDefinition.from_json(call.json_body())
    except JsonError as error:
        raise BadRequestError(f"Request decode failed: {error}") from None
    replace = call.request.query.get("replace-existing-checks") if call.request.raw_query else None
    payload = {
        "definition": definition.to_wire(),
        "token": call.token(),
        "replace_existing_checks": replace is not None and replace[0] in ("", "true"),
    }
    return call.rpc("Agent.RegisterService", payload, _empty, timeout_s=SYNC_TIMEOUT_S)


def deregister(call: Call) -> Any:
    call.refuse_namespace()
    return call.rpc("Agent.DeregisterService", {"id": call.rest}, _empty, timeout_s=SYNC_TIMEOUT_S)


def maintenance(call: Call) -> Any:
    service_id = call.rest
    if not service_id:
        raise BadRequestError("Missing service ID")
    enable = _enable(call)
    call.refuse_namespace()
    payload = {
        "id": service_id,
        "enable": enable,
        "reason": call.request.first("reason"),
        "token": call.token(),
    }

    def then(refusal: Any) -> None:
        if refusal:
            raise NotFoundError(refusal)

    return call.rpc("Agent.ServiceMaintenance", payload, then, timeout_s=SYNC_TIMEOUT_S)


def node_maintenance(call: Call) -> Any:
    payload = {"enable": _enable(call), "reason": call.request.first("reason"), "token": call.token()}
    return call.rpc("Agent.NodeMaintenance", payload, _empty, timeout_s=SYNC_TIMEOUT_S)


def _enable(call: Call) -> bool:
    if "enable" not in call.request.query:
        raise BadRequestError("Missing value for enable")
    raw = call.request.first("enable")
    try:
        return parse_bool(raw)
    except ValueError:
        raise BadRequestError(f"Invalid value for enable: {quote(raw)}") from None


ROUTES = [
    Route("/v1/agent/services", "GET", services),
    Route("/v1/agent/service/", "GET", service),
    Route("/v1/agent/service/register", "PUT", register),
    Route("/v1/agent/service/deregister/", "PUT", deregister),
    Route("/v1/agent/service/maintenance/", "PUT", maintenance),
    Route("/v1/agent/maintenance", "PUT", node_maintenance),
    Route("/v1/agent/health/service/id/", "GET", health_by_id),
    Route("/v1/agent/health/service/name/", "GET", health_by_name),
]
