"""The body of PUT /v1/txn as clients write it, and the operations it stands for.

Clients send Consul's API structs, not the ones of its RPC; what an operation cannot carry over (a service's proxy,
tagged addresses) is checked for its type and then left out, as Consul does."""

from __future__ import annotations

from typing import Any

from shared.structs.catalog import HealthCheck, HealthCheckDefinition, Node, NodeService
from shared.structs.errors import JsonError
from shared.structs.json_decode import decode_struct, json_kind
from shared.structs.kv import DirEntry
from shared.structs.proxy import Weights
from shared.structs.schema import (
    ANY,
    BOOL,
    BYTES,
    DURATION_ANY,
    DURATION_READABLE,
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
from shared.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnServiceOp


class KVTxnOp(Struct):
    verb: str = attr("Verb", STR, go_type="api.KVOp")
    key: str = attr("Key", STR)
    value: bytes | None = attr("Value", BYTES)
    flags: int = attr("Flags", UINT)
    index: int = attr("Index", UINT)
    session: str = attr("Session", STR)
    namespace: str = attr("Namespace", STR)


class NodeBody(Struct):
    go_name = "Node"

    id: str = attr("ID", STR)
    node: str = attr("Node", STR)
    address: str = attr("Address", STR)
    datacenter: str = attr("Datacenter", STR)
    tagged_addresses: dict[str, str] | None = attr("TaggedAddresses", STR_MAP)
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class NodeTxnOp(Struct):
    verb: str = attr("Verb", STR, go_type="api.NodeOp")
    node: NodeBody = attr("Node", struct(lambda: NodeBody, "api.Node"))


class ServiceAddressBody(Struct):
    go_name = "ServiceAddress"

    address: str = attr("Address", STR)
    port: int = attr("Port", INT)


class AgentWeights(Struct):
    passing: int = attr("Passing", INT)
    warning: int = attr("Warning", INT)


class MeshGatewayBody(Struct):
    go_name = "MeshGatewayConfig"

    mode: str = attr("Mode", STR, go_type="api.MeshGatewayMode")


class ExposePathBody(Struct):
    go_name = "ExposePath"

    listener_port: int = attr("ListenerPort", INT)
    path: str = attr("Path", STR)
    local_path_port: int = attr("LocalPathPort", INT)
    protocol: str = attr("Protocol", STR)
    parsed_from_check: bool = attr("ParsedFromCheck", BOOL)


class ExposeBody(Struct):
    go_name = "ExposeConfig"

    checks: bool = attr("Checks", BOOL)
    paths: list[ExposePathBody] | None = attr("Paths", list_of(struct(lambda: ExposePathBody, "api.ExposePath")))


class UpstreamBody(Struct):
    go_name = "Upstream"

    destination_type: str = attr("DestinationType", STR, go_type="api.UpstreamDestType")
    destination_namespace: str = attr("DestinationNamespace", STR)
    destination_name: str = attr("DestinationName", STR)
    datacenter: str = attr("Datacenter", STR)
    local_bind_address: str = attr("LocalBindAddress", STR)
    local_bind_port: int = attr("LocalBindPort", INT)
    config: dict[str, Any] | None = attr("Config", map_of(ANY))
    mesh_gateway: MeshGatewayBody = attr("MeshGateway", struct(lambda: MeshGatewayBody, "api.MeshGatewayConfig"))


class ProxyBody(Struct):
    go_name = "AgentServiceConnectProxyConfig"

    destination_service_name: str = attr("DestinationServiceName", STR)
    destination_service_id: str = attr("DestinationServiceID", STR)
    local_service_address: str = attr("LocalServiceAddress", STR)
    local_service_port: int = attr("LocalServicePort", INT)
    config: dict[str, Any] | None = attr("Config", map_of(ANY))
    upstreams: list[UpstreamBody] | None = attr("Upstreams", list_of(struct(lambda: UpstreamBody, "api.Upstream")))
    mesh_gateway: MeshGatewayBody = attr("MeshGateway", struct(lambda: MeshGatewayBody, "api.MeshGatewayConfig"))
    expose: ExposeBody = attr("Expose", struct(lambda: ExposeBody, "api.ExposeConfig"))


class ServiceCheckBody(Struct):
    go_name = "AgentServiceCheck"

    check_id: str = attr("CheckID", STR)
    name: str = attr("Name", STR)
    args: list[str] | None = attr("ScriptArgs", STRS)
    docker_container_id: str = attr("DockerContainerID", STR)
    shell: str = attr("Shell", STR)
    interval: str = attr("Interval", STR)
    timeout: str = attr("Timeout", STR)
    ttl: str = attr("TTL", STR)
    http: str = attr("HTTP", STR)
    header: dict[str, list[str]] | None = attr("Header", map_of(STRS))
    method: str = attr("Method", STR)
    body: str = attr("Body", STR)
    tcp: str = attr("TCP", STR)
    status: str = attr("Status", STR)
    notes: str = attr("Notes", STR)
    tls_skip_verify: bool = attr("TLSSkipVerify", BOOL)
    grpc: str = attr("GRPC", STR)
    grpc_use_tls: bool = attr("GRPCUseTLS", BOOL)
    alias_node: str = attr("AliasNode", STR)
    alias_service: str = attr("AliasService", STR)
    success_before_passing: int = attr("SuccessBeforePassing", INT)
    failures_before_critical: int = attr("FailuresBeforeCritical", INT)
    deregister_critical_service_after: str = attr("DeregisterCriticalServiceAfter", STR)


class ServiceRegistrationBody(Struct):
    go_name = "AgentServiceRegistration"

    kind: str = attr("Kind", STR, go_type="api.ServiceKind")
    id: str = attr("ID", STR)
    name: str = attr("Name", STR)
    tags: list[str] | None = attr("Tags", STRS)
    port: int = attr("Port", INT)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, ServiceAddressBody] | None = attr(
        "TaggedAddresses", map_of(struct(lambda: ServiceAddressBody, "api.ServiceAddress"))
    )
    enable_tag_override: bool = attr("EnableTagOverride", BOOL)
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    weights: AgentWeights | None = attr("Weights", opt(lambda: AgentWeights, "api.AgentWeights"))
    check: ServiceCheckBody | None = attr("Check", opt(lambda: ServiceCheckBody, "api.AgentServiceCheck"))
    checks: list[ServiceCheckBody | None] | None = attr(
        "Checks", list_of(opt(lambda: ServiceCheckBody, "api.AgentServiceCheck")), go_type="api.AgentServiceChecks"
    )
    proxy: ProxyBody | None = attr("Proxy", opt(lambda: ProxyBody, "api.AgentServiceConnectProxyConfig"))
    connect: ConnectBody | None = attr("Connect", opt(lambda: ConnectBody, "api.AgentServiceConnect"))
    namespace: str = attr("Namespace", STR)


