"""/v1/catalog: register and deregister, datacenters, nodes, services, and who offers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from services.http_gateway import agent_cache
from services.http_gateway.call import LATER, Call, decode_failed
from services.http_gateway.errors import BadRequestError
from services.http_gateway.message import Response
from services.http_gateway.options import ReadOptions, parse_cache_control, parse_consistency
from services.http_gateway.reads import ZERO_META, Read, read
from services.http_gateway.routes.table import Route
from services.http_gateway.selection import (
    compile_filter,
    list_arguments,
    node_meta,
    select,
    tags,
    translate_service,
    translates,
    wan_address,
)
from services.http_gateway.writes import TIMEOUT_S
from shared.metrics.lookups import Counter, lookup_counters
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
from shared.structs.commands import encode
from shared.structs.errors import JsonError, RefusedError
from shared.structs.registration import prepare_deregister, prepare_register

W = TypeVar("W", RegisterRequest, DeregisterRequest)

_APPLY_METRICS = {"Catalog.Register": "consul.catalog.register", "Catalog.Deregister": "consul.catalog.deregister"}


def _count(call: Call, name: str) -> None:
    call.count(f"consul.client.api.{name}", (("node", call.gateway.config.node_name),))


def _count_success(call: Call, name: str) -> None:
    call.count(f"consul.client.api.success.{name}", (("node", call.gateway.config.node_name),))


def register(call: Call) -> Any:
    return _write(call, "catalog_register", "Catalog.Register", RegisterRequest, prepare_register)


def deregister(call: Call) -> Any:
    return _write(call, "catalog_deregister", "Catalog.Deregister", DeregisterRequest, prepare_deregister)


def _write(call: Call, metric: str, method: str, body_type: type[W], prepare: Callable[[W], W]) -> Any:
    _count(call, metric)
    call.refuse_namespace()
    try:
        body = body_type.from_json(call.json_body())
    except JsonError as error:
        raise decode_failed(error) from None
    body.datacenter = body.datacenter or call.gateway.config.datacenter
    body.token = call.token()

    def then(_reply: Any) -> bool:
        _count_success(call, metric)
        return True

    if body.datacenter == call.gateway.config.datacenter:
        try:
            command = encode(prepare(body))
        except RefusedError:
            pass  # rpc_core says so, as to every caller
        else:
            call.gateway.writes.post_catalog(command, _APPLY_METRICS[method], call.on_done(then))
            return LATER
    return call.rpc(method, body.to_wire(), then, timeout_s=TIMEOUT_S)


def datacenters(call: Call) -> Any:
    _count(call, "catalog_datacenters")
    options = ReadOptions(datacenter=call.gateway.config.datacenter)
    complaints = _complaint(lambda: parse_consistency(options, call.request, call.gateway.config))
    complaints += _complaint(lambda: parse_cache_control(options, call.request))

    def then(reply: Any) -> Any:
        _count_success(call, "catalog_datacenters")
        if not complaints:
            return reply
        for name in ("X-Cache", "Age"):
            call.headers.pop(name, None)
        return Response(400, {}, complaints.encode() + call.json_text(reply))

    if agent_cache.wanted(call.gateway, options):
        return agent_cache.get(call, options, "Catalog.ListDatacenters", {}, then)
    return call.rpc("Catalog.ListDatacenters", options.to_wire(), then, retry_safe=True)


def _complaint(parse: Callable[[], None]) -> str:
    """What is wrong with the options. Here, unlike elsewhere, Consul says so and answers nevertheless."""
    try:
        parse()
    except BadRequestError as error:
        return str(error)
    return ""


def nodes(call: Call) -> Any:
    _count(call, "catalog_nodes")
    options = call.options()
    call.on_failure = ZERO_META.headers()
    wanted_meta = node_meta(call)

    def show(found: list[Node]) -> Any:
        _count_success(call, "catalog_nodes")
        if translates(call):
            for node in found:
                node.address = wan_address(node.address, node.tagged_addresses)
        return [node.to_json() for node in found]

    return read(
        call,
        options,
        Read(
            method="Catalog.ListNodes",
            arguments=list_arguments(call),
            local=select(call, options, Node, lambda node: node.node, lambda snap: catalog.nodes(snap, wanted_meta)),
            remote=lambda reply: [Node.from_wire(node) for node in reply.get("Nodes") or ()],
            show=show,
        ),
    )


def services(call: Call) -> Any:
    _count(call, "catalog_services")
    call.refuse_namespace()
    options = call.options()
    call.on_failure = ZERO_META.headers()
    wanted_meta = node_meta(call)

    def show(found: dict[str, list[str]]) -> Any:
        _count_success(call, "catalog_services")
        return {name: found[name] for name in sorted(found)}

    return read(
        call,
        options,
        Read(
            method="Catalog.ListServices",
            arguments={"NodeMetaFilters": wanted_meta},
            local=lambda snap: catalog.services(snap, wanted_meta),
            remote=lambda reply: {name: each or [] for name, each in (reply.get("Services") or {}).items()},
            show=show,
            cached=True,
        ),
    )


def service(call: Call) -> Any:
    return _service_nodes(call, "catalog_service_nodes", connect=False)


def connect_service(call: Call) -> Any:
    return _service_nodes(call, "catalog_connect_service_nodes", connect=True)


def _service_nodes(call: Call, metric: str, *, connect: bool) -> Any:
    _count(call, metric)
    call.refuse_namespace()
    options = call.options()
    name = call.require_rest("service name")
    call.on_failure = ZERO_META.headers()
    wanted_meta, wanted_tags = node_meta(call), tags(call)

    def show(found: list[ServiceNode]) -> Any:
        _count_success(call, "catalog_service_nodes")  # for /connect too, in Consul as here
        if translates(call):
            for instance in found:
                instance.address = wan_address(instance.address, instance.tagged_addresses)
                translate_service(instance, "service_address", "service_tagged_addresses", "service_port")
        for instance in found:
            instance.service_tags = instance.service_tags or []
        return [instance.to_json() for instance in found]

    def counts(found: int) -> list[Counter]:
        kind = "connect" if connect else "service"
        return lookup_counters("catalog", kind, name, found, tags=wanted_tags or ())

    def find(snap: Snapshot) -> Answer[list[ServiceNode]]:
        return catalog.service_nodes(snap, name, wanted_tags or (), wanted_meta, connect)

    return read(
        call,
        options,
        Read(
            method="Catalog.ServiceNodes",
            arguments=list_arguments(
                call,
                ServiceName=name,
                ServiceTags=wanted_tags,
                TagFilter=wanted_tags is not None,
                Connect=connect,
            ),
            local=select(call, options, ServiceNode, lambda instance: instance.node, find),
            remote=lambda reply: [ServiceNode.from_wire(each) for each in reply.get("ServiceNodes") or ()],
            show=show,
            cached=True,
            counts=counts,
        ),
    )


def node(call: Call) -> Any:
    _count(call, "catalog_node_services")
    call.refuse_namespace()
    options = call.options()
    name = call.require_rest("node name")
    call.on_failure = ZERO_META.headers()

    def local(snap: Snapshot) -> Answer[NodeServices | None]:
        keep = compile_filter(options.filter, NodeService)
        answer = catalog.node_services(snap, name)
        if keep is not None and answer.value is not None:
            found = answer.value.services or {}
            answer.value.services = {key: each for key, each in found.items() if keep(each)}
        return answer

    def remote(reply: Any) -> NodeServices | None:
        found = reply.get("NodeServices")
        return None if found is None else NodeServices.from_wire(found)

    def show(found: NodeServices | None) -> Any:
        _count_success(call, "catalog_node_services")
        if found is None:
            return Response(200, {"Content-Type": "application/json"}, call.json_text(None))
        for each in (found.services or {}).values():
            _present(call, each)
        _translate_node(call, found.node)
        shown = found.to_json()
        if shown.get("Services"):
            shown["Services"] = dict(sorted(shown["Services"].items()))
        return shown

    return read(
        call,
        options,
        Read(method="Catalog.NodeServices", arguments={"Node": name}, local=local, remote=remote, show=show),
    )


def node_services(call: Call) -> Any:
    _count(call, "catalog_node_service_list")
    call.refuse_namespace()
    options = call.options()
    name = call.require_rest("node name")
    call.on_failure = ZERO_META.headers()

    def local(snap: Snapshot) -> Answer[NodeServiceList | None]:
        keep = compile_filter(options.filter, NodeService)
        answer = catalog.node_service_list(snap, name)
        if keep is not None and answer.value is not None:
            answer.value.services = [each for each in answer.value.services or () if keep(each)]
        return answer

    def show(found: NodeServiceList | None) -> Any:
        _count_success(call, "catalog_node_service_list")
        found = found or NodeServiceList()
        for each in found.services or ():
            _present(call, each)
        _translate_node(call, found.node)
        return found.to_json()

    return read(
        call,
        options,
        Read(
            method="Catalog.NodeServiceList",
            arguments={"Node": name},
            local=local,
            remote=lambda reply: NodeServiceList.from_wire(reply.get("NodeServices")),
            show=show,
        ),
    )


def _present(call: Call, instance: NodeService) -> None:
    instance.tags = instance.tags or []
    if translates(call):
        translate_service(instance, "address", "tagged_addresses", "port")


def _translate_node(call: Call, found: Node | None) -> None:
    if found is not None and translates(call):
        found.address = wan_address(found.address, found.tagged_addresses)


ROUTES = [
    Route("/v1/catalog/register", "PUT", register),
    Route("/v1/catalog/deregister", "PUT", deregister),
    Route("/v1/catalog/datacenters", "GET", datacenters),
    Route("/v1/catalog/nodes", "GET", nodes),
    Route("/v1/catalog/services", "GET", services),
    Route("/v1/catalog/service/", "GET", service),
    Route("/v1/catalog/connect/", "GET", connect_service),
    Route("/v1/catalog/node/", "GET", node),
    Route("/v1/catalog/node-services/", "GET", node_services),
]
