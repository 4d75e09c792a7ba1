"""What a config entry must be before it goes to the log: read from a body, normalised, checked, with Consul's texts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.config.error_list import error_list
from shared.gotext.durations import format_duration_ns
from shared.gotext.quoting import quote
from shared.structs.config_entry import (
    NAMESPACE,
    PROXY_GLOBAL,
    WILDCARD,
    ConfigEntry,
    IngressGateway,
    IngressListener,
    ProxyDefaults,
    ResolverFailover,
    RouteHTTPMatch,
    ServiceDefaults,
    ServiceResolver,
    ServiceRouter,
    ServiceSplitter,
    TerminatingGateway,
    class_of,
    float32,
    shortest,
)
from shared.structs.errors import RefusedError
from shared.structs.weak_decode import WeakDecodeError, decode

_META_PAIRS_MAX, _META_KEY_MAX, _META_VALUE_MAX = 64, 128, 512
_SUBSET = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
_SUBSET_MAX = 63
_WHOLE = 100 * 100
"""All weights of a splitter together, in hundredths of a percent."""


# From a body ----------------------------------------------------------------------------------------------


def decode_entry(raw: Mapping[str, Any] | None) -> ConfigEntry:
    """An entry from decoded JSON or HCL. Raises RefusedError."""
    entry, unused = read_body(raw)
    mistakes = []
    for key in unused:
        if key in ("CreateIndex", "ModifyIndex"):
            continue
        hint = ", namespaces are a consul enterprise feature" if key.lower().endswith("namespace") else ""
        mistakes.append(f"invalid config key {quote(key)}{hint}")
    if mistakes:
        raise RefusedError(error_list(mistakes))
    return entry


def read_body(raw: Mapping[str, Any] | None) -> tuple[ConfigEntry, list[str]]:
    """An entry and the paths of keys that belong to no field. Raises RefusedError."""
    raw = raw or {}
    if "Kind" not in raw and "kind" not in raw:
        raise RefusedError("Payload does not contain a kind/Kind key at the top level")
    kind = raw.get("Kind", raw.get("kind"))
    if not isinstance(kind, str):
        raise RefusedError("Kind value in payload is not a string")
    cls = class_of(kind)
    fields = {key: value for key, value in raw.items() if key.lower() not in _INDEXES}
    try:
        entry, unused = decode(cls, fields)
    except WeakDecodeError as error:
        raise RefusedError(str(error)) from None
    if isinstance(entry, ServiceSplitter):
        for split in entry.splits or ():
            split.weight = shortest(split.weight)
    return entry, [*unused, *(key for key in raw if key not in fields and key.lower() != "raftindex")]


_INDEXES = frozenset(("createindex", "modifyindex", "raftindex"))
"""Keys that are no fields of an entry: the server says when it was written."""


# Normalising ----------------------------------------------------------------------------------------------


def normalize(entry: ConfigEntry) -> None:
    """Fills in and spells as Consul does what an entry leaves open."""
    entry.kind = entry.kind_name
    if isinstance(entry, ServiceDefaults):
        entry.protocol = entry.protocol.lower()
    elif isinstance(entry, ProxyDefaults):
        entry.name = PROXY_GLOBAL
    elif isinstance(entry, ServiceRouter):
        _normalize_router(entry)
    elif isinstance(entry, ServiceSplitter):
        for split in entry.splits or ():
            split.weight = shortest(scaled_weight(split.weight) / 100.0)
    elif isinstance(entry, IngressGateway):
        for listener in entry.listeners or ():
            listener.protocol = (listener.protocol or "tcp").lower()


def _normalize_router(entry: ServiceRouter) -> None:
    for route in entry.routes or ():
        match = route.match.http if route.match is not None else None
        if match is None or not match.methods:
            continue
        match.methods = [method.upper() for method in match.methods]
        if route.destination is not None and not route.destination.namespace:
            route.destination.namespace = NAMESPACE


def scaled_weight(weight: float) -> int:
    """A percentage in hundredths of a percent, computed with 32 bit floats."""
    scaled = float32(float32(weight) * 100.0)
    if not math.isfinite(scaled):
        return -(1 << 63)
    return math.floor(abs(scaled) + 0.5) * (1 if scaled >= 0 else -1)


# Checking -------------------------------------------------------------------------------------------------


def validate(entry: ConfigEntry) -> None:
    """Raises RefusedError for a normalised entry that says something impossible."""
    if isinstance(entry, ProxyDefaults) and entry.name != PROXY_GLOBAL:
        raise RefusedError(f"invalid name ({quote(entry.name)}), only {quote(PROXY_GLOBAL)} is supported")
    check = _CHECKS.get(type(entry))
    if isinstance(entry, ServiceRouter | ServiceSplitter | ServiceResolver) and not entry.name:
        raise RefusedError("Name is required")
    if isinstance(entry, ServiceSplitter) and not entry.splits:
        raise RefusedError("no splits configured")
    _check_meta(entry.meta or {})
    if check is not None:
        check(entry)


def _check_meta(meta: Mapping[str, str]) -> None:
    mistakes = []
    if len(meta) > _META_PAIRS_MAX:
        mistakes.append(f"Meta exceeds maximum element count {_META_PAIRS_MAX}")
    for key, value in meta.items():
        if _bytes(key) > _META_KEY_MAX:
            mistakes.append(f"Meta key {quote(key)} exceeds maximum length {_META_KEY_MAX}")
        if _bytes(value) > _META_VALUE_MAX:
            mistakes.append(f"Meta value for key {quote(key)} exceeds maximum length {_META_VALUE_MAX}")
    if mistakes:
        raise RefusedError(error_list(mistakes))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def _check_proxy(entry: ProxyDefaults) -> None:
    """Consul takes a null, and then no server of it can read its log any more: better not to write one."""
    if _holds_null(entry.config or {}):
        raise RefusedError("Config must not contain null")


def _holds_null(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_holds_null, value.values() if isinstance(value, dict) else value))
    return value is None


def _check_router(entry: ServiceRouter) -> None:
    for at, route in enumerate(entry.routes or ()):
        match = route.match.http if route.match is not None else None
        if match is not None:
            _check_match(f"Route[{at}]", match)
        eligible = match is not None and bool(match.path_exact or match.path_prefix)
        if route.destination is not None and route.destination.prefix_rewrite and not eligible:
            raise RefusedError(
                f"Route[{at}] cannot make use of PrefixRewrite without configuring either PathExact or PathPrefix"
            )


def _check_match(where: str, match: RouteHTTPMatch) -> None:
    for name, path in (("PathExact", match.path_exact), ("PathPrefix", match.path_prefix)):
        if path and not path.startswith("/"):
            raise RefusedError(f"{where} {name} doesn't start with '/': {quote(path)}")
    if sum(map(bool, (match.path_exact, match.path_prefix, match.path_regex))) > 1:
        raise RefusedError(f"{where} should only contain at most one of PathExact, PathPrefix, or PathRegex")
    for at, header in enumerate(match.header or ()):
        if not header.name:
            raise RefusedError(f"{where} Header[{at}] missing required Name field")
        ways = (header.present, header.exact, header.regex, header.prefix, header.suffix)
        if sum(map(bool, ways)) != 1:
            raise RefusedError(
                f"{where} Header[{at}] should only contain one of Present, Exact, Prefix, Suffix, or Regex"
            )
    for at, parameter in enumerate(match.query_param or ()):
        if not parameter.name:
            raise RefusedError(f"{where} QueryParam[{at}] missing required Name field")
        if sum(map(bool, (parameter.present, parameter.exact, parameter.regex))) != 1:
            raise RefusedError(f"{where} QueryParam[{at}] should only contain one of Present, Exact, or Regex")
    seen: set[str] = set()
    for method in match.methods or ():
        if method in seen:
            raise RefusedError(f"{where} Methods contains {quote(method)} more than once")
        seen.add(method)


def _check_splitter(entry: ServiceSplitter) -> None:
    splits = entry.splits or []
    seen: set[tuple[str, str, str]] = set()
    for split in splits:
        target = (split.service or entry.name, split.service_subset, split.namespace)
        if target in seen:
            service, subset, namespace = map(quote, target)
            raise RefusedError(
                f"split destination occurs more than once: service={service}, subset={subset}, namespace={namespace}"
            )
        seen.add(target)
    total = sum(scaled_weight(split.weight) for split in splits)
    if total != _WHOLE:
        shown = float32(float32(total) / 100.0)
        raise RefusedError(f"the sum of all split weights must be 100, not {shown:f}")


def _check_resolver(entry: ServiceResolver) -> None:
    subsets = entry.subsets or {}
    for name in subsets:
        if not name:
            raise RefusedError("Subset defined with empty name")
        if problem := _subset_problem(name):
            raise RefusedError(f"Subset {quote(name)} is invalid: {problem}")
    if entry.default_subset and entry.default_subset not in subsets:
        raise RefusedError(f"DefaultSubset {quote(entry.default_subset)} is not a valid subset")
    _check_redirect(entry)
    for name, failover in (entry.failover or {}).items():
        _check_failover(entry, name, failover)
    if entry.connect_timeout < 0:
        raise RefusedError(f"Bad ConnectTimeout '{format_duration_ns(entry.connect_timeout)}', must be >= 0")


def _subset_problem(name: str) -> str:
    """Subsets become part of host names."""
    if _bytes(name) > _SUBSET_MAX:
        return "must be non-empty and 63 characters or fewer"
    if not _SUBSET.match(name):
        return (
            "must be 63 characters or fewer, begin or end with lower case alphanumeric characters, "
            "and contain lower case alphanumeric characters or '-' in between"
        )
    return ""


def _check_redirect(entry: ServiceResolver) -> None:
    redirect = entry.redirect
    if redirect is None:
        return
    if entry.failover:
        raise RefusedError("Redirect and Failover cannot both be set")
    if not (redirect.service or redirect.service_subset or redirect.namespace or redirect.datacenter):
        raise RefusedError("Redirect is empty")
    if not redirect.service:
        for name, value in (("ServiceSubset", redirect.service_subset), ("Namespace", redirect.namespace)):
            if value:
                raise RefusedError(f"Redirect.{name} defined without Redirect.Service")
        return
    subset = redirect.service_subset
    if redirect.service == entry.name and subset and subset not in (entry.subsets or {}):
        raise RefusedError(f"Redirect.ServiceSubset {quote(subset)} is not a valid subset of {quote(redirect.service)}")


def _check_failover(entry: ServiceResolver, subset: str, failover: ResolverFailover) -> None:
    subsets, where = entry.subsets or {}, f"Bad Failover[{quote(subset)}]"
    if subset != WILDCARD and subset not in subsets:
        raise RefusedError(f"{where}: not a valid subset")
    if not (failover.service or failover.service_subset or failover.namespace or failover.datacenters):
        raise RefusedError(f"{where} one of Service, ServiceSubset, Namespace, or Datacenters is required")
    if failover.service_subset and failover.service in ("", entry.name) and failover.service_subset not in subsets:
        raise RefusedError(
            f"{where}.ServiceSubset {quote(failover.service_subset)} is not a valid subset of {quote(failover.service)}"
        )
    if "" in (failover.datacenters or ()):
        raise RefusedError(f"{where}.Datacenters: found empty datacenter")


def _check_ingress(entry: IngressGateway) -> None:
    ports: set[int] = set()
    for listener in entry.listeners or ():
        if listener.port in ports:
            raise RefusedError(f"port {listener.port} declared on two listeners")
        ports.add(listener.port)
        _check_listener(listener, entry.tls.enabled)


def _check_listener(listener: IngressListener, tls: bool) -> None:
    protocol, port, services = listener.protocol, listener.port, listener.services or []
    if protocol not in ("tcp", "http", "http2", "grpc"):
        raise RefusedError(
            f"protocol must be 'tcp', 'http', 'http2', or 'grpc'. '{protocol}' is an unsupported protocol"
        )
    if not services:
        raise RefusedError(f"No service declared for listener with port {port}")
    if protocol != "http" and len(services) > 1:
        raise RefusedError(
            f"Multiple services per listener are only supported for protocol = 'http' (listener on port {port})"
        )
    hosts: set[str] = set()
    for service in services:
        if protocol == "tcp" and service.name == WILDCARD:
            raise RefusedError(f"Wildcard service name is only valid for protocol = 'http' (listener on port {port})")
        if protocol == "tcp" and service.hosts:
            raise RefusedError(
                f"Associating hosts to a service is not supported for the {protocol} protocol (listener on port {port})"
            )
        if not service.name:
            raise RefusedError(f"Service name cannot be blank (listener on port {port})")
        if service.name == WILDCARD and service.hosts:
            raise RefusedError(f"Associating hosts to a wildcard service is not supported (listener on port {port})")
        for host in service.hosts or ():
            if host in hosts:
                raise RefusedError(f"Hosts must be unique within a specific listener (listener on port {port})")
            hosts.add(host)
            _check_host(host, tls)


def _check_host(host: str, tls: bool) -> None:
    if host == WILDCARD:
        if tls:
            raise RefusedError(
                "Host '*' is not allowed when TLS is enabled, all hosts must be valid DNS records to add as a DNSSAN"
            )
        return
    if not is_domain_name(host):
        raise RefusedError(f"Host {quote(host)} must be a valid DNS hostname")
    if "*" in host.removeprefix("*."):
        raise RefusedError(
            f"Host {quote(host)} is not valid, a wildcard specifier is only allowed as the leftmost label"
        )


def is_domain_name(text: str) -> bool:
    r"""Whether a text is a domain name in the presentation format: labels of 63 bytes, no empty one inside, escapes
    as \. and \046, together at most 255 bytes on the wire."""
    raw = text.encode("utf-8", "surrogateescape")
    if not raw:
        return False
    if raw == b".":
        return True
    raw = raw if raw.endswith(b".") and not raw.endswith(b"\\.") else raw + b"."
    at = label = total = 0
    while at < len(raw):
        if raw[at : at + 1] == b"\\":
            digits = raw[at + 1 : at + 4]
            at += 4 if len(digits) == 3 and digits.isdigit() else 2
            label += 1
        elif raw[at : at + 1] == b".":
            if label == 0 or label > 63:
                return False
            total += label + 1
            label, at = 0, at + 1
        else:
            label, at = label + 1, at + 1
    return total + 1 <= 255


def _check_terminating(entry: TerminatingGateway) -> None:
    seen: set[str] = set()
    for service in entry.services or ():
        if not service.name:
            raise RefusedError("Service name cannot be blank.")
        if service.name in seen:
            raise RefusedError(f"Service {quote(service.name)} was specified more than once within a namespace")
        seen.add(service.name)
        files = (service.ca_file, service.cert_file, service.key_file)
        if (service.cert_file or service.key_file) and not all(files):
            raise RefusedError(
                f"Service {quote(service.name)} must have a CertFile, CAFile, and KeyFile specified for TLS origination"
            )


_CHECKS: dict[type[ConfigEntry], Callable[[Any], None]] = {
    ProxyDefaults: _check_proxy,
    ServiceRouter: _check_router,
    ServiceSplitter: _check_splitter,
    ServiceResolver: _check_resolver,
    IngressGateway: _check_ingress,
    TerminatingGateway: _check_terminating,
}
