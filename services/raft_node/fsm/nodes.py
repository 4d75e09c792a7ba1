"""Nodes in the catalog: registration, renaming, removal with everything on them."""

from __future__ import annotations

from services.raft_node.fsm import checks, services, sessions
from services.raft_node.fsm.errors import CommandError
from services.raft_node.fsm.service_indexes import bump_service, bump_services_of_node
from shared.gotext.quoting import quote
from shared.state.keys import fold
from shared.state.records import (
    checks_on,
    find_check,
    find_node,
    find_node_by_id,
    id_key,
    node_row,
    services_on,
)
from shared.state.topics import COORDINATE, NODE
from shared.state.transaction import WriteTransaction
from shared.structs.catalog import CRITICAL, SERF_CHECK_ID, Node
from shared.structs.uuids import uuid_problem


def is_same(one: Node, other: Node) -> bool:
    return (
        one.id == other.id
        and one.node == other.node
        and one.address == other.address
        and one.datacenter == other.datacenter
        and one.tagged_addresses == other.tagged_addresses
        and one.meta == other.meta
    )


def lookup_by_id(tx: WriteTransaction, node_id: str) -> Node | None:
    """The node of an id. Raises CommandError if it is no UUID."""
    problem = uuid_problem(node_id)
    if problem is not None:
        raise CommandError(f"node lookup by ID failed, wrong UUID: {problem} for '{node_id}'")
    return find_node_by_id(tx, node_id)


def ensure(tx: WriteTransaction, index: int, node: Node, now_ns: int) -> None:
    """Registers a node. A known id under another name is a rename: the old name goes, with all that is on it.

    Raises CommandError if the name belongs to a living node with another id."""
    known: Node | None = None
    if node.id:
        try:
            known = lookup_by_id(tx, node.id)
        except CommandError as error:
            raise CommandError(f"node lookup failed: {error}") from None
        if known is None:
            problem = _name_clash(tx, node, allow_without_id=True)
            if problem is not None:
                raise CommandError(f"Error while renaming Node ID: {quote(node.id)}: {problem}")
        elif known.node != node.node:
            problem = _name_clash(tx, node, allow_without_id=False)
            if problem is not None:
                raise CommandError(f"Error while renaming Node ID: {quote(node.id)} ({node.address}): {problem}")
            delete(tx, index, known.node, now_ns)
    if known is None:
        known = find_node(tx, node.node)
    if known is not None:
        node.create_index, node.modify_index = known.create_index, known.modify_index
        if is_same(node, known):
            return
    else:
        node.create_index = index
    node.modify_index = index
    insert(tx, node)
    tx.set_index("nodes", index)
    tx.touch(NODE, node.node.lower(), index)
    bump_services_of_node(tx, index, node.node)


def _name_clash(tx: WriteTransaction, node: Node, allow_without_id: bool) -> str | None:
    """Why a node may not have its name: a node with another id has it and is alive."""
    holder = find_node(tx, node.node)
    if holder is None or holder.id == node.id:
        return None
    serf_check = find_check(tx, holder.node, SERF_CHECK_ID)
    healthy = serf_check is not None and serf_check.status != CRITICAL
    if not healthy or (not holder.id and allow_without_id):
        return None
    return f"Node name {node.node} is reserved by node {holder.id} with name {holder.node} ({holder.address})"


def insert(tx: WriteTransaction, node: Node) -> None:
    """Writes the rows of a node, without index rows."""
    if not node.node:
        raise CommandError("failed inserting node: object missing primary index")
    primary = fold(node.node)
    replaced = find_node(tx, node.node)
    if replaced is not None and replaced.id and replaced.id != node.id:
        tx.delete(id_key(replaced.id), db=tx.tables.nodes_by_id)
    tx.put(primary, node_row(node), db=tx.tables.nodes)
    if node.id:
        tx.put(id_key(node.id), primary, db=tx.tables.nodes_by_id)


def delete(tx: WriteTransaction, index: int, name: str, now_ns: int) -> None:
    """Removes a node with its services, checks, coordinates and sessions, in that order."""
    node = find_node(tx, name)
    if node is None:
        return
    doomed = list(services_on(tx, name))
    for service in doomed:
        bump_service(tx, index, service.service, service.kind)
    for service in doomed:
        services.delete(tx, index, name, service.id, now_ns)
    for check in list(checks_on(tx, name)):
        checks.delete(tx, index, name, check.check_id, now_ns)
    coordinates = [key for key, _row in tx.scan(tx.tables.coordinates, fold(name))]
    for key in coordinates:
        tx.delete(key, db=tx.tables.coordinates)
    if coordinates:
        tx.set_index("coordinates", index)
        tx.touch(COORDINATE, name.lower(), index)
    tx.delete(fold(name), db=tx.tables.nodes)
    if node.id:
        tx.delete(id_key(node.id), db=tx.tables.nodes_by_id)
    tx.set_index("nodes", index)
    tx.touch(NODE, name.lower(), index)
    sessions.destroy_for_node(tx, index, name, now_ns)
