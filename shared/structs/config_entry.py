"""Config entries: the seven kinds of centralised configuration.

Weights of a splitter are 32 bit floats in Consul; here each is the number with the fewest digits that rounds to
them, which is what JSON shows."""

from __future__ import annotations

import math
import struct as packing
from typing import Any, ClassVar

from shared.structs.errors import RefusedError
from shared.structs.proxy import ExposeConfig, MeshGatewayConfig
from shared.structs.schema import (
    ANY,
    BOOL,
    DURATION_TEXT,
    INT,
    STR,
    STR_MAP,
    STRS,
    UINT,
    Kind,
    Struct,
    attr,
    list_of,
    map_of,
    opt,
    struct,
)

SERVICE_DEFAULTS, PROXY_DEFAULTS = "service-defaults", "proxy-defaults"
SERVICE_ROUTER, SERVICE_SPLITTER, SERVICE_RESOLVER = "service-router", "service-splitter", "service-resolver"
INGRESS_GATEWAY, TERMINATING_GATEWAY = "ingress-gateway", "terminating-gateway"
PROXY_GLOBAL = "global"
"""The only name proxy-defaults may have."""
WILDCARD = "*"
NAMESPACE = "default"
"""The only namespace there is outside of Consul Enterprise."""

FLOAT32 = Kind("float", "float32")
UINT32 = Kind("int", "uint32")


