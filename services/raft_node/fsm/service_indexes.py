"""The index rows and topics that move when something visible in services changes."""

from __future__ import annotations

from shared.state.keys import fold
from shared.state.records import read_service
from shared.state.topics import CONNECT, NODE_SERVICES
from shared.state.transaction import WriteTransaction
from shared.structs.catalog import KIND_CONNECT_PROXY, NodeService


def kind_index(kind: str) -> str:
    """Name of the index row of a service kind."""
    return f"service_kind.{kind or 'typical'}"


def connect_target(service: NodeService) -> str | None:
    """The service for which an instance speaks Connect: a proxy's destination, or itself if native."""
    if service.kind == KIND_CONNECT_PROXY:
        return service.proxy.destination_service_name
    return service.service if service.connect.native else None


def bump_service(tx: WriteTransaction, index: int, name: str, kind: str) -> None:
    """Moves the index of a service and of its kind, because one of its instances, nodes or checks changed."""
    tx.advance_index(f"service.{name}", index)
    tx.advance_index(kind_index(kind), index)
    tx.touch_service(name, index)


def bump_services_of_node(tx: WriteTransaction, index: int, node: str) -> None:
    """Moves the indexes of all services on a node: the node or a check of the node itself changed."""
    for _key, row in tx.scan(tx.tables.services, fold(node)):
        _node, service = read_service(row)
        bump_service(tx, index, service.service, service.kind)


def touch_instance(tx: WriteTransaction, index: int, node: str, service: NodeService) -> None:
    """Topics of a service instance that was written or removed."""
    tx.touch_service(service.service, index)
    tx.touch(NODE_SERVICES, node.lower(), index)
    target = connect_target(service)
    if target is not None:
        tx.touch(CONNECT, target.lower(), index)
