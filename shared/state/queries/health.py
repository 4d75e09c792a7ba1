"""Health reads: checks, and service instances with their nodes and checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shared.state.answer import Answer
from shared.state.keys import exact, fold
from shared.state.queries.catalog import instances_of, service_index
from shared.state.records import (
    checks_of_target,
    checks_on,
    find_node,
    has_tags,
    read_check,
    satisfies_meta,
)
from shared.state.snapshot import Snapshot
from shared.state.topics import ALL, CONNECT, NODE, NODE_CHECKS, SERVICE, SERVICE_CHECKS, STATE_CHECKS, Watch
from shared.structs.catalog import (
    ANY_STATE,
    CheckServiceNode,
    HealthCheck,
    Node,
    NodeService,
)


def node_checks(snap: Snapshot, node: str) -> Answer[list[HealthCheck]]:
    """Checks of a node. Index: checks."""
    watch: Watch = ((NODE_CHECKS, node.lower()),)
    return Answer(max(1, snap.index("checks")), list(checks_on(snap, node)), watch)


def service_checks(
    snap: Snapshot, service: str, node_meta: Mapping[str, str] | None = None
) -> Answer[list[HealthCheck]]:
    """Checks of all instances of a service. Index: checks; with a node filter that of the service."""
    watch: Watch = ((SERVICE_CHECKS, service.lower()),)
    index = snap.index("checks")
    if node_meta:
        index = service_index(snap, service, True, ("nodes", "services", "checks"))
        watch = (*watch, (SERVICE, service.lower()), (NODE, ALL))
    found = list(_checks_by(snap, snap.tables.checks_by_service, fold(service)))
    return Answer(max(1, index), _on_nodes_with(snap, found, node_meta), watch)


def checks_in_state(
    snap: Snapshot, state: str, node_meta: Mapping[str, str] | None = None
) -> Answer[list[HealthCheck]]:
    """Checks with a status; state "any" gives all. Index: checks."""
    if state == ANY_STATE:
        found = [read_check(row) for _key, row in snap.scan(snap.tables.checks)]
        watch: Watch = ((NODE_CHECKS, ALL),)
    else:
        found = list(_checks_by(snap, snap.tables.checks_by_status, exact(state)))
        watch = ((STATE_CHECKS, state),)
    if node_meta:
        watch = (*watch, (NODE, ALL))
    return Answer(max(1, snap.index("checks")), _on_nodes_with(snap, found, node_meta), watch)


def service_nodes(
    snap: Snapshot,
    name: str,
    tags: Sequence[str] = (),
    node_meta: Mapping[str, str] | None = None,
    connect: bool = False,
) -> Answer[list[CheckServiceNode]]:
    """Instances of a service (having all tags) with node and checks; with `connect` what speaks Connect for it.

    Unhealthy instances are included. Index: that of the service, for Connect the highest of
    the services found; without instances (tags not looked at) the last extinction's."""
    instances = list(instances_of(snap, name, connect))
    tables = ("nodes", "services", "checks")
    watch: list[tuple[str, str]] = [(CONNECT if connect else SERVICE, name.lower())]
    if connect and instances:
        names = dict.fromkeys(service.service.lower() for _node, service in instances)
        index = max(service_index(snap, each, True, tables) for each in names)
        watch += [(SERVICE, each) for each in names]
    else:
        index = service_index(snap, name, bool(instances), tables)
    chosen = [pair for pair in instances if connect or has_tags(pair[1].tags, list(tags))]
    found = [
        made
        for made in with_checks(snap, chosen)
        if made.node is not None and satisfies_meta(made.node.meta, node_meta)
    ]
    return Answer(max(1, index), found, tuple(watch))


def with_checks(snap: Snapshot, instances: list[tuple[str, NodeService]]) -> Iterator[CheckServiceNode]:
    """Instances with their nodes and checks: those of the node first, then those of the service."""
    known: dict[str, tuple[Node | None, list[HealthCheck]]] = {}
    for node_name, service in instances:
        if node_name not in known:
            known[node_name] = find_node(snap, node_name), list(checks_of_target(snap, node_name, ""))
        node, on_node = known[node_name]
        own = checks_of_target(snap, node_name, service.id)
        yield CheckServiceNode(node=node, service=service, checks=[*on_node, *own] or None)


def _checks_by(snap: Snapshot, index: object, prefix: bytes) -> Iterator[HealthCheck]:
    for primary in snap.scan_keys(index, prefix):
        row = snap.get(primary, None, snap.tables.checks)
        if row is not None:
            yield read_check(row)


def _on_nodes_with(snap: Snapshot, checks: list[HealthCheck], node_meta: Mapping[str, str] | None) -> list[HealthCheck]:
    if not node_meta:
        return checks
    fits: dict[str, bool] = {}
    for check in checks:
        if check.node not in fits:
            node = find_node(snap, check.node)
            fits[check.node] = node is not None and satisfies_meta(node.meta, node_meta)
    return [check for check in checks if fits[check.node]]
