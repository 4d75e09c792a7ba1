"""Health.*: checks, and service instances with their checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.rpc_core.core import Core, Reply
from services.rpc_core.endpoints.catalog import count_lookup, wanted_tags
from services.rpc_core.endpoints.filters import compile_filter
from services.rpc_core.endpoints.near import sort_by_distance
from services.rpc_core.errors import RpcError
from shared.state.answer import Answer
from shared.state.queries import health
from shared.state.snapshot import Snapshot
from shared.structs.catalog import CheckServiceNode, HealthCheck
from shared.structs.query import (
    ChecksInStateRequest,
    NodeSpecificRequest,
    QueryOptions,
    QuerySource,
    ServiceSpecificRequest,
)

Checks = list[HealthCheck]


async def _read_checks(
    core: Core,
    method: str,
    datacenter: str,
    options: QueryOptions,
    source: QuerySource | None,
    find: Callable[[Snapshot], Answer[Checks]],
) -> Reply[Checks]:
    chosen = compile_filter(options.filter, HealthCheck)

    def query(snap: Snapshot) -> Answer[Checks]:
        answer = find(snap)
        checks = chosen(answer.value)
        if source is not None:
            sort_by_distance(snap, source, core.config.datacenter, checks, lambda check: check.node)
        return answer._replace(value=checks)

    return await core.read(method, datacenter, options, query)


def _checks_wire(reply: Reply[Checks]) -> dict[str, Any]:
    return reply.to_wire("HealthChecks", [check.to_wire() for check in reply.value] or None)


async def _checks_in_state(core: Core, body: Any) -> dict[str, Any]:
    args = ChecksInStateRequest.from_wire(body)
    reply = await _read_checks(
        core,
        "Health.ChecksInState",
        args.datacenter,
        args,
        args.source,
        lambda snap: health.checks_in_state(snap, args.state, args.node_meta_filters),
    )
    return _checks_wire(reply)


async def _node_checks(core: Core, body: Any) -> dict[str, Any]:
    args = NodeSpecificRequest.from_wire(body)
    reply = await _read_checks(
        core,
        "Health.NodeChecks",
        args.datacenter,
        args,
        None,
        lambda snap: health.node_checks(snap, args.node),
    )
    return _checks_wire(reply)


async def _service_checks(core: Core, body: Any) -> dict[str, Any]:
    args = ServiceSpecificRequest.from_wire(body)
    if args.tag_filter:
        raise RpcError("Tag filtering is not supported")
    reply = await _read_checks(
        core,
        "Health.ServiceChecks",
        args.datacenter,
        args,
        args.source,
        lambda snap: health.service_checks(snap, args.service_name, args.node_meta_filters),
    )
    return _checks_wire(reply)


def _node_name(instance: CheckServiceNode) -> str:
    return "" if instance.node is None else instance.node.node


async def _service_nodes(core: Core, body: Any) -> dict[str, Any]:
    args = ServiceSpecificRequest.from_wire(body)
    core.router.check_datacenter("Health.ServiceNodes", args.datacenter)
    if not args.service_name:
        raise RpcError("Must provide service name")
    chosen = compile_filter(args.filter, CheckServiceNode)
    tags = wanted_tags(args)

    def query(snap: Snapshot) -> Answer[list[CheckServiceNode]]:
        answer = health.service_nodes(snap, args.service_name, tags, args.node_meta_filters, args.connect)
        if args.ingress:
            answer = answer._replace(value=[])  # instances of gateways for it, of which there are none
        nodes = chosen(answer.value)
        sort_by_distance(snap, args.source, core.config.datacenter, nodes, _node_name)
        return answer._replace(value=nodes)

    reply = await core.read("Health.ServiceNodes", args.datacenter, args, query)
    if core.at_hand is None:  # else who asked for it counts
        count_lookup("health", args, len(reply.value))
    return reply.to_wire("Nodes", [node.to_wire() for node in reply.value] or None)


METHODS = {
    "Health.ChecksInState": _checks_in_state,
    "Health.NodeChecks": _node_checks,
    "Health.ServiceChecks": _service_checks,
    "Health.ServiceNodes": _service_nodes,
}
