"""Connect's part of a service: proxy configuration, upstreams, exposed paths, sidecar definitions."""

from __future__ import annotations

from typing import Any

from shared.structs.schema import (
    ANY,
    BOOL,
    DURATION_ANY,
    INT,
    STR,
    STR_MAP,
    STRS,
    Struct,
    attr,
    list_of,
    map_of,
    opt,
    struct,
)


class ServiceAddress(Struct):
    """A tagged address of a service."""

    address: str = attr("Address", STR)
    port: int = attr("Port", INT)


class Weights(Struct):
    """DNS weights of a service instance by its health."""

    passing: int = attr("Passing", INT)
    warning: int = attr("Warning", INT)


class MeshGatewayConfig(Struct):
    mode: str = attr("Mode", STR, omitempty=True, go_type="structs.MeshGatewayMode")


class ExposePath(Struct):
    json_decoder = (
        'struct { LocalPathPortSnake int "json:\\"local_path_port\\""; '
        'ListenerPortSnake int "json:\\"listener_port\\""; '
        "*structs.Alias }"
    )

    listener_port: int = attr("ListenerPort", INT, omitempty=True, aliases=("listener_port",))
    path: str = attr("Path", STR, omitempty=True)
    local_path_port: int = attr("LocalPathPort", INT, omitempty=True, aliases=("local_path_port",))
    protocol: str = attr("Protocol", STR, omitempty=True)
    parsed_from_check: bool = attr("ParsedFromCheck", BOOL)


class ExposeConfig(Struct):
    checks: bool = attr("Checks", BOOL, omitempty=True)
    paths: list[ExposePath] | None = attr(
        "Paths", list_of(struct(lambda: ExposePath, "structs.ExposePath")), omitempty=True
    )


class Upstream(Struct):
    json_decoder = (
        'struct { DestinationTypeSnake string "json:\\"destination_type\\""; '
        'DestinationNamespaceSnake string "json:\\"destination_namespace\\""; '
        'DestinationNameSnake string "json:\\"destination_name\\""; '
        'LocalBindPortSnake int "json:\\"local_bind_port\\""; '
        'LocalBindAddressSnake string "json:\\"local_bind_address\\""; '
        "*structs.Alias }"
    )

    destination_type: str = attr("DestinationType", STR, aliases=("destination_type",))
    destination_namespace: str = attr("DestinationNamespace", STR, omitempty=True, aliases=("destination_namespace",))
    destination_name: str = attr("DestinationName", STR, aliases=("destination_name",))
    datacenter: str = attr("Datacenter", STR)
    local_bind_address: str = attr("LocalBindAddress", STR, omitempty=True, aliases=("local_bind_address",))
    local_bind_port: int = attr("LocalBindPort", INT, aliases=("local_bind_port",))
    config: dict[str, Any] | None = attr("Config", map_of(ANY))
    mesh_gateway: MeshGatewayConfig = attr(
        "MeshGateway", struct(lambda: MeshGatewayConfig, "structs.MeshGatewayConfig"), omitempty=True
    )
    ingress_hosts: list[str] | None = attr("IngressHosts", STRS, json=None)


class ConnectProxyConfig(Struct):
    """How a proxy instance is wired: what it stands for and what it reaches."""

    json_decoder = (
        'struct { DestinationServiceNameSnake string "json:\\"destination_service_name\\""; '
        'DestinationServiceIDSnake string "json:\\"destination_service_id\\""; '
        'LocalServiceAddressSnake string "json:\\"local_service_address\\""; '
        'LocalServicePortSnake int "json:\\"local_service_port\\""; '
        "*structs.Alias }"
    )

    destination_service_name: str = attr(
        "DestinationServiceName", STR, omitempty=True, aliases=("destination_service_name",)
    )
    destination_service_id: str = attr("DestinationServiceID", STR, omitempty=True, aliases=("destination_service_id",))
    local_service_address: str = attr("LocalServiceAddress", STR, omitempty=True, aliases=("local_service_address",))
    local_service_port: int = attr("LocalServicePort", INT, omitempty=True, aliases=("local_service_port",))
    config: dict[str, Any] | None = attr("Config", map_of(ANY), omitempty=True)
    upstreams: list[Upstream] | None = attr(
        "Upstreams", list_of(struct(lambda: Upstream, "structs.Upstream"), "structs.Upstreams"), omitempty=True
    )
    mesh_gateway: MeshGatewayConfig = attr(
        "MeshGateway", struct(lambda: MeshGatewayConfig, "structs.MeshGatewayConfig"), omitempty=True
    )
    expose: ExposeConfig = attr("Expose", struct(lambda: ExposeConfig, "structs.ExposeConfig"), omitempty=True)


