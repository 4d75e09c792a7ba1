"""Register and Deregister (message types 0 and 1): a node, a service and checks in one step."""

from __future__ import annotations

from services.raft_node.fsm import checks, nodes, services
from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.state.records import find_node
from shared.state.transaction import WriteTransaction
from shared.structs import wire
from shared.structs.catalog import DeregisterRequest, HealthCheck, Node, RegisterRequest


def register(tx: WriteTransaction, index: int, data: bytes, now_ns: int) -> None:
    """Applies one RegisterRequest. Raises CommandError, after which the caller must roll back."""
    request = RegisterRequest.from_wire(wire.unpack(data))
    existing = find_node(tx, request.node)
    if existing is None or _changes_node(request, existing):
        node = Node(
            request.id,
            request.node,
            request.address,
            request.datacenter,
            request.tagged_addresses,
            request.node_meta,
        )
        try:
            nodes.ensure(tx, index, node, now_ns)
        except CommandError as error:
            raise CommandError(f"failed inserting node: {error}") from None
    if request.service is not None:
        try:
            services.register(tx, index, request.node, request.service)
        except CommandError as error:
            raise CommandError(f"failed inserting service: {error}") from None
    if request.check is not None:
        _ensure_check(tx, index, request.node, request.check, now_ns)
    for check in request.checks or ():
        _ensure_check(tx, index, request.node, check, now_ns)


def _changes_node(request: RegisterRequest, node: Node) -> bool:
    if request.skip_node_update:
        return False
    return (
        request.id != node.id
        or request.node != node.node
        or request.address != node.address
        or request.datacenter != node.datacenter
        or request.tagged_addresses != node.tagged_addresses
        or request.node_meta != node.meta
    )


def _ensure_check(tx: WriteTransaction, index: int, node: str, check: HealthCheck, now_ns: int) -> None:
    if check.node != node:
        raise CommandError(f"check node {quote(check.node)} does not match node {quote(node)}")
    try:
        checks.ensure(tx, index, check, now_ns)
    except CommandError as error:
        raise CommandError(f"failed inserting check: {error} on node {quote(check.node)}") from None


def deregister(tx: WriteTransaction, index: int, data: bytes, now_ns: int) -> None:
    """Applies one DeregisterRequest: a service, a check or a whole node. Unknown targets are no error."""
    request = DeregisterRequest.from_wire(wire.unpack(data))
    if request.service_id:
        services.delete(tx, index, request.node, request.service_id, now_ns)
    elif request.check_id:
        checks.delete(tx, index, request.node, request.check_id, now_ns)
    else:
        nodes.delete(tx, index, request.node, now_ns)
