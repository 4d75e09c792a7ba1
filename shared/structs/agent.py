"""A service as the agent shows it: what /v1/agent/service and its relatives answer with.

These are the types of Consul's client library: same content as NodeService, other order, other omissions."""

from __future__ import annotations

from typing import Any

from shared.structs.catalog import (
    KIND_CONNECT_PROXY,
    KIND_INGRESS_GATEWAY,
    KIND_MESH_GATEWAY,
    KIND_TERMINATING_GATEWAY,
    NodeService,
)
from shared.structs.proxy import (
    ConnectProxyConfig,
    ExposeConfig,
    MeshGatewayConfig,
    ServiceAddress,
    Upstream,
    Weights,
)
from shared.structs.schema import (
    ANY,
    BOOL,
    INT,
    STR,
    STR_MAP,
    STRS,
    UINT,
    Struct,
    attr,
    list_of,
    map_of,
    opt,
    struct,
)

_WITH_PROXY = frozenset({KIND_CONNECT_PROXY, KIND_MESH_GATEWAY, KIND_TERMINATING_GATEWAY, KIND_INGRESS_GATEWAY})


class AgentUpstream(Struct):
    go_name = "Upstream"

    destination_type: str = attr("DestinationType", STR, omitempty=True)
    destination_namespace: str = attr("DestinationNamespace", STR, omitempty=True)
    destination_name: str = attr("DestinationName", STR)
    datacenter: str = attr("Datacenter", STR, omitempty=True)
    local_bind_address: str = attr("LocalBindAddress", STR, omitempty=True)
    local_bind_port: int = attr("LocalBindPort", INT, omitempty=True)
    config: dict[str, Any] | None = attr("Config", map_of(ANY), omitempty=True)
    mesh_gateway: MeshGatewayConfig = attr("MeshGateway", struct(lambda: MeshGatewayConfig))

    @classmethod
    def of(cls, upstream: Upstream) -> AgentUpstream:
        return cls(**{declared.name: getattr(upstream, declared.name) for declared in cls.attrs})


class AgentProxy(Struct):
    go_name = "AgentServiceConnectProxyConfig"

    destination_service_name: str = attr("DestinationServiceName", STR, omitempty=True)
    destination_service_id: str = attr("DestinationServiceID", STR, omitempty=True)
    local_service_address: str = attr("LocalServiceAddress", STR, omitempty=True)
    local_service_port: int = attr("LocalServicePort", INT, omitempty=True)
    config: dict[str, Any] | None = attr("Config", map_of(ANY), omitempty=True)
    upstreams: list[AgentUpstream] | None = attr("Upstreams", list_of(struct(lambda: AgentUpstream)), omitempty=True)
    mesh_gateway: MeshGatewayConfig = attr("MeshGateway", struct(lambda: MeshGatewayConfig))
    expose: ExposeConfig = attr("Expose", struct(lambda: ExposeConfig))

    @classmethod
    def of(cls, proxy: ConnectProxyConfig) -> AgentProxy:
        fields = {declared.name: getattr(proxy, declared.name) for declared in cls.attrs}
        fields["upstreams"] = [AgentUpstream.of(each) for each in proxy.upstreams or ()]
        return cls(**fields)


class AgentConnect(Struct):
    go_name = "AgentServiceConnect"

    native: bool = attr("Native", BOOL, omitempty=True)


class AgentService(Struct):
    """content_hash: hexadecimal, only where one service is asked for."""

    kind: str = attr("Kind", STR, omitempty=True)
    id: str = attr("ID", STR)
    service: str = attr("Service", STR)
    tags: list[str] | None = attr("Tags", STRS)
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    port: int = attr("Port", INT)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, ServiceAddress] | None = attr(
        "TaggedAddresses", map_of(struct(lambda: ServiceAddress)), omitempty=True
    )
    weights: Weights = attr("Weights", struct(lambda: Weights))
    enable_tag_override: bool = attr("EnableTagOverride", BOOL)
    create_index: int = attr("CreateIndex", UINT, omitempty=True)
    modify_index: int = attr("ModifyIndex", UINT, omitempty=True)
    content_hash: str = attr("ContentHash", STR, omitempty=True)
    proxy: AgentProxy | None = attr("Proxy", opt(lambda: AgentProxy), omitempty=True)
    connect: AgentConnect | None = attr("Connect", opt(lambda: AgentConnect), omitempty=True)

    @classmethod
    def of(cls, service: NodeService) -> AgentService:
        """The agent's view of one of its services."""
        weights = Weights(passing=1, warning=1)
        if service.weights is not None:
            passing = service.weights.passing
            weights = Weights(passing=passing if passing > 0 else 1, warning=service.weights.warning)
        return cls(
            kind=service.kind,
            id=service.id,
            service=service.service,
            tags=service.tags or [],
            meta=service.meta or {},
            port=service.port,
            address=service.address,
            tagged_addresses=service.tagged_addresses or None,
            weights=weights,
            enable_tag_override=service.enable_tag_override,
            create_index=service.create_index,
            modify_index=service.modify_index,
            proxy=AgentProxy.of(service.proxy) if service.kind in _WITH_PROXY else None,
            connect=AgentConnect(native=True) if service.connect.native else None,
        )
