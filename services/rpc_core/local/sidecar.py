"""Sidecars: the proxy service that a definition's connect.sidecar_service stands for, completed from its parent."""

from __future__ import annotations

from collections.abc import Mapping

from services.rpc_core.local import definitions
from shared.config.runtime import RuntimeConfig, join_host_port
from shared.structs.catalog import KIND_CONNECT_PROXY, NodeService
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

_CHECK_INTERVAL_NS = 10_000_000_000


def sidecar_id(service_id: str) -> str:
    return f"{service_id}-sidecar-proxy"


def sidecar_of(
    parent: NodeService, token: str, known: Mapping[str, NodeService], config: RuntimeConfig
) -> tuple[NodeService, list[CheckType], str] | None:
    """Service, checks and token of the sidecar that `parent` asks for, None if it asks for none.

    known: the agent's services, whose ports are taken. Raises RefusedError."""
    definition = parent.connect.sidecar_service
    if definition is None:
        return None
    sidecar = definitions.node_service(definition)
    sidecar.id = sidecar_id(parent.id)
    if sidecar.meta is not None:
        definitions.validate_meta(sidecar.kind, sidecar.meta)
    if not sidecar.meta and parent.meta:
        sidecar.meta = dict(parent.meta)
    if not sidecar.tags and parent.tags:
        sidecar.tags = list(parent.tags)
    sidecar.locally_registered_as_sidecar = True
    sidecar.kind = sidecar.kind or KIND_CONNECT_PROXY
    sidecar.service = sidecar.service or f"{parent.service}-sidecar-proxy"
    sidecar.address = sidecar.address or parent.address
    proxy = sidecar.proxy
    proxy.destination_service_name = proxy.destination_service_name or parent.service
    proxy.destination_service_id = proxy.destination_service_id or parent.id
    proxy.local_service_address = proxy.local_service_address or "127.0.0.1"
    if proxy.local_service_port < 1:
        proxy.local_service_port = parent.port
    if sidecar.port < 1:
        sidecar.port = _free_port(sidecar.id, known, config.ports.sidecar_min_port, config.ports.sidecar_max_port)
    found = definitions.check_types(definition) or _default_checks(sidecar, parent.id)
    return sidecar, found, definition.token or token


def _free_port(own_id: str, known: Mapping[str, NodeService], lowest: int, highest: int) -> int:
    """The port the sidecar has already, or the first in the range that no service has. Raises RefusedError."""
    if lowest < 1 or highest < 1:
        raise RefusedError("no port provided for sidecar_service and auto-assignment disabled in config")
    taken = {}
    for service in known.values():
        if lowest <= service.port <= highest:
            taken[service.port] = service.id
    for port, owner in taken.items():
        if owner == own_id:
            return port
    for port in range(lowest, highest + 1):
        if port not in taken:
            return port
    raise RefusedError(
        f"no port provided for sidecar_service and none left in the configured range [{lowest}, {highest}]"
    )


def _default_checks(sidecar: NodeService, parent_id: str) -> list[CheckType]:
    """That the proxy listens, and that its service is well."""
    return [
        CheckType(
            name="Connect Sidecar Listening",
            tcp=join_host_port(sidecar.proxy.local_service_address, sidecar.port),
            interval=_CHECK_INTERVAL_NS,
        ),
        CheckType(name=f"Connect Sidecar Aliasing {parent_id}", alias_service=parent_id),
    ]
