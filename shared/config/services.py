"""Service and check definitions of the config files: converted, and refused if they contradict themselves.

They stay dicts with the keys of the file; durations become seconds, defaults that matter are filled in."""

from __future__ import annotations

import re
from typing import Any

from shared.config.error_list import error_list
from shared.config.options import ConfigError
from shared.config.runtime import join_host_port
from shared.config.values import Values
from shared.gotext.quoting import quote

MAX_META_PAIRS, MAX_META_KEY, MAX_META_VALUE = 64, 128, 512
RESERVED_META_PREFIX = "consul-"
_META_KEY = re.compile(r"[a-zA-Z0-9_-]+")
_MESH_GATEWAY_META = frozenset({"consul-wan-federation"})
_MESH_GATEWAY_MODES = ("", "none", "local", "remote")
KINDS = ("connect-proxy", "mesh-gateway", "terminating-gateway", "ingress-gateway")
_CHECK_DURATIONS = ("interval", "timeout", "ttl", "deregister_critical_service_after")
DEFAULT_CHECK_OUTPUT_SIZE = 4096

Definition = dict[str, Any]


def convert_check(values: Values, check: Definition) -> Definition:
    converted = {"output_max_size": DEFAULT_CHECK_OUTPUT_SIZE, **check}
    for key in _CHECK_DURATIONS:
        if key in check:
            converted[key] = values.to_duration(f"check[{check.get('id', '')}].{key}", check[key])
    return converted


def convert_service(values: Values, service: Definition) -> Definition:
    """Errors go to `values`, to be reported after the semantic checks."""
    name = service.get("name", "")
    converted = dict(service)
    checks = [*service.get("checks", ())]
    if "check" in service:
        checks.append(converted.pop("check"))
    converted["checks"] = [convert_check(values, check) for check in checks]
    if converted.get("kind", "") not in KINDS:
        converted["kind"] = ""
    allowed = _MESH_GATEWAY_META if converted["kind"] == "mesh-gateway" else frozenset()
    if reason := invalid_metadata(service.get("meta", {}), allowed):
        values.errors[:] = [f"invalid meta for service {name}: {reason}"]
        converted["meta"] = {}
    weights = {"passing": 1, "warning": 1, **service.get("weights", {})}
    if reason := _invalid_weights(weights):
        values.errors[:] = [f"Invalid weight definition for service {name}: {reason}"]
    converted["weights"] = weights
    if "proxy" in service:
        converted["proxy"] = _convert_proxy(values, service["proxy"])
    if "connect" in service:
        converted["connect"] = _convert_connect(values, service["connect"])
    return converted


def _convert_proxy(values: Values, proxy: Definition) -> Definition:
    _check_mesh_gateway(values, proxy)
    upstreams = []
    for upstream in proxy.get("upstreams", ()):
        _check_mesh_gateway(values, upstream)
        upstreams.append({**upstream, "destination_type": upstream.get("destination_type") or "service"})
    return {**proxy, "upstreams": upstreams}


def _check_mesh_gateway(values: Values, owner: Definition) -> None:
    mode = owner.get("mesh_gateway", {}).get("mode", "")
    if mode not in _MESH_GATEWAY_MODES:
        values.errors.append(f"Invalid Mesh Gateway Mode: {quote(mode)}")


def _convert_connect(values: Values, connect: Definition) -> Definition:
    if "sidecar_service" not in connect:
        return connect
    sidecar = convert_service(values, connect["sidecar_service"])
    if sidecar.get("id"):
        values.errors.append("sidecar_service can't specify an ID")
    if "sidecar_service" in sidecar.get("connect", {}):
        values.errors.append("sidecar_service can't have a nested sidecar_service")
    return {**connect, "sidecar_service": sidecar}


def invalid_metadata(meta: dict[str, str], allowed: frozenset[str] = frozenset()) -> str | None:
    """Why node or service metadata is refused, None if it is not. `allowed`: reserved keys that may be used."""
    if len(meta) > MAX_META_PAIRS:
        return f"Node metadata cannot contain more than {MAX_META_PAIRS} key/value pairs"
    for key, value in meta.items():
        if reason := _invalid_pair(key, value, allowed):
            return f"Couldn't load metadata pair ('{key}', '{value}'): {reason}"
    return None


def _invalid_pair(key: str, value: str, allowed: frozenset[str]) -> str | None:
    if not key:
        return "Key cannot be blank"
    if not _META_KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > MAX_META_KEY:
        return f"Key is too long (limit: {MAX_META_KEY} characters)"
    if key.startswith(RESERVED_META_PREFIX) and key not in allowed:
        return f"Key prefix '{RESERVED_META_PREFIX}' is reserved for internal use"
    if len(value.encode("utf-8", "surrogateescape")) > MAX_META_VALUE:
        return f"Value is too long (limit: {MAX_META_VALUE} characters)"
    return None


