"""Catalog.*: nodes and services, and who says what runs where."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.endpoints.filters import compile_filter
from services.rpc_core.endpoints.near import sort_by_distance
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.metrics.lookups import lookup_counters
from shared.state.answer import Answer
from shared.state.queries import catalog
from shared.state.snapshot import Snapshot
from shared.structs.catalog import (
    DeregisterRequest,
    Node,
    NodeService,
    NodeServiceList,
    NodeServices,
    RegisterRequest,
    ServiceNode,
)
from shared.structs.errors import RefusedError
from shared.structs.query import DCSpecificRequest, NodeSpecificRequest, ServiceSpecificRequest
from shared.structs.registration import prepare_deregister, prepare_register


async def register(core: Core, args: RegisterRequest) -> None:
    """Put a node, a service and checks into the catalog. Raises RpcError."""
    await core.router.answer_here("Catalog.Register", args.datacenter)
    started = trio.current_time()
    try:
        prepare_register(args)
    except RefusedError as error:
        raise RpcError(str(error)) from None
    await core.apply(args)
    metrics.sample("consul.catalog.register", (trio.current_time() - started) * 1000)


async def _register(core: Core, body: Any) -> dict[str, Any]:
    await register(core, RegisterRequest.from_wire(body))
    return {}


async def _deregister(core: Core, body: Any) -> dict[str, Any]:
    """Remove a service, a check or a whole node. What is not there is not missed."""
    args = DeregisterRequest.from_wire(body)
    await core.router.answer_here("Catalog.Deregister", args.datacenter)
    started = trio.current_time()
    try:
        prepare_deregister(args)
    except RefusedError as error:
        raise RpcError(str(error)) from None
    await core.apply(args)
    metrics.sample("consul.catalog.deregister", (trio.current_time() - started) * 1000)
    return {}


async def _list_datacenters(core: Core, body: Any) -> list[str]:
    """Known datacenters, nearest first; ours alone without a WAN pool."""
    return core.pools.datacenters() or [core.config.datacenter]


async def _list_nodes(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    chosen = compile_filter(args.filter, Node)

    def query(snap: Snapshot) -> Answer[list[Node]]:
        answer = catalog.nodes(snap, args.node_meta_filters)
        nodes = chosen(answer.value)
        sort_by_distance(snap, args.source, core.config.datacenter, nodes, lambda node: node.node)
        return answer._replace(value=nodes)

    reply = await core.read("Catalog.ListNodes", args.datacenter, args, query)
    return reply.to_wire("Nodes", [node.to_wire() for node in reply.value] or None)


async def _list_services(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    reply = await core.read(
        "Catalog.ListServices",
        args.datacenter,
        args,
        lambda snap: catalog.services(snap, args.node_meta_filters),
    )
    return reply.to_wire("Services", reply.value)


async def _service_list(core: Core, body: Any) -> dict[str, Any]:
    args = DCSpecificRequest.from_wire(body)
    reply = await core.read("Catalog.ServiceList", args.datacenter, args, catalog.service_list)
    return reply.to_wire("Services", [{"Name": name} for name in reply.value] or None)


def wanted_tags(args: ServiceSpecificRequest) -> list[str]:
    """Tags an instance must have. Agents before 1.3 send a single one in a field of its own."""
    if not args.tag_filter:
        return []
    return [args.service_tag] if args.service_tag else list(args.service_tags or ())


def count_lookup(family: str, args: ServiceSpecificRequest, found: int) -> None:
    """Metrics of a service look-up, `consul.<family>.service.query` and its relatives."""
    kind = "connect" if args.connect else "ingress" if args.ingress else "service"
    tags = args.service_tags or ()
    for name, labels in lookup_counters(family, kind, args.service_name, found, tag=args.service_tag, tags=tags):
        metrics.incr(name, labels=labels)


async def _service_nodes(core: Core, body: Any) -> dict[str, Any]:
    args = ServiceSpecificRequest.from_wire(body)
    core.router.check_datacenter("Catalog.ServiceNodes", args.datacenter)
    if not args.service_name and not args.service_address:
        raise RpcError("Must provide service name")
    chosen = compile_filter(args.filter, ServiceNode)
    tags = wanted_tags(args)

    def query(snap: Snapshot) -> Answer[list[ServiceNode]]:
        if args.service_address and not args.connect:
            answer = catalog.service_address_nodes(snap, args.service_address)
        else:
            answer = catalog.service_nodes(snap, args.service_name, tags, args.node_meta_filters, args.connect)
        nodes = chosen(answer.value)
        sort_by_distance(snap, args.source, core.config.datacenter, nodes, lambda node: node.node)
        return answer._replace(value=nodes)

    reply = await core.read("Catalog.ServiceNodes", args.datacenter, args, query)
    if core.at_hand is None:  # else who asked for it counts
        count_lookup("catalog", args, len(reply.value))
    return reply.to_wire("ServiceNodes", [node.to_wire() for node in reply.value] or None)


async def _node_services(core: Core, body: Any) -> dict[str, Any]:
    args = NodeSpecificRequest.from_wire(body)
    core.router.check_datacenter("Catalog.NodeServices", args.datacenter)
    if not args.node:
        raise RpcError("Must provide node")
    chosen = compile_filter(args.filter, NodeService)

    def query(snap: Snapshot) -> Answer[NodeServices | None]:
        answer = catalog.node_services(snap, args.node)
        if answer.value is not None:
            kept = chosen(list((answer.value.services or {}).values()))
            answer.value.services = {service.id: service for service in kept}
        return answer

    reply = await core.read("Catalog.NodeServices", args.datacenter, args, query)
    return reply.to_wire("NodeServices", None if reply.value is None else reply.value.to_wire())


def _service_list_query(args: NodeSpecificRequest, snap: Snapshot) -> Answer[NodeServiceList | None]:
    chosen = compile_filter(args.filter, NodeService)
    answer = catalog.node_service_list(snap, args.node)
    if answer.value is not None:
        answer.value.services = chosen(answer.value.services or []) or None
    return answer


async def _node_service_list(core: Core, body: Any) -> dict[str, Any]:
    args = NodeSpecificRequest.from_wire(body)
    core.router.check_datacenter("Catalog.NodeServiceList", args.datacenter)
    if not args.node:
        raise RpcError("Must provide node")
    reply = await core.read(
        "Catalog.NodeServiceList", args.datacenter, args, lambda snap: _service_list_query(args, snap)
    )
    return reply.to_wire("NodeServices", (reply.value or NodeServiceList()).to_wire())


METHODS = {
    "Catalog.Register": _register,
    "Catalog.Deregister": _deregister,
    "Catalog.ListDatacenters": _list_datacenters,
    "Catalog.ListNodes": _list_nodes,
    "Catalog.ListServices": _list_services,
    "Catalog.ServiceList": _service_list,
    "Catalog.ServiceNodes": _service_nodes,
    "Catalog.NodeServices": _node_services,
    "Catalog.NodeServiceList": _node_service_list,
}