class CheckType(Struct):
    """A health check as an agent's definition of it says; runs in the agent, never reaches the catalog."""

    json_decoder = (
        "struct { Interval interface {}; Timeout interface {}; TTL interface {}; "
        "DeregisterCriticalServiceAfter interface {}; "
        'Args []string "json:\\"args\\""; ScriptArgsSnake []string "json:\\"script_args\\""; '
        'DeregisterCriticalServiceAfterSnake interface {} "json:\\"deregister_critical_service_after\\""; '
        'DockerContainerIDSnake string "json:\\"docker_container_id\\""; '
        'TLSSkipVerifySnake bool "json:\\"tls_skip_verify\\""; '
        'ServiceID string "json:\\"ServiceID\\""; ServiceIDSnake string "json:\\"service_id\\""; '
        "*structs.Alias }"
    )

    check_id: str = attr("CheckID", STR, go_type="types.CheckID")
    name: str = attr("Name", STR)
    status: str = attr("Status", STR)
    notes: str = attr("Notes", STR)
    script_args: list[str] | None = attr("ScriptArgs", STRS, aliases=("args", "script_args"))
    http: str = attr("HTTP", STR)
    header: dict[str, list[str]] | None = attr("Header", map_of(STRS))
    method: str = attr("Method", STR)
    body: str = attr("Body", STR)
    tcp: str = attr("TCP", STR)
    interval: int = attr("Interval", DURATION_ANY)
    alias_node: str = attr("AliasNode", STR)
    alias_service: str = attr("AliasService", STR)
    docker_container_id: str = attr("DockerContainerID", STR, aliases=("docker_container_id",))
    shell: str = attr("Shell", STR)
    grpc: str = attr("GRPC", STR)
    grpc_use_tls: bool = attr("GRPCUseTLS", BOOL)
    tls_skip_verify: bool = attr("TLSSkipVerify", BOOL, aliases=("tls_skip_verify",))
    timeout: int = attr("Timeout", DURATION_ANY)
    ttl: int = attr("TTL", DURATION_ANY)
    success_before_passing: int = attr("SuccessBeforePassing", INT)
    failures_before_critical: int = attr("FailuresBeforeCritical", INT)
    proxy_http: str = attr("ProxyHTTP", STR)
    proxy_grpc: str = attr("ProxyGRPC", STR)
    deregister_critical_service_after: int = attr(
        "DeregisterCriticalServiceAfter", DURATION_ANY, aliases=("deregister_critical_service_after",)
    )
    output_max_size: int = attr("OutputMaxSize", INT)
    service_id: str = attr("", STR, json="ServiceID", omitempty=True, aliases=("service_id",))
    """Accepted in JSON and forgotten: a check inside a service definition belongs to that service."""

    def after_json(self) -> None:
        self.service_id = ""


class ServiceDefinition(Struct):
    """A service as an agent's definition of it says; in the catalog only as a nested sidecar."""

    json_decoder = (
        'struct { EnableTagOverrideSnake bool "json:\\"enable_tag_override\\""; '
        'TaggedAddressesSnake map[string]structs.ServiceAddress "json:\\"tagged_addresses\\""; '
        "*structs.Alias }"
    )

    kind: str = attr("Kind", STR, omitempty=True, go_type="structs.ServiceKind")
    id: str = attr("ID", STR)
    name: str = attr("Name", STR)
    tags: list[str] | None = attr("Tags", STRS)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, ServiceAddress] | None = attr(
        "TaggedAddresses",
        map_of(struct(lambda: ServiceAddress, "structs.ServiceAddress")),
        aliases=("tagged_addresses",),
    )
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    port: int = attr("Port", INT)
    check: CheckType = attr("Check", struct(lambda: CheckType, "structs.CheckType"))
    checks: list[CheckType | None] | None = attr(
        "Checks", list_of(opt(lambda: CheckType, "*structs.CheckType")), go_type="structs.CheckTypes"
    )
    weights: Weights | None = attr("Weights", opt(lambda: Weights, "structs.Weights"))
    token: str = attr("Token", STR)
    enable_tag_override: bool = attr("EnableTagOverride", BOOL, aliases=("enable_tag_override",))
    proxy: ConnectProxyConfig | None = attr("Proxy", opt(lambda: ConnectProxyConfig, "structs.ConnectProxyConfig"))
    connect: ServiceConnect | None = attr("Connect", opt(lambda: ServiceConnect, "structs.ServiceConnect"))


class ServiceConnect(Struct):
    """Whether a service speaks Connect itself, or has a sidecar to be registered with it."""

    json_strict = False
    json_decoder = (
        'struct { SidecarServiceSnake *structs.ServiceDefinition "json:\\"sidecar_service\\""; *structs.Alias }'
    )

    native: bool = attr("Native", BOOL, omitempty=True)
    sidecar_service: ServiceDefinition | None = attr(
        "SidecarService",
        opt(lambda: ServiceDefinition, "structs.ServiceDefinition"),
        omitempty=True,
        aliases=("sidecar_service",),
    )