class ConnectBody(Struct):
    go_name = "AgentServiceConnect"

    native: bool = attr("Native", BOOL)
    sidecar_service: ServiceRegistrationBody | None = attr(
        "SidecarService", opt(lambda: ServiceRegistrationBody, "api.AgentServiceRegistration")
    )


class ServiceBody(Struct):
    go_name = "AgentService"

    kind: str = attr("Kind", STR, go_type="api.ServiceKind")
    id: str = attr("ID", STR)
    service: str = attr("Service", STR)
    tags: list[str] | None = attr("Tags", STRS)
    meta: dict[str, str] | None = attr("Meta", STR_MAP)
    port: int = attr("Port", INT)
    address: str = attr("Address", STR)
    tagged_addresses: dict[str, ServiceAddressBody] | None = attr(
        "TaggedAddresses", map_of(struct(lambda: ServiceAddressBody, "api.ServiceAddress"))
    )
    weights: AgentWeights = attr("Weights", struct(lambda: AgentWeights, "api.AgentWeights"))
    enable_tag_override: bool = attr("EnableTagOverride", BOOL)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)
    content_hash: str = attr("ContentHash", STR)
    proxy: ProxyBody | None = attr("Proxy", opt(lambda: ProxyBody, "api.AgentServiceConnectProxyConfig"))
    connect: ConnectBody | None = attr("Connect", opt(lambda: ConnectBody, "api.AgentServiceConnect"))
    namespace: str = attr("Namespace", STR)


class ServiceTxnOp(Struct):
    verb: str = attr("Verb", STR, go_type="api.ServiceOp")
    node: str = attr("Node", STR)
    service: ServiceBody = attr("Service", struct(lambda: ServiceBody, "api.AgentService"))


class DefinitionBody(Struct):
    """Durations come in two spellings; the one ending in Duration counts unless the short one says something."""

    go_name = "HealthCheckDefinition"
    json_strict = False
    json_decoder = (
        "struct { IntervalDuration interface {}; TimeoutDuration interface {}; "
        "DeregisterCriticalServiceAfterDuration interface {}; *api.Alias }"
    )

    http: str = attr("HTTP", STR)
    header: dict[str, list[str]] | None = attr("Header", map_of(STRS))
    method: str = attr("Method", STR)
    body: str = attr("Body", STR)
    tls_skip_verify: bool = attr("TLSSkipVerify", BOOL)
    tcp: str = attr("TCP", STR)
    interval_duration: int = attr("IntervalDuration", DURATION_ANY)
    timeout_duration: int = attr("TimeoutDuration", DURATION_ANY)
    deregister_duration: int = attr("DeregisterCriticalServiceAfterDuration", DURATION_ANY)
    interval: int = attr("Interval", DURATION_READABLE)
    timeout: int = attr("Timeout", DURATION_READABLE)
    deregister: int = attr("DeregisterCriticalServiceAfter", DURATION_READABLE)


