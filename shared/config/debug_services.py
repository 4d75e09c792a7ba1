"""Service and check definitions in the names of Consul's Go structs, as DebugConfig shows them."""

from __future__ import annotations

from typing import Any

from shared.gotext.durations import format_duration_s

Object = dict[str, Any]

_CHECK_TYPE_TEXTS = (
    ("AliasNode", "alias_node"),
    ("AliasService", "alias_service"),
    ("Body", "body"),
    ("DockerContainerID", "docker_container_id"),
    ("GRPC", "grpc"),
    ("HTTP", "http"),
    ("Method", "method"),
    ("Name", "name"),
    ("Notes", "notes"),
    ("Shell", "shell"),
    ("Status", "status"),
    ("TCP", "tcp"),
)
_CHECK_DURATIONS = (
    ("DeregisterCriticalServiceAfter", "deregister_critical_service_after"),
    ("Interval", "interval"),
    ("TTL", "ttl"),
    ("Timeout", "timeout"),
)


def _sorted(fields: Object) -> Object:
    return {name: fields[name] for name in sorted(fields)}


def _common(check: Object) -> Object:
    return {
        **{label: check.get(key, "") for label, key in _CHECK_TYPE_TEXTS},
        **{label: format_duration_s(check.get(key, 0)) for label, key in _CHECK_DURATIONS},
        "FailuresBeforeCritical": check.get("failures_before_critical", 0),
        "GRPCUseTLS": check.get("grpc_use_tls", False),
        "Header": check.get("header", {}),
        "OutputMaxSize": check.get("output_max_size", 0),
        "ScriptArgs": check.get("args", []),
        "SuccessBeforePassing": check.get("success_before_passing", 0),
        "TLSSkipVerify": check.get("tls_skip_verify", False),
    }


def show_check(check: Object) -> Object:
    """A check of the node (Go: CheckDefinition)."""
    return _sorted(
        {
            **_common(check),
            "EnterpriseMeta": {},
            "ID": check.get("id", ""),
            "ServiceID": check.get("service_id", ""),
            "Token": check.get("token", ""),
        }
    )


def _show_service_check(check: Object) -> Object:
    """A check of a service (Go: CheckType)."""
    return _sorted({**_common(check), "CheckID": check.get("id", ""), "ProxyGRPC": "", "ProxyHTTP": ""})


def show_service(service: Object) -> Object:
    """A service (Go: ServiceDefinition). The single `check` is among `checks` by now, so it shows empty."""
    weights = service.get("weights", {})
    return _sorted(
        {
            "Address": service.get("address", ""),
            "Check": _show_service_check({}),
            "Checks": [_show_service_check(check) for check in service.get("checks", ())],
            "Connect": _show_connect(service["connect"]) if "connect" in service else None,
            "EnableTagOverride": service.get("enable_tag_override", False),
            "EnterpriseMeta": {},
            "ID": service.get("id", ""),
            "Kind": service.get("kind", ""),
            "Meta": service.get("meta", {}),
            "Name": service.get("name", ""),
            "Port": service.get("port", 0),
            "Proxy": _show_proxy(service["proxy"]) if "proxy" in service else None,
            "TaggedAddresses": {
                tag: {"Address": address.get("address", ""), "Port": address.get("port", 0)}
                for tag, address in service.get("tagged_addresses", {}).items()
            },
            "Tags": service.get("tags", []),
            "Token": service.get("token", ""),
            "Weights": {"Passing": weights.get("passing", 1), "Warning": weights.get("warning", 1)},
        }
    )


def _show_connect(connect: Object) -> Object:
    sidecar = connect.get("sidecar_service")
    return {
        "Native": connect.get("native", False),
        "SidecarService": None if sidecar is None else show_service(sidecar),
    }


def _show_proxy(proxy: Object) -> Object:
    expose = proxy.get("expose", {})
    return {
        "Config": proxy.get("config", {}),
        "DestinationServiceID": proxy.get("destination_service_id", ""),
        "DestinationServiceName": proxy.get("destination_service_name", ""),
        "Expose": {
            "Checks": expose.get("checks", False),
            "Paths": [
                {
                    "ListenerPort": path.get("listener_port", 0),
                    "LocalPathPort": path.get("local_path_port", 0),
                    "ParsedFromCheck": False,
                    "Path": path.get("path", ""),
                    "Protocol": path.get("protocol", ""),
                }
                for path in expose.get("paths", ())
            ],
        },
        "LocalServiceAddress": proxy.get("local_service_address", ""),
        "LocalServicePort": proxy.get("local_service_port", 0),
        "MeshGateway": {"Mode": proxy.get("mesh_gateway", {}).get("mode", "")},
        "Upstreams": [_show_upstream(upstream) for upstream in proxy.get("upstreams", ())],
    }


def _show_upstream(upstream: Object) -> Object:
    return {
        "Config": upstream.get("config", {}),
        "Datacenter": upstream.get("datacenter", ""),
        "DestinationName": upstream.get("destination_name", ""),
        "DestinationNamespace": upstream.get("destination_namespace", ""),
        "DestinationType": upstream.get("destination_type", ""),
        "IngressHosts": [],
        "LocalBindAddress": upstream.get("local_bind_address", ""),
        "LocalBindPort": upstream.get("local_bind_port", 0),
        "MeshGateway": {"Mode": upstream.get("mesh_gateway", {}).get("mode", "")},
    }