def float32(value: float) -> float:
    """The nearest 32 bit float, infinite where there is none."""
    try:
        (rounded,) = packing.unpack("f", packing.pack("f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(rounded)


def shortest(value: float) -> float:
    """The number with the fewest digits that rounds to the same 32 bit float."""
    wanted = float32(value)
    if not math.isfinite(wanted):
        return wanted
    return next(short for digits in range(1, 10) if float32(short := float(f"{wanted:.{digits}g}")) == wanted)


# The kinds ------------------------------------------------------------------------------------------------


class ConfigEntry(Struct):
    """What all kinds have in common: these fields, declared by each kind in Consul's order."""

    kind_name: ClassVar[str]

    kind: str
    name: str
    meta: dict[str, str] | None
    create_index: int
    modify_index: int

    def related_services(self) -> list[str]:
        """Services whose chains this entry leads into, sorted."""
        return []


class ServiceDefaults(ConfigEntry):
    kind_name = SERVICE_DEFAULTS
    go_name = "ServiceConfigEntry"

    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    protocol: str = attr("Protocol", STR)
    mesh_gateway: MeshGatewayConfig = attr(
        "MeshGateway",
        struct(lambda: MeshGatewayConfig, "structs.MeshGatewayConfig"),
        omitempty=True,
        aliases=("mesh_gateway",),
    )
    expose: ExposeConfig = attr("Expose", struct(lambda: ExposeConfig, "structs.ExposeConfig"), omitempty=True)
    external_sni: str = attr("ExternalSNI", STR, omitempty=True, aliases=("external_sni",))
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class ProxyDefaults(ConfigEntry):
    kind_name = PROXY_DEFAULTS
    go_name = "ProxyConfigEntry"

    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    config: dict[str, Any] | None = attr("Config", map_of(ANY))
    mesh_gateway: MeshGatewayConfig = attr(
        "MeshGateway",
        struct(lambda: MeshGatewayConfig, "structs.MeshGatewayConfig"),
        omitempty=True,
        aliases=("mesh_gateway",),
    )
    expose: ExposeConfig = attr("Expose", struct(lambda: ExposeConfig, "structs.ExposeConfig"), omitempty=True)
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class RouteHeader(Struct):
    """Of present, exact, prefix, suffix and regex exactly one is set."""

    go_name = "ServiceRouteHTTPMatchHeader"

    name: str = attr("Name", STR)
    present: bool = attr("Present", BOOL, omitempty=True)
    exact: str = attr("Exact", STR, omitempty=True)
    prefix: str = attr("Prefix", STR, omitempty=True)
    suffix: str = attr("Suffix", STR, omitempty=True)
    regex: str = attr("Regex", STR, omitempty=True)
    invert: bool = attr("Invert", BOOL, omitempty=True)


class RouteQueryParam(Struct):
    """Of present, exact and regex exactly one is set."""

    go_name = "ServiceRouteHTTPMatchQueryParam"

    name: str = attr("Name", STR)
    present: bool = attr("Present", BOOL, omitempty=True)
    exact: str = attr("Exact", STR, omitempty=True)
    regex: str = attr("Regex", STR, omitempty=True)


class RouteHTTPMatch(Struct):
    go_name = "ServiceRouteHTTPMatch"

    path_exact: str = attr("PathExact", STR, omitempty=True, aliases=("path_exact",))
    path_prefix: str = attr("PathPrefix", STR, omitempty=True, aliases=("path_prefix",))
    path_regex: str = attr("PathRegex", STR, omitempty=True, aliases=("path_regex",))
    header: list[RouteHeader] | None = attr(
        "Header", list_of(struct(lambda: RouteHeader, "structs.ServiceRouteHTTPMatchHeader")), omitempty=True
    )
    query_param: list[RouteQueryParam] | None = attr(
        "QueryParam",
        list_of(struct(lambda: RouteQueryParam, "structs.ServiceRouteHTTPMatchQueryParam")),
        omitempty=True,
        aliases=("query_param",),
    )
    methods: list[str] | None = attr("Methods", STRS, omitempty=True)


class RouteMatch(Struct):
    go_name = "ServiceRouteMatch"

    http: RouteHTTPMatch | None = attr(
        "HTTP", opt(lambda: RouteHTTPMatch, "structs.ServiceRouteHTTPMatch"), omitempty=True
    )


class RouteDestination(Struct):
    """Where requests of a route go; request_timeout in nanoseconds."""

    go_name = "ServiceRouteDestination"

    request_timeout: int = attr("RequestTimeout", DURATION_TEXT, aliases=("request_timeout",))
    service: str = attr("Service", STR, omitempty=True)
    service_subset: str = attr("ServiceSubset", STR, omitempty=True, aliases=("service_subset",))
    namespace: str = attr("Namespace", STR, omitempty=True)
    prefix_rewrite: str = attr("PrefixRewrite", STR, omitempty=True, aliases=("prefix_rewrite",))
    num_retries: int = attr("NumRetries", UINT32, omitempty=True, aliases=("num_retries",))
    retry_on_connect_failure: bool = attr(
        "RetryOnConnectFailure", BOOL, omitempty=True, aliases=("retry_on_connect_failure",)
    )
    retry_on_status_codes: list[int] | None = attr(
        "RetryOnStatusCodes", list_of(UINT32), omitempty=True, aliases=("retry_on_status_codes",)
    )


class ServiceRoute(Struct):
    match: RouteMatch | None = attr("Match", opt(lambda: RouteMatch, "structs.ServiceRouteMatch"), omitempty=True)
    destination: RouteDestination | None = attr(
        "Destination", opt(lambda: RouteDestination, "structs.ServiceRouteDestination"), omitempty=True
    )


class ServiceRouter(ConfigEntry):
    kind_name = SERVICE_ROUTER
    go_name = "ServiceRouterConfigEntry"

    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    routes: list[ServiceRoute] | None = attr("Routes", list_of(struct(lambda: ServiceRoute, "structs.ServiceRoute")))
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    def related_services(self) -> list[str]:
        """Itself too: what no route matches goes on to the service."""
        led_to = {route.destination.service or self.name for route in self.routes or () if route.destination}
        return sorted({self.name, *led_to})


class ServiceSplit(Struct):
    weight: float = attr("Weight", FLOAT32)
    service: str = attr("Service", STR, omitempty=True)
    service_subset: str = attr("ServiceSubset", STR, omitempty=True, aliases=("service_subset",))
    namespace: str = attr("Namespace", STR, omitempty=True)


class ServiceSplitter(ConfigEntry):
    kind_name = SERVICE_SPLITTER
    go_name = "ServiceSplitterConfigEntry"

    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    splits: list[ServiceSplit] | None = attr("Splits", list_of(struct(lambda: ServiceSplit, "structs.ServiceSplit")))
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    def related_services(self) -> list[str]:
        return _others(self.name, [split.service for split in self.splits or ()])


class ResolverSubset(Struct):
    go_name = "ServiceResolverSubset"

    filter: str = attr("Filter", STR, omitempty=True)
    only_passing: bool = attr("OnlyPassing", BOOL, omitempty=True, aliases=("only_passing",))


class ResolverRedirect(Struct):
    go_name = "ServiceResolverRedirect"

    service: str = attr("Service", STR, omitempty=True)
    service_subset: str = attr("ServiceSubset", STR, omitempty=True, aliases=("service_subset",))
    namespace: str = attr("Namespace", STR, omitempty=True)
    datacenter: str = attr("Datacenter", STR, omitempty=True)


class ResolverFailover(Struct):
    go_name = "ServiceResolverFailover"

    service: str = attr("Service", STR, omitempty=True)
    service_subset: str = attr("ServiceSubset", STR, omitempty=True, aliases=("service_subset",))
    namespace: str = attr("Namespace", STR, omitempty=True)
    datacenters: list[str] | None = attr("Datacenters", STRS, omitempty=True)


class ServiceResolver(ConfigEntry):
    """connect_timeout in nanoseconds; JSON shows it first, as Consul does."""

    kind_name = SERVICE_RESOLVER
    go_name = "ServiceResolverConfigEntry"

    connect_timeout: int = attr("ConnectTimeout", DURATION_TEXT, aliases=("connect_timeout",))
    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    default_subset: str = attr("DefaultSubset", STR, omitempty=True, aliases=("default_subset",))
    subsets: dict[str, ResolverSubset] | None = attr(
        "Subsets", map_of(struct(lambda: ResolverSubset, "structs.ServiceResolverSubset")), omitempty=True
    )
    redirect: ResolverRedirect | None = attr(
        "Redirect", opt(lambda: ResolverRedirect, "structs.ServiceResolverRedirect"), omitempty=True
    )
    failover: dict[str, ResolverFailover] | None = attr(
        "Failover", map_of(struct(lambda: ResolverFailover, "structs.ServiceResolverFailover")), omitempty=True
    )
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    def related_services(self) -> list[str]:
        named = [failover.service for failover in (self.failover or {}).values()]
        if self.redirect is not None:
            named.append(self.redirect.service)
        return _others(self.name, named)


class GatewayTLS(Struct):
    go_name = "GatewayTLSConfig"

    enabled: bool = attr("Enabled", BOOL)


class IngressService(Struct):
    name: str = attr("Name", STR)
    hosts: list[str] | None = attr("Hosts", STRS)
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)


class IngressListener(Struct):
    port: int = attr("Port", INT)
    protocol: str = attr("Protocol", STR)
    services: list[IngressService] | None = attr(
        "Services", list_of(struct(lambda: IngressService, "structs.IngressService"))
    )


class IngressGateway(ConfigEntry):
    kind_name = INGRESS_GATEWAY
    go_name = "IngressGatewayConfigEntry"

    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    tls: GatewayTLS = attr("TLS", struct(lambda: GatewayTLS, "structs.GatewayTLSConfig"))
    listeners: list[IngressListener] | None = attr(
        "Listeners", list_of(struct(lambda: IngressListener, "structs.IngressListener"))
    )
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    def related_services(self) -> list[str]:
        """Services named by a listener; a wildcard is none."""
        named = {service.name for listener in self.listeners or () for service in listener.services or ()}
        return sorted(named - {WILDCARD})


class LinkedService(Struct):
    """A service outside of the mesh that a terminating gateway leads to."""

    name: str = attr("Name", STR, omitempty=True)
    ca_file: str = attr("CAFile", STR, omitempty=True, aliases=("ca_file",))
    cert_file: str = attr("CertFile", STR, omitempty=True, aliases=("cert_file",))
    key_file: str = attr("KeyFile", STR, omitempty=True, aliases=("key_file",))
    sni: str = attr("SNI", STR, omitempty=True)


class TerminatingGateway(ConfigEntry):
    kind_name = TERMINATING_GATEWAY
    go_name = "TerminatingGatewayConfigEntry"

    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    services: list[LinkedService] | None = attr(
        "Services", list_of(struct(lambda: LinkedService, "structs.LinkedService"))
    )
    meta: dict[str, str] | None = attr("Meta", STR_MAP, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


KINDS: dict[str, type[ConfigEntry]] = {
    cls.kind_name: cls
    for cls in (
        ServiceDefaults,
        ProxyDefaults,
        ServiceRouter,
        ServiceSplitter,
        ServiceResolver,
        IngressGateway,
        TerminatingGateway,
    )
}


def _others(name: str, services: list[str]) -> list[str]:
    return sorted({service or name for service in services} - {name})


def class_of(kind: str) -> type[ConfigEntry]:
    """The class of a kind. Raises RefusedError for one there is not."""
    found = KINDS.get(kind)
    if found is None:
        raise RefusedError(f"invalid config entry kind: {kind}")
    return found