class CheckBody(Struct):
    go_name = "HealthCheck"

    node: str = attr("Node", STR)
    check_id: str = attr("CheckID", STR)
    name: str = attr("Name", STR)
    status: str = attr("Status", STR)
    notes: str = attr("Notes", STR)
    output: str = attr("Output", STR)
    service_id: str = attr("ServiceID", STR)
    service_name: str = attr("ServiceName", STR)
    service_tags: list[str] | None = attr("ServiceTags", STRS)
    type: str = attr("Type", STR)
    namespace: str = attr("Namespace", STR)
    definition: DefinitionBody = attr("Definition", struct(lambda: DefinitionBody, "api.HealthCheckDefinition"))
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class CheckTxnOp(Struct):
    verb: str = attr("Verb", STR, go_type="api.CheckOp")
    check: CheckBody = attr("Check", struct(lambda: CheckBody, "api.HealthCheck"))


class Operation(Struct):
    """One operation; the first of the fields that is set counts."""

    go_name = "TxnOp"

    kv: KVTxnOp | None = attr("KV", opt(lambda: KVTxnOp, "api.KVTxnOp"))
    node: NodeTxnOp | None = attr("Node", opt(lambda: NodeTxnOp, "api.NodeTxnOp"))
    service: ServiceTxnOp | None = attr("Service", opt(lambda: ServiceTxnOp, "api.ServiceTxnOp"))
    check: CheckTxnOp | None = attr("Check", opt(lambda: CheckTxnOp, "api.CheckTxnOp"))

    def to_op(self, datacenter: str) -> TxnOp | None:
        """The operation for the RPC; None if no field is set. datacenter: for a node that names none."""
        if self.kv is not None:
            return TxnOp(kv=_kv(self.kv))
        if self.node is not None:
            return TxnOp(node=_node(self.node, datacenter))
        if self.service is not None:
            return TxnOp(service=_service(self.service))
        if self.check is not None:
            return TxnOp(check=_check(self.check))
        return None


def decode_operations(body: Any) -> list[Operation]:
    """The operations of a parsed body. Raises JsonError."""
    if body is None:
        return []
    if not isinstance(body, list):
        raise JsonError(f"json: cannot unmarshal {json_kind(body)} into Go value of type api.TxnOps")
    return [_operation(each) for each in body]


def _operation(given: Any) -> Operation:
    if given is not None and not isinstance(given, dict):
        raise JsonError(f"json: cannot unmarshal {json_kind(given)} into Go value of type api.TxnOp")
    return decode_struct(Operation, given)


def _kv(given: KVTxnOp) -> TxnKVOp:
    entry = DirEntry(
        key=given.key, value=given.value, flags=given.flags, session=given.session, modify_index=given.index
    )
    return TxnKVOp(given.verb, entry)


def _node(given: NodeTxnOp, datacenter: str) -> TxnNodeOp:
    node = given.node
    return TxnNodeOp(
        given.verb,
        Node(
            id=node.id,
            node=node.node,
            address=node.address,
            datacenter=node.datacenter or datacenter,
            tagged_addresses=node.tagged_addresses,
            meta=node.meta,
            modify_index=node.modify_index,
        ),
    )


def _service(given: ServiceTxnOp) -> TxnServiceOp:
    service = given.service
    return TxnServiceOp(
        given.verb,
        given.node,
        NodeService(
            id=service.id,
            service=service.service,
            tags=service.tags,
            address=service.address,
            meta=service.meta,
            port=service.port,
            weights=Weights(service.weights.passing, service.weights.warning),
            enable_tag_override=service.enable_tag_override,
            modify_index=service.modify_index,
        ),
    )


def _check(given: CheckTxnOp) -> TxnCheckOp:
    check, definition = given.check, given.check.definition
    return TxnCheckOp(
        given.verb,
        HealthCheck(
            node=check.node,
            check_id=check.check_id,
            name=check.name,
            status=check.status,
            notes=check.notes,
            output=check.output,
            service_id=check.service_id,
            service_name=check.service_name,
            service_tags=check.service_tags,
            definition=HealthCheckDefinition(
                http=definition.http,
                tls_skip_verify=definition.tls_skip_verify,
                header=definition.header,
                method=definition.method,
                body=definition.body,
                tcp=definition.tcp,
                interval=definition.interval_duration or definition.interval,
                timeout=definition.timeout_duration or definition.timeout,
                deregister_critical_service_after=definition.deregister_duration or definition.deregister,
            ),
            modify_index=check.modify_index,
        ),
    )
