"""What the catalog says of gossip members, read from one snapshot."""

from __future__ import annotations

from services.rpc_core.leader.reconcile import CatalogEntry
from shared.state.queries import health
from shared.state.records import find_check, find_node, services_on
from shared.state.snapshot import Snapshot
from shared.structs.catalog import ANY_STATE, SERF_CHECK_ID


def read_entry(snap: Snapshot, name: str) -> CatalogEntry:
    """The catalog's entry of one node."""
    check = find_check(snap, name, SERF_CHECK_ID)
    return CatalogEntry(
        node=find_node(snap, name),
        services={service.id: service for service in services_on(snap, name)},
        serf_status=None if check is None else check.status,
    )


def known_serf_nodes(snap: Snapshot) -> list[str]:
    """Nodes that were registered on behalf of gossip: those with a serfHealth check."""
    checks = health.checks_in_state(snap, ANY_STATE).value
    return [check.node for check in checks if check.check_id == SERF_CHECK_ID]
