"""Catalog records: nodes, services, health checks, and the requests that write them.

RaftIndex is flattened as create_index and modify_index. Definition of a check: durations are nanoseconds,
shown as text in JSON, except TTL, which Consul shows as a number."""

from __future__ import annotations

from shared.structs.proxy import ConnectProxyConfig, ServiceAddress, ServiceConnect, Weights
from shared.structs.schema import (
    BOOL,
    DURATION_ANY,
    DURATION_TEXT,
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

PASSING, WARNING, CRITICAL, MAINTENANCE = "passing", "warning", "critical", "maintenance"
ANY_STATE = "any"
SERF_CHECK_ID = "serfHealth"

KIND_CONNECT_PROXY = "connect-proxy"
KIND_MESH_GATEWAY = "mesh-gateway"
KIND_TERMINATING_GATEWAY = "terminating-gateway"
KIND_INGRESS_GATEWAY = "ingress-gateway"


class Node(Struct):
    """A row of the nodes table."""

    id: str = attr("ID", STR, go_type="types.NodeID")
    node: str = attr("Node", STR)
    address: str = attr("Address", STR)
    datacenter: str = attr("Datacenter", STR)
    tagged_addresses: dict[str, str] | None = attr("TaggedAddresses", STR_MAP)
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class NodeService(Struct):
    """A service instance as its node sees it."""

    kind: str = attr("Kind", STR, omitempty=True, go_type="structs.ServiceKind")
    id: str = attr("ID", STR)
    service: str = attr("Service", STR)
    tags: list[str] | None = attr("Tags", STRS)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, ServiceAddress] | None = attr(
        "TaggedAddresses", map_of(struct(lambda: ServiceAddress, "structs.ServiceAddress")), omitempty=True
    )
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    port: int = attr("Port", INT)
    weights: Weights | None = attr("Weights", opt(lambda: Weights, "structs.Weights"))
    enable_tag_override: bool = attr("EnableTagOverride", BOOL)
    proxy: ConnectProxyConfig = attr("Proxy", struct(lambda: ConnectProxyConfig, "structs.ConnectProxyConfig"))
    connect: ServiceConnect = attr("Connect", struct(lambda: ServiceConnect, "structs.ServiceConnect"))
    locally_registered_as_sidecar: bool = attr("LocallyRegisteredAsSidecar", BOOL, json=None)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class ServiceNode(Struct):
    """A service instance with its node, flat: what Catalog.ServiceNodes returns."""

    id: str = attr("ID", STR, go_type="types.NodeID")
    node: str = attr("Node", STR)
    address: str = attr("Address", STR)
    datacenter: str = attr("Datacenter", STR)
    tagged_addresses: dict[str, str] | None = attr("TaggedAddresses", STR_MAP)
    node_meta: dict[str, str] | None = attr("NodeMeta", STR_MAP)
    service_kind: str = attr("ServiceKind", STR, go_type="structs.ServiceKind")
    service_id: str = attr("ServiceID", STR)
    service_name: str = attr("ServiceName", STR)
    service_tags: list[str] | None = attr("ServiceTags", STRS)
    service_address: str = attr("ServiceAddress", STR)
    service_tagged_addresses: dict[str, ServiceAddress] | None = attr(
        "ServiceTaggedAddresses",
        map_of(struct(lambda: ServiceAddress, "structs.ServiceAddress")),
        omitempty=True,
    )
    service_weights: Weights = attr("ServiceWeights", struct(lambda: Weights, "structs.Weights"))
    service_meta: dict[str, str] | None = attr("ServiceMeta", STR_MAP)
    service_port: int = attr("ServicePort", INT)
    service_enable_tag_override: bool = attr("ServiceEnableTagOverride", BOOL)
    service_proxy: ConnectProxyConfig = attr(
        "ServiceProxy", struct(lambda: ConnectProxyConfig, "structs.ConnectProxyConfig")
    )
    service_connect: ServiceConnect = attr("ServiceConnect", struct(lambda: ServiceConnect, "structs.ServiceConnect"))
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class HealthCheckDefinition(Struct):
    """What a check does; informative in the catalog."""

    json_strict = False
    json_decoder = (
        "struct { Interval interface {}; Timeout interface {}; "
        "DeregisterCriticalServiceAfter interface {}; TTL interface {}; *structs.Alias }"
    )

    interval: int = attr("Interval", DURATION_TEXT)
    output_max_size: int = attr("OutputMaxSize", UINT, omitempty=True, go_type="uint")
    timeout: int = attr("Timeout", DURATION_TEXT)
    deregister_critical_service_after: int = attr("DeregisterCriticalServiceAfter", DURATION_TEXT)
    http: str = attr("HTTP", STR, omitempty=True)
    tls_skip_verify: bool = attr("TLSSkipVerify", BOOL, omitempty=True)
    header: dict[str, list[str]] | None = attr("Header", map_of(STRS), omitempty=True)
    method: str = attr("Method", STR, omitempty=True)
    body: str = attr("Body", STR, omitempty=True)
    tcp: str = attr("TCP", STR, omitempty=True)
    script_args: list[str] | None = attr("ScriptArgs", STRS, omitempty=True)
    docker_container_id: str = attr("DockerContainerID", STR, omitempty=True)
    shell: str = attr("Shell", STR, omitempty=True)
    grpc: str = attr("GRPC", STR, omitempty=True)
    grpc_use_tls: bool = attr("GRPCUseTLS", BOOL, omitempty=True)
    alias_node: str = attr("AliasNode", STR, omitempty=True)
    alias_service: str = attr("AliasService", STR, omitempty=True)
    ttl: int = attr("TTL", DURATION_ANY, omitempty=True)


