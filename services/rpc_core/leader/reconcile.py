"""What the catalog has to be told about a gossip member: registered and passing, critical, or gone.

The leader does this for every member event and for all members once a minute. Pure: a member and what the
catalog says of it go in, at most one command comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.rpc_core.members import Member, MemberStatus, Server, server_of
from shared.structs.catalog import (
    CRITICAL,
    PASSING,
    SERF_CHECK_ID,
    DeregisterRequest,
    HealthCheck,
    Node,
    NodeService,
    RegisterRequest,
)
from shared.structs.proxy import Weights

SERF_CHECK_NAME = "Serf Health Status"
SERF_ALIVE_OUTPUT = "Agent alive and reachable"
SERF_FAILED_OUTPUT = "Agent not live or unreachable"
CONSUL_SERVICE = "consul"
"""Name and ID of the service that stands for a server."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """What the catalog holds under a member's name."""

    node: Node | None
    services: Mapping[str, NodeService]
    serf_status: str | None
    """Status of its serfHealth check, None if it has none."""


@dataclass(frozen=True, slots=True)
class Command:
    """A request for the log, and the line that announces it."""

    request: RegisterRequest | DeregisterRequest
    message: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing may be done, which is worth a warning or a word."""

    level: str
    message: str
    fields: Mapping[str, str]


def consul_service(member: Member, server: Server) -> NodeService:
    """The catalog's service entry of a server, with the Meta that tells its versions."""
    return NodeService(
        id=CONSUL_SERVICE,
        service=CONSUL_SERVICE,
        port=server.port,
        weights=Weights(passing=1, warning=1),
        meta={
            "non_voter": "true" if member.tags.get("non_voter") == "true" else "false",
            "raft_version": str(server.raft_version),
            "serf_protocol_current": str(member.protocol_cur),
            "serf_protocol_min": str(member.protocol_min),
            "serf_protocol_max": str(member.protocol_max),
            "version": server.build,
        },
    )


def reconcile(member: Member, entry: CatalogEntry, datacenter: str, own_name: str) -> Command | Refusal | None:
    """What to do about one member of our datacenter, None if the catalog is right already."""
    if member.status == MemberStatus.ALIVE:
        return _alive(member, entry, datacenter)
    if member.status == MemberStatus.FAILED:
        return _failed(member, entry, datacenter)
    if member.status in (MemberStatus.LEFT, MemberStatus.REAP):
        reason = "left" if member.status == MemberStatus.LEFT else "reaped"
        return _gone(member.name, reason, entry, datacenter, own_name)
    return None


def _alive(member: Member, entry: CatalogEntry, datacenter: str) -> Command | None:
    server = server_of(member)
    service = consul_service(member, server) if server is not None else None
    node = entry.node
    if node is not None and node.address == member.addr:
        known = entry.services.get(CONSUL_SERVICE)
        service_is_right = service is None or (known is not None and known.meta == service.meta)
        if service_is_right and entry.serf_status == PASSING:
            return None
    request = RegisterRequest(
        datacenter=datacenter,
        node=member.name,
        id=member.tags.get("id", ""),
        address=member.addr,
        service=service,
        check=_serf_check(member.name, PASSING, SERF_ALIVE_OUTPUT),
    )
    if node is None or (node.address, node.id) == (request.address, request.id):
        # Made if it is not there. What the node says of itself may be on its way through the log just now.
        request.skip_node_update = True
    else:  # what the node has said of itself stays
        request.tagged_addresses = node.tagged_addresses
        request.node_meta = node.meta
    return Command(request, "member joined, marking health alive", {"member": member.name})


def _failed(member: Member, entry: CatalogEntry, datacenter: str) -> Command | Refusal | None:
    if entry.node is None:
        message = "ignoring failed event for member because it does not exist in the catalog"
        return Refusal("info", message, {"member": member.name})
    if entry.node.address == member.addr and entry.serf_status == CRITICAL:
        return None
    request = RegisterRequest(
        datacenter=datacenter,
        node=member.name,
        id=member.tags.get("id", ""),
        address=member.addr,
        check=_serf_check(member.name, CRITICAL, SERF_FAILED_OUTPUT),
        skip_node_update=True,
    )
    return Command(request, "member failed, marking health critical", {"member": member.name})


def _gone(name: str, reason: str, entry: CatalogEntry, datacenter: str, own_name: str) -> Command | Refusal | None:
    if name == own_name:
        return Refusal("warn", "deregistering self should be done by follower", {"name": name})
    if entry.node is None:
        return None
    request = DeregisterRequest(datacenter=datacenter, node=name)
    return Command(request, "deregistering member", {"member": name, "reason": reason})


def _serf_check(node: str, status: str, output: str) -> HealthCheck:
    return HealthCheck(node=node, check_id=SERF_CHECK_ID, name=SERF_CHECK_NAME, status=status, output=output)
