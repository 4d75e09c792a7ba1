"""/v1/health: checks of nodes, services and states, and service instances with their health."""

from __future__ import annotations

from typing import Any

from services.http_gateway.call import Call
from services.http_gateway.errors import BadRequestError
from services.http_gateway.reads import ZERO_META, Read, read
from services.http_gateway.routes.table import Route
from services.http_gateway.selection import (
    list_arguments,
    node_meta,
    select,
    tags,
    translate_service,
    translates,
    wan_address,
)
from shared.metrics.lookups import Counter, lookup_counters
from shared.state.answer import Answer
from shared.state.queries import health
from shared.state.snapshot import Snapshot
from shared.structs.catalog import PASSING, CheckServiceNode, HealthCheck

_TRUE = frozenset(("", "1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def node(call: Call) -> Any:
    call.refuse_namespace()
    options = call.options()
    name = call.require_rest("node name")
    return _checks(
        call,
        Read(
            method="Health.NodeChecks",
            arguments={"Node": name},
            local=select(call, options, HealthCheck, None, lambda snap: health.node_checks(snap, name)),
            remote=_remote_checks,
            show=_show_checks,
        ),
    )


def checks(call: Call) -> Any:
    call.refuse_namespace()
    options = call.options()
    name = call.require_rest("service name")
    wanted_meta = node_meta(call)
    return _checks(
        call,
        Read(
            method="Health.ServiceChecks",
            arguments=list_arguments(call, ServiceName=name),
            local=select(
                call,
                options,
                HealthCheck,
                lambda check: check.node,
                lambda snap: health.service_checks(snap, name, wanted_meta),
            ),
            remote=_remote_checks,
            show=_show_checks,
        ),
    )


def state(call: Call) -> Any:
    call.refuse_namespace()
    options = call.options()
    status = call.require_rest("check state")
    wanted_meta = node_meta(call)
    return _checks(
        call,
        Read(
            method="Health.ChecksInState",
            arguments=list_arguments(call, State=status),
            local=select(
                call,
                options,
                HealthCheck,
                lambda check: check.node,
                lambda snap: health.checks_in_state(snap, status, wanted_meta),
            ),
            remote=_remote_checks,
            show=_show_checks,
        ),
    )


def _checks(call: Call, query: Read) -> Any:
    options = call.options()
    call.on_failure = ZERO_META.headers()
    return read(call, options, query)


def _remote_checks(reply: Any) -> list[HealthCheck]:
    return [HealthCheck.from_wire(check) for check in reply.get("HealthChecks") or ()]


def _show_checks(found: list[HealthCheck]) -> Any:
    for check in found:
        check.service_tags = check.service_tags or []
    return [check.to_json() for check in found]


def service(call: Call) -> Any:
    return _service(call, connect=False)


def connect(call: Call) -> Any:
    return _service(call, connect=True)


def _service(call: Call, *, connect: bool) -> Any:
    call.refuse_namespace()
    options = call.options()
    name = call.require_rest("service name")
    call.on_failure = ZERO_META.headers()
    wanted_meta, wanted_tags = node_meta(call), tags(call)

    def counts(found: int) -> list[Counter]:
        return lookup_counters("health", "connect" if connect else "service", name, found, tags=wanted_tags or ())

    def find(snap: Snapshot) -> Answer[list[CheckServiceNode]]:
        return health.service_nodes(snap, name, wanted_tags or (), wanted_meta, connect)

    return read(
        call,
        options,
        Read(
            method="Health.ServiceNodes",
            arguments=list_arguments(
                call,
                ServiceName=name,
                ServiceTags=wanted_tags,
                TagFilter=wanted_tags is not None,
                Connect=connect,
            ),
            local=select(call, options, CheckServiceNode, _node_name, find),
            remote=lambda reply: [CheckServiceNode.from_wire(each) for each in reply.get("Nodes") or ()],
            show=lambda found: _show_instances(call, found),
            cached=True,
            counts=counts,
        ),
    )


def _node_name(instance: CheckServiceNode) -> str:
    return instance.node.node if instance.node is not None else ""


def _show_instances(call: Call, found: list[CheckServiceNode]) -> Any:
    if _passing_only(call):
        found = _keep_passing(found)
    outside = translates(call)
    for instance in found:
        node, offered = instance.node, instance.service
        instance.checks = instance.checks or []
        for check in instance.checks:
            check.service_tags = check.service_tags or []
        if offered is not None:
            offered.tags = offered.tags or []
            if outside:
                translate_service(offered, "address", "tagged_addresses", "port")
        if node is not None and outside:
            node.address = wan_address(node.address, node.tagged_addresses)
    return [instance.to_json() for instance in found]


def _passing_only(call: Call) -> bool:
    if not call.request.raw_query or "passing" not in call.request.query:
        return False
    value = call.request.first("passing")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    # Consul has written status and text before it sets the metadata, so here they are missing.
    call.on_failure = {}
    for name in (*ZERO_META.headers(), "X-Consul-Effective-Consistency", "X-Cache", "Age"):
        call.headers.pop(name, None)
    raise BadRequestError("Invalid value for ?passing")


def _keep_passing(found: list[CheckServiceNode]) -> list[CheckServiceNode]:
    """Drop every instance with a check that is not passing; the last one takes the place of a dropped one, so
    the order is that of Consul."""
    kept = list(found)
    at = 0
    while at < len(kept):
        if all(check.status == PASSING for check in kept[at].checks or ()):
            at += 1
        else:
            last = kept.pop()
            if at < len(kept):
                kept[at] = last
    return kept


ROUTES = [
    Route("/v1/health/node/", "GET", node),
    Route("/v1/health/checks/", "GET", checks),
    Route("/v1/health/state/", "GET", state),
    Route("/v1/health/service/", "GET", service),
    Route("/v1/health/connect/", "GET", connect),
]