class HealthCheck(Struct):
    """A row of the checks table."""

    node: str = attr("Node", STR)
    check_id: str = attr("CheckID", STR, go_type="types.CheckID")
    name: str = attr("Name", STR)
    status: str = attr("Status", STR)
    notes: str = attr("Notes", STR)
    output: str = attr("Output", STR)
    service_id: str = attr("ServiceID", STR)
    service_name: str = attr("ServiceName", STR)
    service_tags: list[str] | None = attr("ServiceTags", STRS)
    type: str = attr("Type", STR)
    definition: HealthCheckDefinition = attr(
        "Definition", struct(lambda: HealthCheckDefinition, "structs.HealthCheckDefinition")
    )
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class CheckServiceNode(Struct):
    """A service instance with its node and checks: what Health.ServiceNodes returns."""

    node: Node | None = attr("Node", opt(lambda: Node, "structs.Node"))
    service: NodeService | None = attr("Service", opt(lambda: NodeService, "structs.NodeService"))
    checks: list[HealthCheck] | None = attr("Checks", list_of(struct(lambda: HealthCheck)))


class NodeInfo(Struct):
    """A node with everything on it: what Internal.NodeInfo and NodeDump return."""

    id: str = attr("ID", STR)
    node: str = attr("Node", STR)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, str] | None = attr("TaggedAddresses", STR_MAP)
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    services: list[NodeService] | None = attr("Services", list_of(struct(lambda: NodeService)))
    checks: list[HealthCheck] | None = attr("Checks", list_of(struct(lambda: HealthCheck)))


class NodeServices(Struct):
    """A node and its services by ID: what Catalog.NodeServices returns."""

    node: Node | None = attr("Node", opt(lambda: Node))
    services: dict[str, NodeService] | None = attr("Services", map_of(struct(lambda: NodeService)))


class NodeServiceList(Struct):
    """A node and its services as a list: what Catalog.NodeServiceList returns."""

    node: Node | None = attr("Node", opt(lambda: Node))
    services: list[NodeService] | None = attr("Services", list_of(struct(lambda: NodeService)))


class RegisterRequest(Struct):
    """Catalog.Register and FSM message 0."""

    datacenter: str = attr("Datacenter", STR)
    id: str = attr("ID", STR, go_type="types.NodeID")
    node: str = attr("Node", STR)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, str] | None = attr("TaggedAddresses", STR_MAP)
    node_meta: dict[str, str] | None = attr("NodeMeta", STR_MAP)
    service: NodeService | None = attr("Service", opt(lambda: NodeService, "structs.NodeService"))
    check: HealthCheck | None = attr("Check", opt(lambda: HealthCheck, "structs.HealthCheck"))
    checks: list[HealthCheck] | None = attr(
        "Checks", list_of(struct(lambda: HealthCheck, "*structs.HealthCheck")), go_type="structs.HealthChecks"
    )
    skip_node_update: bool = attr("SkipNodeUpdate", BOOL)
    token: str = attr("Token", STR)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class DeregisterRequest(Struct):
    """Catalog.Deregister and FSM message 1. `address` is obsolete: accepted in JSON, never sent."""

    json_decoder = "struct { Address string; *structs.Alias }"

    datacenter: str = attr("Datacenter", STR)
    node: str = attr("Node", STR)
    service_id: str = attr("ServiceID", STR)
    check_id: str = attr("CheckID", STR, go_type="types.CheckID")
    token: str = attr("Token", STR)
    address: str = attr("", STR, json="Address")
