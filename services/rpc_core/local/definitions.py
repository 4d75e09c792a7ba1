"""Service definitions: from config files, to what the local state holds, and what is refused with which words."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from services.rpc_core.local.checks import definition as checks
from shared.log import get_logger
from shared.structs.catalog import KIND_MESH_GATEWAY, NodeService
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType, ConnectProxyConfig, ServiceConnect, ServiceDefinition, Weights
from shared.structs.schema import Kind, Struct

_log = get_logger("agent")

ANY_ADDRESSES = ("0.0.0.0", "::", "[::]")  # refused, not bound
STATUSES = ("passing", "warning", "critical")
_DNS_LABEL_MAX = 63
_NOT_DNS = re.compile(r"[^A-Za-z0-9\\-]+")
_MESH_GATEWAY_META = frozenset({"consul-wan-federation"})
_WEIGHT_MAX = 65535
_FAMILIES = {"lan_ipv4": 4, "wan_ipv4": 4, "lan_ipv6": 6}
"""Tagged addresses whose family is checked. Consul forgets wan_ipv6."""

S = TypeVar("S", bound=Struct)


# -- from config files ------------------------------------------------------------------------------


def from_config(definition: dict[str, Any]) -> ServiceDefinition:
    """A service of a config file, as shared.config.services converted it."""
    made = _struct(ServiceDefinition, {k: v for k, v in definition.items() if k not in ("checks", "connect")})
    made.checks = [checks.check_type_from_config(check) for check in definition.get("checks", ())]
    connect = definition.get("connect")
    if connect is not None:
        sidecar = connect.get("sidecar_service")
        made.connect = ServiceConnect(
            native=bool(connect.get("native")),
            sidecar_service=None if sidecar is None else from_config(sidecar),
        )
    return made


def _struct(cls: type[S], values: dict[str, Any]) -> S:
    """Fields of the record from the keys of the file, which are their names."""
    fields = {a.name: _value(a.kind, values[a.name]) for a in cls.attrs if values.get(a.name) is not None}
    return cls(**fields)


def _value(kind: Kind, value: Any) -> Any:
    if kind.name in ("struct", "opt") and kind.target is not None:
        return _struct(kind.target(), value)
    if kind.inner is not None and kind.inner.name in ("struct", "opt"):
        if kind.name == "list":
            return [_value(kind.inner, item) for item in value]
        return {key: _value(kind.inner, item) for key, item in value.items()}
    return value


# -- what they say ----------------------------------------------------------------------------------


def node_service(definition: ServiceDefinition) -> NodeService:
    """The service that a definition describes."""
    service = NodeService(
        kind=definition.kind,
        id=definition.id or definition.name,
        service=definition.name,
        tags=definition.tags,
        address=definition.address,
        tagged_addresses=dict(definition.tagged_addresses) if definition.tagged_addresses else None,
        meta=definition.meta,
        port=definition.port,
        weights=definition.weights,
        enable_tag_override=definition.enable_tag_override,
        connect=ServiceConnect() if definition.connect is None else definition.connect.copy(),
        proxy=ConnectProxyConfig() if definition.proxy is None else definition.proxy.copy(),
    )
    for upstream in service.proxy.upstreams or ():
        upstream.destination_type = upstream.destination_type or "service"
    return service


def check_types(definition: ServiceDefinition) -> list[CheckType]:
    """The checks of a definition. Raises RefusedError for one that nobody could run."""
    found = [] if checks.is_empty(definition.check) else [definition.check]
    found += [check for check in definition.checks or () if check is not None]
    for check in found:
        checks.validate(check)
    return found


# -- what is refused --------------------------------------------------------------------------------


def validate_weights(weights: Weights | None) -> None:
    """Raises RefusedError for DNS weights out of range."""
    if weights is None:
        return
    if weights.passing < 1:
        raise RefusedError("Passing must be greater than 0")
    if weights.warning < 0:
        raise RefusedError("Warning must be greater or equal than 0")
    if weights.passing > _WEIGHT_MAX or weights.warning > _WEIGHT_MAX:
        raise RefusedError("DNS Weight must be between 0 and 65535")


def validate_meta(kind: str, meta: dict[str, str] | None) -> None:
    """Raises RefusedError for metadata that cannot be stored."""
    if not meta:
        return
    from shared.config.services import invalid_metadata  # most services have none: it brings the builder's part along

    allowed = _MESH_GATEWAY_META if kind == KIND_MESH_GATEWAY else frozenset()
    if reason := invalid_metadata(meta, allowed):
        raise RefusedError(reason)


def complete(service: NodeService, found: list[CheckType]) -> None:
    """Fill in what the agent fills in. Raises RefusedError for what the agent cannot keep."""
    if not service.service:
        raise RefusedError("Service name missing")
    service.id = service.id or service.service
    for check in found:
        try:
            checks.validate(check)
        except RefusedError as error:
            raise RefusedError(f"Check is not valid: {error}") from None
    if service.weights is None:
        service.weights = Weights(passing=1, warning=1)
    _warn_of_names(service)
    for tag, family in _FAMILIES.items():
        address = (service.tagged_addresses or {}).get(tag)
        if address is not None and ip_family(address.address) != family:
            raise RefusedError(f'Service tagged address "{tag}" must be a valid ipv{family} address')


def _warn_of_names(service: NodeService) -> None:
    if _NOT_DNS.search(service.service):
        _log.warn(
            "Service name will not be discoverable via DNS due to invalid characters. "
            "Valid characters include all alpha-numerics and dashes.",
            service=service.service,
        )
    elif len(service.service) > _DNS_LABEL_MAX:
        _log.warn(
            "Service name will not be discoverable via DNS due to it being too long. "
            "Valid lengths are between 1 and 63 bytes.",
            service=service.service,
        )
    for tag in service.tags or ():
        if _NOT_DNS.search(tag):
            _log.debug(
                "Service tag will not be discoverable via DNS due to invalid characters. "
                "Valid characters include all alpha-numerics and dashes.",
                tag=tag,
            )
        elif len(tag) > _DNS_LABEL_MAX:
            _log.debug(
                "Service tag will not be discoverable via DNS due to it being too long. "
                "Valid lengths are between 1 and 63 bytes.",
                tag=tag,
            )


def ip_family(address: str) -> int:
    """4 or 6 for an IP address, 0 for a host name or nothing. A v4 address in v6 notation counts as v4."""
    import ipaddress

    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return 0
    if isinstance(parsed, ipaddress.IPv4Address):
        return 4
    if parsed.scope_id is not None:
        return 0
    return 6 if parsed.ipv4_mapped is None else 4
