"""From the parameters of a watch to its plan: each of the ten types takes its own, and nothing may be left over."""

from __future__ import annotations

from shared.watch_plan import shapes
from shared.watch_plan.plan import Plan, Query, WatchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Parameters = dict[str, Any]


def parse(parameters: Parameters, exempt: Sequence[str] = ()) -> Plan:
    """The plan of a watch. Takes what it uses out of `parameters`. Raises WatchError.

    exempt: names of parameters that are somebody else's; they end up in the plan's `exempt`."""
    datacenter = _text(parameters, "datacenter")
    token = _text(parameters, "token")
    kind = _text(parameters, "type")
    if not kind:
        raise WatchError("Watch type must be specified")
    handler_type = _text(parameters, "handler_type")
    others: Parameters = {}
    if handler_type == "http":
        from shared.watch_plan.http_handler import http_handler

        if "http_handler_config" not in parameters:
            raise WatchError("Handler type 'http' requires 'http_handler_config' to be set")
        others["http_handler_config"] = http_handler(parameters["http_handler_config"])
        del parameters["http_handler_config"]
    make = _TYPES.get(kind)
    if make is None:
        raise WatchError(f"Unsupported watch type: {kind}")
    plan = Plan(kind, make(parameters), datacenter, token)
    for name in exempt:
        if name in parameters:
            others[name] = parameters.pop(name)
    if parameters:
        raise WatchError(f"Invalid parameters: [{' '.join(sorted(parameters))}]")
    plan.handler_type, plan.exempt = handler_type, others
    return plan


# -- values --------------------------------------------------------------------------------------------------


def _text(parameters: Parameters, name: str) -> str:
    value = parameters.get(name, "")
    if not isinstance(value, str):
        raise WatchError(f"Expecting {name} to be a string")
    parameters.pop(name, None)
    return value


def _switch(parameters: Parameters, name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise WatchError(f"Expecting {name} to be a boolean")
    parameters.pop(name, None)
    return value


def _texts(parameters: Parameters, name: str) -> list[str]:
    value = parameters.get(name, [])
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise WatchError(f"Expecting {name} to be a string or []string")
    for position, item in enumerate(value):
        if not isinstance(item, str):
            raise WatchError(f"Index {position} of {name} expected to be string")
    parameters.pop(name, None)
    return list(value)


def _required(parameters: Parameters, name: str, what: str) -> str:
    value = _text(parameters, name)
    if not value:
        raise WatchError(f"Must specify a single {what} to watch")
    return value


def _stale(parameters: Parameters) -> dict[str, str | list[str]]:
    return {"stale": ""} if _switch(parameters, "stale") else {}


# -- types ---------------------------------------------------------------------------------------------------


def _key(parameters: Parameters) -> Query:
    options = _stale(parameters)
    key = _required(parameters, "key", "key")
    path = f"/v1/kv/{key.removeprefix('/')}"
    return Query(path, shapes.optional(shapes.KEY_PAIR), options, empty=True, single=True)


def _key_prefix(parameters: Parameters) -> Query:
    options = {**_stale(parameters), "recurse": ""}
    prefix = _required(parameters, "prefix", "prefix")
    path = f"/v1/kv/{prefix.removeprefix('/')}"
    return Query(path, shapes.list_of(shapes.KEY_PAIR), options, empty=True)


def _services(parameters: Parameters) -> Query:
    tags_by_name = shapes.map_of(shapes.list_of(shapes.text))
    return Query("/v1/catalog/services", tags_by_name, _stale(parameters))


def _nodes(parameters: Parameters) -> Query:
    return Query("/v1/catalog/nodes", shapes.list_of(shapes.NODE), _stale(parameters))


def _service(parameters: Parameters) -> Query:
    options = _stale(parameters)
    service = _required(parameters, "service", "service")
    tags = _texts(parameters, "tag")
    if tags:
        options["tag"] = tags
    if _switch(parameters, "passingonly"):
        options["passing"] = "1"
    return Query(f"/v1/health/service/{service}", shapes.list_of(shapes.SERVICE_ENTRY), options)


def _checks(parameters: Parameters) -> Query:
    options = _stale(parameters)
    service, state = _text(parameters, "service"), _text(parameters, "state")
    if service and state:
        raise WatchError("Cannot specify service and state")
    checks = shapes.list_of(shapes.CHECK)
    if service:
        return Query(f"/v1/health/checks/{service}", checks, options)
    state = state or "any"
    known = state in ("any", "warning", "critical", "passing")
    refusal = "" if known else f"Unsupported state: {state}"
    return Query(f"/v1/health/state/{state}", checks, options, refusal=refusal)


def _event(parameters: Parameters) -> Query:
    name = _text(parameters, "name")
    options: dict[str, str | list[str]] = {"name": name} if name else {}
    return Query("/v1/event/list", shapes.list_of(shapes.EVENT), options, news_only=True)


def _connect_roots(parameters: Parameters) -> Query:
    return Query("/v1/agent/connect/ca/roots", shapes.CA_ROOTS)


def _connect_leaf(parameters: Parameters) -> Query:
    return Query(f"/v1/agent/connect/ca/leaf/{_text(parameters, 'service')}", shapes.LEAF_CERT)


def _agent_service(parameters: Parameters) -> Query:
    service_id = _text(parameters, "service_id")
    return Query(f"/v1/agent/service/{service_id}", shapes.SERVICE, by_hash=True)


_TYPES: dict[str, Callable[[Parameters], Query]] = {
    "key": _key,
    "keyprefix": _key_prefix,
    "services": _services,
    "nodes": _nodes,
    "service": _service,
    "checks": _checks,
    "event": _event,
    "connect_roots": _connect_roots,
    "connect_leaf": _connect_leaf,
    "agent_service": _agent_service,
}
