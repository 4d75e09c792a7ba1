"""Catalog reads: nodes, services, and who offers what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.state.answer import Answer
from shared.state.keys import fold
from shared.state.records import (
    SERVICE_NAME_AT,
    SERVICE_TAGS_AT,
    find_node,
    find_node_by_name_or_id,
    has_tags,
    read_node,
    read_service,
    satisfies_meta,
    services_on,
)
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, CONNECT, NODE, NODE_SERVICES, SERVICE, Watch
from shared.structs.catalog import Node, NodeService, NodeServiceList, NodeServices, ServiceNode
from shared.structs.proxy import Weights

EXTINCTION = "service_last_extinction"
"""Index row that moves when the last instance of any service goes."""


def nodes(snap: Snapshot, node_meta: Mapping[str, str] | None = None) -> Answer[list[Node]]:
    """All nodes by name, or those with certain metadata. Index: nodes."""
    found = [read_node(row) for _key, row in snap.scan(snap.tables.nodes)]
    if node_meta:
        found = [node for node in found if satisfies_meta(node.meta, node_meta)]
    return Answer(max(1, snap.index("nodes")), found, ((NODE, ALL),))


def node(snap: Snapshot, name: str) -> Answer[Node | None]:
    """One node by name. Index: nodes."""
    return Answer(max(1, snap.index("nodes")), find_node(snap, name), ((NODE, name.lower()),))


def services(snap: Snapshot, node_meta: Mapping[str, str] | None = None) -> Answer[dict[str, list[str]]]:
    """Service name -> all tags of its instances, sorted by name. Index: services, with a node filter also nodes."""
    watch: Watch = ((SERVICE, ALL),)
    index = snap.index("services", "nodes") if node_meta else snap.index("services")
    if node_meta:
        watch = ((SERVICE, ALL), (NODE, ALL))
    gathered: dict[str, dict[str, None]] = {}
    for fields in _service_fields(snap, node_meta):
        tags = gathered.setdefault(fields[SERVICE_NAME_AT], {})
        for tag in fields[SERVICE_TAGS_AT] or ():
            tags[tag] = None
    return Answer(max(1, index), {name: list(gathered[name]) for name in sorted(gathered)}, watch)


def service_list(snap: Snapshot) -> Answer[list[str]]:
    """Names of all services. Index: services."""
    names = dict.fromkeys(fields[SERVICE_NAME_AT] for fields in _service_fields(snap, None))
    return Answer(max(1, snap.index("services")), list(names), ((SERVICE, ALL),))


def _service_fields(snap: Snapshot, node_meta: Mapping[str, str] | None) -> Iterator[Sequence[Any]]:
    """Raw fields of all services, or of those on nodes with certain metadata."""
    if not node_meta:
        for _key, row in snap.scan(snap.tables.services):
            yield unpack_row(row)[1]
        return
    for node_key, raw_node in snap.scan(snap.tables.nodes):
        if satisfies_meta(read_node(raw_node).meta, node_meta):
            for _key, row in snap.scan(snap.tables.services, node_key):
                yield unpack_row(row)[1]


def service_nodes(
    snap: Snapshot,
    name: str,
    tags: Sequence[str] = (),
    node_meta: Mapping[str, str] | None = None,
    connect: bool = False,
) -> Answer[list[ServiceNode]]:
    """Instances of a service that have all tags; with `connect` those that speak Connect for it.

    Index: that of the service; if it has no instance (tags not looked at) the last extinction's."""
    instances = list(instances_of(snap, name, connect))
    watch: list[tuple[str, str]] = [(SERVICE, name.lower())]
    if connect:
        watch.append((CONNECT, name.lower()))
        watch += dict.fromkeys((SERVICE, service.service.lower()) for _node, service in instances)
    index = service_index(snap, name, bool(instances), ("nodes", "services"))
    chosen = [pair for pair in instances if connect or has_tags(pair[1].tags, list(tags))]
    found = [made for made in flatten(snap, chosen) if satisfies_meta(made.node_meta, node_meta)]
    return Answer(max(1, index), found, tuple(dict.fromkeys(watch)))


def service_address_nodes(snap: Snapshot, address: str) -> Answer[list[ServiceNode]]:
    """Instances of any service at an address. Index: always 1 (Consul has none for it)."""
    found: list[tuple[str, NodeService]] = []
    for _key, row in snap.scan(snap.tables.services):
        node_name, service = read_service(row)
        tagged = (service.tagged_addresses or {}).values()
        if service.address == address or any(each.address == address for each in tagged):
            found.append((node_name, service))
    return Answer(1, list(flatten(snap, found)), ((SERVICE, ALL), (NODE, ALL)))


def node_services(snap: Snapshot, name_or_id: str) -> Answer[NodeServices | None]:
    """A node and its services by id; None if there is no such node. Index: nodes and services; unknown: 1."""
    found = find_node_by_name_or_id(snap, name_or_id)
    if found is None:
        return Answer(1, None, _absent_node(name_or_id))
    by_id = {service.id: service for service in services_on(snap, found.node)}
    value = NodeServices(node=found, services=by_id)
    return Answer(max(1, snap.index("nodes", "services")), value, _on_node(found.node))


def node_service_list(snap: Snapshot, name_or_id: str) -> Answer[NodeServiceList | None]:
    """As `node_services`, with the services as a list (None if there are none)."""
    found = find_node_by_name_or_id(snap, name_or_id)
    if found is None:
        return Answer(1, None, _absent_node(name_or_id))
    value = NodeServiceList(node=found, services=list(services_on(snap, found.node)) or None)
    return Answer(max(1, snap.index("nodes", "services")), value, _on_node(found.node))


def _on_node(name: str) -> Watch:
    return ((NODE, name.lower()), (NODE_SERVICES, name.lower()))


def _absent_node(name_or_id: str) -> Watch:
    """An unknown text may become a node's name, or part of an id."""
    return ((NODE, ALL),) if len(name_or_id) >= 2 else ((NODE, name_or_id.lower()),)


def instances_of(snap: Snapshot, name: str, connect: bool) -> Iterator[tuple[str, NodeService]]:
    """(node, service) of a service's instances by node and id, or of what speaks Connect for it."""
    index = snap.tables.services_by_connect if connect else snap.tables.services_by_name
    for primary in snap.scan_keys(index, fold(name)):
        row = snap.get(primary, None, snap.tables.services)
        if row is not None:
            yield read_service(row)


def service_index(snap: Snapshot, name: str, exists: bool, tables: tuple[str, ...]) -> int:
    """Index of a service: its own row; without instances the last extinction; failing both the tables'."""
    if not exists:
        index = snap.index_row(EXTINCTION)
        if index is not None:
            return index
    index = snap.index_row(f"service.{name}")
    return snap.index(*tables) if index is None else index


def flatten(snap: Snapshot, instances: Iterable[tuple[str, NodeService]]) -> Iterator[ServiceNode]:
    """Service instances with the fields of their nodes. Tags and Meta are never nil in these."""
    known: dict[str, Node] = {}
    for node_name, service in instances:
        host = known.get(node_name)
        if host is None:
            host = known[node_name] = find_node(snap, node_name) or Node(node=node_name)
        yield ServiceNode(
            host.id,
            node_name,
            host.address,
            host.datacenter,
            host.tagged_addresses,
            host.meta,
            service.kind,
            service.id,
            service.service,
            service.tags or [],
            service.address,
            service.tagged_addresses or None,
            service.weights or Weights(1, 1),
            service.meta or {},
            service.port,
            service.enable_tag_override,
            service.proxy,
            service.connect,
            service.create_index,
            service.modify_index,
        )
