"""/v1/agent/check, /v1/agent/checks: health checks of this agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError, HttpError
from services.http_gateway.routes.table import Route
from services.http_gateway.selection import compile_filter
from shared.structs.catalog import CRITICAL, PASSING, WARNING, HealthCheck
from shared.structs.check_definition import CheckDefinition
from shared.structs.errors import JsonError
from shared.structs.schema import STR, Struct, attr

_SYNC_TIMEOUT_S = 60.0
_NO_EVALUATOR = "Failed to create boolean expression evaluator: "


class CheckUpdate(Struct):
    """The body of /v1/agent/check/update."""

    go_package, go_name = "agent", "checkUpdate"

    status: str = attr("Status", STR)
    output: str = attr("Output", STR)


def _empty(_reply: Any) -> None:
    return None


def checks(call: Call) -> Any:
    call.refuse_namespace()
    expression = call.request.first("filter")

    def then(reply: Any) -> Any:
        keep = _filter(expression, bool(reply))
        found = {key: HealthCheck.from_wire(reply[key]) for key in sorted(reply)}
        for check in found.values():
            check.service_tags = check.service_tags or []
        return {key: check.to_json() for key, check in found.items() if keep is None or keep(check)}

    return call.rpc("Agent.Checks", {}, then, retry_safe=True)


def _filter(expression: str, any_checks: bool) -> Callable[[HealthCheck], bool] | None:
    """As for every list, but here Consul finds out what does not fit a check only when it looks at one.

    Raises HttpError."""
    from shared.bexpr import FilterError
    from shared.bexpr.grammar import parse

    try:
        return compile_filter(expression, HealthCheck)
    except HttpError as error:
        try:
            parse(expression)
        except FilterError:
            raise error from None
        if any_checks:
            raise HttpError(str(error).removeprefix(_NO_EVALUATOR)) from None
        return None


def register(call: Call) -> Any:
    call.refuse_namespace()
    try:
        definition = CheckDefinition.from_json(call.json_body())
    except JsonError as error:
        raise BadRequestError(f"Request decode failed: {error}") from None
    payload = {"definition": definition.to_wire(), "token": call.token()}
    return call.rpc("Agent.RegisterCheck", payload, _empty, timeout_s=_SYNC_TIMEOUT_S)


def deregister(call: Call) -> Any:
    call.refuse_namespace()
    return call.rpc("Agent.DeregisterCheck", {"id": call.rest}, _empty, timeout_s=_SYNC_TIMEOUT_S)


def passing(call: Call) -> Any:
    return _update(call, PASSING, call.request.first("note"))


def warning(call: Call) -> Any:
    return _update(call, WARNING, call.request.first("note"))


def failing(call: Call) -> Any:
    return _update(call, CRITICAL, call.request.first("note"))


def update(call: Call) -> Any:
    try:
        given = CheckUpdate.from_json(call.json_body())
    except JsonError as error:
        raise BadRequestError(f"Request decode failed: {error}") from None
    if given.status not in (PASSING, WARNING, CRITICAL):
        raise BadRequestError(f"Invalid check status: '{given.status}'")
    return _update(call, given.status, given.output)


def _update(call: Call, status: str, output: str) -> Any:
    call.refuse_namespace()
    payload = {"id": call.rest, "status": status, "output": output}
    return call.rpc("Agent.UpdateCheck", payload, _empty, timeout_s=_SYNC_TIMEOUT_S)


ROUTES = [
    Route("/v1/agent/checks", "GET", checks),
    Route("/v1/agent/check/register", "PUT", register),
    Route("/v1/agent/check/deregister/", "PUT", deregister),
    Route("/v1/agent/check/pass/", "PUT", passing),
    Route("/v1/agent/check/warn/", "PUT", warning),
    Route("/v1/agent/check/fail/", "PUT", failing),
    Route("/v1/agent/check/update/", "PUT", update),
]
