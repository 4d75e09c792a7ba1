"""Whole-node and whole-catalog dumps, for the UI."""

from __future__ import annotations

from shared.state.answer import Answer
from shared.state.keys import exact
from shared.state.queries.health import with_checks
from shared.state.records import checks_on, find_node, read_node, read_service, services_on
from shared.state.snapshot import Snapshot
from shared.state.topics import ALL, NODE, NODE_CHECKS, NODE_SERVICES, SERVICE, Watch
from shared.structs.catalog import CheckServiceNode, Node, NodeInfo

_TABLES = ("nodes", "services", "checks")


def node_info(snap: Snapshot, name: str) -> Answer[list[NodeInfo]]:
    """A node with everything on it, as a list of one or none. Index: nodes, services, checks."""
    node = find_node(snap, name)
    folded = name.lower()
    watch: Watch = ((NODE, folded), (NODE_SERVICES, folded), (NODE_CHECKS, folded))
    found = [] if node is None else [_info(snap, node)]
    return Answer(max(1, snap.index(*_TABLES)), found, watch)


def node_dump(snap: Snapshot) -> Answer[list[NodeInfo]]:
    """All nodes with everything on them. Index: nodes, services, checks."""
    found = [_info(snap, read_node(row)) for _key, row in snap.scan(snap.tables.nodes)]
    return Answer(max(1, snap.index(*_TABLES)), found, ((NODE, ALL), (NODE_SERVICES, ALL), (NODE_CHECKS, ALL)))


def service_dump(snap: Snapshot, kind: str | None = None) -> Answer[list[CheckServiceNode]]:
    """All service instances, or those of a kind ("" is typical).

    Index: nodes, services, checks; of a kind: service_kind.<kind>."""
    if kind is None:
        instances = [read_service(row) for _key, row in snap.scan(snap.tables.services)]
        index = snap.index(*_TABLES)
    else:
        instances = []
        for primary in snap.scan_keys(snap.tables.services_by_kind, exact(kind)):
            row = snap.get(primary, None, snap.tables.services)
            if row is not None:
                instances.append(read_service(row))
        index = snap.index(f"service_kind.{kind or 'typical'}")
    watch: Watch = ((NODE, ALL), (SERVICE, ALL), (NODE_CHECKS, ALL))
    return Answer(max(1, index), list(with_checks(snap, instances)), watch)


def _info(snap: Snapshot, node: Node) -> NodeInfo:
    return NodeInfo(
        node.id,
        node.node,
        node.address,
        node.tagged_addresses,
        node.meta,
        list(services_on(snap, node.node)) or None,
        list(checks_on(snap, node.node)) or None,
    )
