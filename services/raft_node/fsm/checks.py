"""Health checks in the catalog: registration, removal, and the sessions that end with them."""

from __future__ import annotations

from services.raft_node.fsm import sessions
from services.raft_node.fsm.errors import CommandError
from services.raft_node.fsm.service_indexes import bump_service, bump_services_of_node
from shared.state.keys import exact, fold, pair
from shared.state.records import check_row, find_check, find_service, read_check, services_on
from shared.state.topics import NODE_CHECKS, SERVICE_CHECKS, STATE_CHECKS
from shared.state.transaction import WriteTransaction
from shared.structs.catalog import CRITICAL, HealthCheck

_COMPARED = (
    "node",
    "check_id",
    "name",
    "status",
    "notes",
    "output",
    "service_id",
    "service_name",
    "service_tags",
    "definition",
)
"""Fields that make a registration a change. The check's type is not among them, in Consul's way."""


def is_same(one: HealthCheck, other: HealthCheck) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _COMPARED)


def ensure(tx: WriteTransaction, index: int, check: HealthCheck, now_ns: int) -> None:
    """Registers a check. Its node and service must exist; a critical one ends the sessions tied to it.

    Registering an unchanged check still moves the index of the checks table, and so wakes everybody who
    watches checks; the check's own index and the services' stay."""
    existing = find_check(tx, check.node, check.check_id)
    if existing is not None:
        check.create_index, check.modify_index = existing.create_index, existing.modify_index
    else:
        check.create_index = index
    if not check.status:
        check.status = CRITICAL
    if tx.get(fold(check.node), None, tx.tables.nodes) is None:
        raise CommandError("Missing node registration")
    if check.service_id:
        service = find_service(tx, check.node, check.service_id)
        if service is None:
            raise CommandError("Missing service registration")
        check.service_name, check.service_tags = service.service, service.tags
        modified = existing is None or not is_same(existing, check)
        if modified:
            bump_service(tx, index, service.service, service.kind)
    else:
        modified = existing is None or not is_same(existing, check)
        if modified:
            bump_services_of_node(tx, index, check.node)
    if check.status == CRITICAL:
        sessions.destroy_for_check(tx, index, check.node, check.check_id, now_ns)
    if modified:
        check.modify_index = index
    elif existing is not None and existing.type != check.type:
        _touch_services_shown_in(tx, index, check)
    if existing is not None and existing.service_id.lower() != check.service_id.lower():
        _touch_services_shown_in(tx, index, existing)
    insert(tx, check, existing)
    tx.set_index("checks", index)
    _touch(tx, index, check)
    if existing is not None:
        _touch(tx, index, existing)


def _touch_services_shown_in(tx: WriteTransaction, index: int, check: HealthCheck) -> None:
    """What is seen of a check in services may change although no index says so: their versions must move.

    A check keeps the name that its service had when the check was written; it is shown under the present one."""
    if check.service_id:
        service = find_service(tx, check.node, check.service_id)
        if service is not None:
            tx.touch_service(service.service, index)
    else:
        for service in services_on(tx, check.node):
            tx.touch_service(service.service, index)


def insert(tx: WriteTransaction, check: HealthCheck, existing: HealthCheck | None) -> None:
    """Writes the rows of a check, without index rows."""
    if not check.check_id:
        raise CommandError("failed inserting check: object missing primary index")
    if existing is not None:
        _remove_lookups(tx, existing, keep=check)
    tables = tx.tables
    primary = pair(check.node, check.check_id)
    tx.put(primary, check_row(check), db=tables.checks)
    if existing is None or existing.status != check.status:
        tx.put(exact(check.status) + primary, b"", db=tables.checks_by_status)
    if check.service_name and (existing is None or existing.service_name != check.service_name):
        tx.put(fold(check.service_name) + primary, b"", db=tables.checks_by_service)
    if existing is None or existing.service_id != check.service_id:
        tx.put(_target_key(check), primary, db=tables.checks_by_target)


def _target_key(check: HealthCheck) -> bytes:
    return pair(check.node, check.service_id) + fold(check.check_id)


def _remove_lookups(tx: WriteTransaction, check: HealthCheck, keep: HealthCheck | None = None) -> None:
    """Removes index entries of a check that `keep`, its successor, does not have."""
    tables = tx.tables
    primary = pair(check.node, check.check_id)
    if keep is None or keep.status != check.status:
        tx.delete(exact(check.status) + primary, db=tables.checks_by_status)
    if check.service_name and (keep is None or keep.service_name != check.service_name):
        tx.delete(fold(check.service_name) + primary, db=tables.checks_by_service)
    if keep is None or keep.service_id != check.service_id:
        tx.delete(_target_key(check), db=tables.checks_by_target)


def delete(tx: WriteTransaction, index: int, node: str, check_id: str, now_ns: int) -> None:
    """Removes a check and ends the sessions tied to it. Nothing happens if it does not exist."""
    primary = pair(node, check_id)
    row = tx.get(primary, None, tx.tables.checks)
    if row is None:
        return
    check = read_check(row)
    if check.service_id:
        service = find_service(tx, check.node, check.service_id)
        bump_service(tx, index, check.service_name, service.kind if service is not None else "")
    else:
        bump_services_of_node(tx, index, check.node)
        tx.advance_index("services", index)
    _touch_services_shown_in(tx, index, check)
    tx.delete(primary, db=tx.tables.checks)
    _remove_lookups(tx, check)
    tx.set_index("checks", index)
    _touch(tx, index, check)
    sessions.destroy_for_check(tx, index, check.node, check.check_id, now_ns)


def _touch(tx: WriteTransaction, index: int, check: HealthCheck) -> None:
    tx.touch(NODE_CHECKS, check.node.lower(), index)
    tx.touch(STATE_CHECKS, check.status, index)
    if check.service_name:
        tx.touch(SERVICE_CHECKS, check.service_name.lower(), index)