def _invalid_weights(weights: dict[str, int]) -> str | None:
    if weights["passing"] < 1:
        return "Passing must be greater than 0"
    if weights["warning"] < 0:
        return "Warning must be greater or equal than 0"
    if weights["passing"] > 65535 or weights["warning"] > 65535:
        return "DNS Weight must be between 0 and 65535"
    return None


def validate_service(service: Definition) -> None:
    """Raises ConfigError if a proxy or gateway lacks what its kind needs, or has what it must not have."""
    reasons: list[str] = []
    if service["kind"] == "connect-proxy":
        reasons += _invalid_proxy(service)
    elif service["kind"]:
        reasons += _invalid_gateway(service)
    if reasons:
        nested = error_list(reasons)
        raise ConfigError(f"service {quote(service.get('name', ''))}: {nested}")


def _invalid_proxy(service: Definition) -> list[str]:
    proxy = service.get("proxy", {})
    reasons: list[str] = []
    if not proxy.get("destination_service_name", "").strip():
        reasons.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    if not service.get("port"):
        reasons.append("Port must be set for a Connect proxy")
    if service.get("connect", {}).get("native"):
        reasons.append("A Proxy cannot also be Connect Native, only typical services")
    return reasons + _invalid_upstreams(proxy) + _invalid_paths(proxy)


def _invalid_upstreams(proxy: Definition) -> list[str]:
    reasons: list[str] = []
    seen: set[tuple[str, ...]] = set()
    bound: set[str] = set()
    for upstream in proxy.get("upstreams", ()):
        if reason := _invalid_upstream(upstream):
            reasons.append(reason)
            continue
        key = tuple(
            upstream.get(field, "")
            for field in ("destination_type", "destination_name", "destination_namespace", "datacenter")
        )
        if key in seen:
            names = ("type", "name", "namespace", "datacenter")
            shown = ", ".join(f"{name}={quote(value)}" for name, value in zip(names, key, strict=True))
            reasons.append(f"upstreams cannot contain duplicates of [{shown}]")
            continue
        seen.add(key)
        address = join_host_port(upstream.get("local_bind_address") or "127.0.0.1", upstream["local_bind_port"])
        if address in bound:
            reasons.append(
                "upstreams cannot contain duplicates by local bind address and port; "
                f"{quote(address)} is specified twice"
            )
            continue
        bound.add(address)
    return reasons


def _invalid_upstream(upstream: Definition) -> str | None:
    kind = upstream.get("destination_type", "service")
    if kind not in ("service", "prepared_query"):
        return f"unknown upstream destination type: {quote(kind)}"
    if not upstream.get("destination_name"):
        return "upstream destination name cannot be empty"
    if not upstream.get("local_bind_port"):
        return "upstream local bind port cannot be zero"
    return None


def _invalid_paths(proxy: Definition) -> list[str]:
    reasons: list[str] = []
    paths: set[str] = set()
    listeners: set[int] = set()
    for entry in proxy.get("expose", {}).get("paths", ()):
        path, port, protocol = entry.get("path", ""), entry.get("listener_port", 0), entry.get("protocol", "")
        if not path:
            reasons.append("expose.paths: empty path exposed")
        if path in paths:
            reasons.append("expose.paths: duplicate paths exposed")
        if port in listeners:
            reasons.append("expose.paths: duplicate listener ports exposed")
        paths.add(path)
        listeners.add(port)
        if not 0 < port <= 65535:
            reasons.append(f"expose.paths: invalid listener port: {port}")
        if protocol.lower() not in ("", "http", "http2"):
            reasons.append(f"protocol '{protocol.lower()}' not supported for path: {path}, must be in: [http http2]")
    return reasons


def _invalid_gateway(service: Definition) -> list[str]:
    kind, proxy = service["kind"], service.get("proxy", {})
    reasons: list[str] = []
    if not service.get("port") and kind != "ingress-gateway":
        reasons.append(f"Port must be non-zero for a {kind}")
    if "sidecar_service" in service.get("connect", {}):
        reasons.append(f"A {kind} cannot have a sidecar service defined")
    forbidden = {
        "destination_service_name": "DestinationServiceName",
        "destination_service_id": "DestinationServiceID",
        "local_service_address": "LocalServiceAddress",
        "local_service_port": "LocalServicePort",
        "upstreams": "Upstreams",
    }
    reasons += [
        f"The Proxy.{label} configuration is invalid for a {kind}" for key, label in forbidden.items() if proxy.get(key)
    ]
    return reasons
