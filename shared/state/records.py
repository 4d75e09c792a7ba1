"""Catalog rows as records, and the lookups that several queries and the FSM share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared.state.keys import fold, pair
from shared.state.snapshot import Snapshot
from shared.state.tables import pack_row, unpack_row
from shared.structs.catalog import HealthCheck, Node, NodeService

# Positions in a service's row, for queries that need two fields of thousands of rows.
_NAMES = [declared.name for declared in NodeService.attrs]
SERVICE_NAME_AT, SERVICE_TAGS_AT = _NAMES.index("service"), _NAMES.index("tags")


def node_row(node: Node) -> bytes:
    return pack_row(node.to_row())


def service_row(node: str, service: NodeService) -> bytes:
    """A service row holds its node's name as it was spelled when the service was written."""
    return pack_row((node, service.to_row()))


def check_row(check: HealthCheck) -> bytes:
    return pack_row(check.to_row())


def read_node(row: bytes) -> Node:
    return Node.from_row(unpack_row(row))


def read_service(row: bytes) -> tuple[str, NodeService]:
    node, fields = unpack_row(row)
    return node, NodeService.from_row(fields)


def read_check(row: bytes) -> HealthCheck:
    return HealthCheck.from_row(unpack_row(row))


def find_node(snap: Snapshot, name: str) -> Node | None:
    """The node of a name, in any case."""
    row = snap.get(fold(name), None, snap.tables.nodes)
    return None if row is None else read_node(row)


def id_key(node_id: str) -> bytes:
    """A node id as the key of nodes_by_id: lower-case hex without hyphens."""
    return node_id.replace("-", "").lower().encode("utf-8", "surrogateescape")


def find_node_by_id(snap: Snapshot, node_id: str) -> Node | None:
    key = id_key(node_id)
    if not key:
        return None
    primary = snap.get(key, None, snap.tables.nodes_by_id)
    row = None if primary is None else snap.get(primary, None, snap.tables.nodes)
    return None if row is None else read_node(row)


def find_node_by_name_or_id(snap: Snapshot, name_or_id: str) -> Node | None:
    """The node of a name; failing that the only node whose id starts with the text (two hex digits or more).

    Source: an ambiguous or malformed id finds nothing, as in Consul."""
    node = find_node(snap, name_or_id) if name_or_id else None
    if node is not None or len(name_or_id) < 2:
        return node
    wanted = name_or_id[: len(name_or_id) // 2 * 2]
    key = id_key(wanted)
    if len(wanted) > 36 or wanted.count("-") > 4 or len(key) % 2 or key.strip(b"0123456789abcdef") or not key:
        return None
    rows = snap.scan(snap.tables.nodes_by_id, key)
    first = next(rows, None)
    if first is None or next(rows, None) is not None:
        return None
    row = snap.get(first[1], None, snap.tables.nodes)
    return None if row is None else read_node(row)


def find_service(snap: Snapshot, node: str, service_id: str) -> NodeService | None:
    row = snap.get(pair(node, service_id), None, snap.tables.services)
    return None if row is None else read_service(row)[1]


def find_check(snap: Snapshot, node: str, check_id: str) -> HealthCheck | None:
    row = snap.get(pair(node, check_id), None, snap.tables.checks)
    return None if row is None else read_check(row)


def services_on(snap: Snapshot, node: str) -> Iterator[NodeService]:
    """Services of a node by id."""
    for _key, row in snap.scan(snap.tables.services, fold(node)):
        yield read_service(row)[1]


def checks_on(snap: Snapshot, node: str) -> Iterator[HealthCheck]:
    """Checks of a node by id."""
    for _key, row in snap.scan(snap.tables.checks, fold(node)):
        yield read_check(row)


def checks_of_target(snap: Snapshot, node: str, service_id: str) -> Iterator[HealthCheck]:
    """Checks of one service of a node, or (service_id "") those of the node itself."""
    for _key, primary in snap.scan(snap.tables.checks_by_target, pair(node, service_id)):
        row = snap.get(primary, None, snap.tables.checks)
        if row is not None:
            yield read_check(row)


def satisfies_meta(meta: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> bool:
    """Whether metadata has all wanted pairs."""
    if not wanted:
        return True
    return meta is not None and all(meta.get(key) == value for key, value in wanted.items())


def has_tags(tags: list[str] | None, wanted: tuple[str, ...] | list[str]) -> bool:
    """Whether all wanted tags are there, in any case."""
    if not wanted:
        return True
    have = {tag.lower() for tag in tags or ()}
    return all(tag.lower() in have for tag in wanted)
