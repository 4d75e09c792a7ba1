"""Service instances in the catalog: registration and removal."""

from __future__ import annotations

import re

from services.raft_node.fsm import checks
from services.raft_node.fsm.errors import CommandError
from services.raft_node.fsm.service_indexes import bump_service, connect_target, kind_index, touch_instance
from shared.state.keys import exact, fold, pair
from shared.state.queries.catalog import EXTINCTION
from shared.state.records import checks_of_target, read_service, service_row
from shared.state.transaction import WriteTransaction
from shared.structs.catalog import KIND_MESH_GATEWAY, NodeService
from shared.structs.proxy import Weights

_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")
_MAX_META_PAIRS, _MAX_META_KEY, _MAX_META_VALUE = 64, 128, 512
_RESERVED_PREFIX = "consul-"
_WAN_FEDERATION = "consul-wan-federation"
_MAX_WEIGHT = 65535

Stored = tuple[str, NodeService]
"""An instance in the store, and its node's name as it was spelled with it."""


def is_same(one: NodeService, other: NodeService) -> bool:
    """Whether two instances are equal apart from their indexes."""
    return (
        one.kind == other.kind
        and one.id == other.id
        and one.service == other.service
        and one.tags == other.tags
        and one.address == other.address
        and one.tagged_addresses == other.tagged_addresses
        and one.port == other.port
        and one.meta == other.meta
        and one.weights == other.weights
        and one.enable_tag_override == other.enable_tag_override
        and one.proxy == other.proxy
        and one.connect == other.connect
    )


def register(tx: WriteTransaction, index: int, node: str, service: NodeService) -> None:
    """As `ensure`, for a catalog registration: an equal service is left alone even if its node is spelled
    in another way now."""
    existing = _find(tx, node, service.id)
    if existing is None or not is_same(existing[1], service):
        _ensure(tx, index, node, service, existing)


def ensure(tx: WriteTransaction, index: int, node: str, service: NodeService) -> None:
    """Stores a service instance on a node that exists. An unchanged one moves no index."""
    _ensure(tx, index, node, service, _find(tx, node, service.id))


def _find(tx: WriteTransaction, node: str, service_id: str) -> Stored | None:
    row = tx.get(pair(node, service_id), None, tx.tables.services)
    return None if row is None else read_service(row)


def _ensure(tx: WriteTransaction, index: int, node: str, service: NodeService, existing: Stored | None) -> None:
    stored = as_stored(service)
    problem = meta_problem(service.kind, service.meta)
    if problem is not None:
        raise CommandError(f"Invalid Service Meta for node {node} and serviceID {service.id}: {problem}")
    if tx.get(fold(node), None, tx.tables.nodes) is None:
        raise CommandError("Missing node registration")
    if existing is not None and existing[0] == node and is_same(stored, existing[1]):
        return
    stored.create_index = index if existing is None else existing[1].create_index
    stored.modify_index = index
    insert(tx, node, stored, existing)
    tx.advance_index("services", index)
    bump_service(tx, index, stored.service, stored.kind)
    touch_instance(tx, index, node, stored)
    if existing is not None:
        # A name that was given up moves no index in Consul, but answers about it change.
        touch_instance(tx, index, node, existing[1])


def as_stored(service: NodeService) -> NodeService:
    """What of a registration is kept: valid weights, and nothing that only its agent needs to know."""
    weights = service.weights
    if weights is None or not (1 <= weights.passing <= _MAX_WEIGHT and 0 <= weights.warning <= _MAX_WEIGHT):
        weights = Weights(1, 1)
    return service.replace(weights=weights, locally_registered_as_sidecar=False)


def insert(tx: WriteTransaction, node: str, service: NodeService, existing: Stored | None) -> None:
    """Writes the rows of a service instance, without index rows."""
    if not service.id:
        raise CommandError("failed inserting service: object missing primary index")
    primary, tables = pair(node, service.id), tx.tables
    tx.put(primary, service_row(node, service), db=tables.services)
    if existing is not None:
        if _has_same_lookups(*existing, node, service):
            return
        _remove_lookups(tx, *existing)
    if service.service:
        tx.put(fold(service.service) + primary, b"", db=tables.services_by_name)
    tx.put(exact(service.kind) + primary, b"", db=tables.services_by_kind)
    target = connect_target(service)
    if target is not None:
        tx.put(fold(target) + primary, b"", db=tables.services_by_connect)


def _has_same_lookups(was_on: str, was: NodeService, node: str, service: NodeService) -> bool:
    """Whether an instance stays where it is in all tables that lead to it."""
    return (
        was_on == node
        and was.id == service.id
        and was.service == service.service
        and was.kind == service.kind
        and connect_target(was) == connect_target(service)
    )


def _remove_lookups(tx: WriteTransaction, node: str, service: NodeService) -> None:
    primary, tables = pair(node, service.id), tx.tables
    if service.service:
        tx.delete(fold(service.service) + primary, db=tables.services_by_name)
    tx.delete(exact(service.kind) + primary, db=tables.services_by_kind)
    target = connect_target(service)
    if target is not None:
        tx.delete(fold(target) + primary, db=tables.services_by_connect)


def delete(tx: WriteTransaction, index: int, node: str, service_id: str, now_ns: int) -> None:
    """Removes an instance and its checks. Nothing happens if it does not exist.

    The last instance of a service takes the service's index row with it; absent services share the row of
    the last extinction."""
    primary = pair(node, service_id)
    row = tx.get(primary, None, tx.tables.services)
    if row is None:
        return
    for check in list(checks_of_target(tx, node, service_id)):
        checks.delete(tx, index, node, check.check_id, now_ns)
    stored_node, service = read_service(row)
    tx.set_index("checks", index)
    tx.delete(primary, db=tx.tables.services)
    _remove_lookups(tx, stored_node, service)
    tx.advance_index("services", index)
    tx.advance_index(kind_index(service.kind), index)
    touch_instance(tx, index, stored_node, service)
    if tx.has_prefix(tx.tables.services_by_name, fold(service.service)):
        tx.advance_index(f"service.{service.service}", index)
    else:
        tx.drop_index(f"service.{service.service}")
        tx.set_index(EXTINCTION, index)


def meta_problem(kind: str, meta: dict[str, str] | None) -> str | None:
    """Why service metadata is refused, in Consul's words; None if it is fine."""
    if not meta:
        return None
    if len(meta) > _MAX_META_PAIRS:
        return f"Node metadata cannot contain more than {_MAX_META_PAIRS} key/value pairs"
    # Go visits a map in random order; the first bad pair by key makes all servers say the same.
    for key, value in sorted(meta.items()):
        problem = _pair_problem(kind, key, value)
        if problem is not None:
            return f"Couldn't load metadata pair ('{key}', '{value}'): {problem}"
    return None


def _pair_problem(kind: str, key: str, value: str) -> str | None:
    if not key:
        return "Key cannot be blank"
    if _META_KEY.fullmatch(key) is None:
        return "Key contains invalid characters"
    if len(key) > _MAX_META_KEY:
        return f"Key is too long (limit: {_MAX_META_KEY} characters)"
    if key.startswith(_RESERVED_PREFIX) and not (kind == KIND_MESH_GATEWAY and key == _WAN_FEDERATION):
        return f"Key prefix '{_RESERVED_PREFIX}' is reserved for internal use"
    if len(value.encode("utf-8", "surrogateescape")) > _MAX_META_VALUE:
        return f"Value is too long (limit: {_MAX_META_VALUE} characters)"
    return None
