"""What the catalog refuses before the log, with Consul's texts, and what it fills in."""

from __future__ import annotations

import re

from shared.config.runtime import join_host_port
from shared.structs.catalog import (
    KIND_CONNECT_PROXY,
    KIND_INGRESS_GATEWAY,
    KIND_MESH_GATEWAY,
    KIND_TERMINATING_GATEWAY,
    DeregisterRequest,
    HealthCheck,
    NodeService,
    RegisterRequest,
)
from shared.structs.check_kind import check_kind
from shared.structs.errors import RefusedError
from shared.structs.proxy import ExposePath, Upstream

GATEWAY_KINDS = frozenset({KIND_MESH_GATEWAY, KIND_TERMINATING_GATEWAY, KIND_INGRESS_GATEWAY})
OPAQUE_LEVELS_MAX = 200
_UUID_LENGTH = 36
_HYPHENS_AT = (8, 13, 18, 23)


def prepare_register(args: RegisterRequest) -> RegisterRequest:
    """Checks and completes a registration. Raises RefusedError."""
    check_node(args.node, args.id)
    if not args.address and not args.skip_node_update:
        raise RefusedError("Must provide address if SkipNodeUpdate is not set")
    if args.service is not None:
        complete_service(args.service)
    if args.check is not None:  # the old form with a single check
        args.checks = [*(args.checks or ()), args.check]
        args.check = None
    for check in args.checks or ():
        check.node = check.node or args.node
        complete_check(check)
        check.type = check.type or check_kind(check.definition)
    return args


def prepare_deregister(args: DeregisterRequest) -> DeregisterRequest:
    """Checks a deregistration. Raises RefusedError."""
    if not args.node:
        raise RefusedError("Must provide node")
    return args


def check_node(name: str, node_id: str) -> None:
    """Raises RefusedError for a node that cannot be registered."""
    if not name:
        raise RefusedError("Must provide node")
    if node_id and (reason := uuid_mistake(node_id)):
        raise RefusedError(f"Bad node ID: {reason}")


def uuid_mistake(text: str) -> str | None:
    """What is wrong with a UUID, in Go's words; None if nothing is."""
    if len(text.encode("utf-8", "surrogateescape")) != _UUID_LENGTH:
        return "uuid string is wrong length"
    if any(text[at] != "-" for at in _HYPHENS_AT):
        return "uuid is improperly formatted"
    digits = "".join(part for at, part in enumerate(text) if at not in _HYPHENS_AT)
    bad = re.search(r"[^0-9a-fA-F]", digits)
    if bad is None:
        return None
    shown = f" {bad[0]!r}" if bad[0].isprintable() else ""
    return f"encoding/hex: invalid byte: U+{ord(bad[0]):04X}{shown}"


def validate_service(service: NodeService) -> None:
    """Raises RefusedError for a proxy, gateway or sidecar that lacks what it needs or has what it must not have."""
    mistakes = _proxy_mistakes(service) + _gateway_mistakes(service) + _sidecar_mistakes(service)
    if mistakes:
        count = "1 error" if len(mistakes) == 1 else f"{len(mistakes)} errors"
        lines = "\n\t".join(f"* {mistake}" for mistake in mistakes)
        raise RefusedError(f"{count} occurred:\n\t{lines}\n\n")


def complete_service(service: NodeService) -> None:
    """Give the service its default id. Raises RefusedError for one that cannot be registered."""
    validate_service(service)
    if not service.id:
        service.id = service.service
    elif not service.service:
        raise RefusedError("Must provide service name with ID")
    if service.address in ("0.0.0.0", "::", "[::]"):
        raise RefusedError("Invalid service address")
    for opaque in (service.proxy.config, *(upstream.config for upstream in service.proxy.upstreams or ())):
        if opaque and is_deeper(opaque, OPAQUE_LEVELS_MAX):
            raise RefusedError(f"a proxy's configuration is nested more than {OPAQUE_LEVELS_MAX} levels deep")


def is_deeper(value: object, levels: int) -> bool:
    """Whether lists and maps in `value` are nested more than `levels` deep. Every server that applies a command has to
    walk through all of it, on a stack of its own depth."""
    layer = [value]
    for _ in range(levels + 1):
        inner: list[object] = []
        for one in layer:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        if not inner:
            return False
        layer = inner
    return True


def complete_check(check: HealthCheck) -> None:
    """A check without an id is known by its name."""
    if not check.check_id:
        check.check_id = check.name


def _proxy_mistakes(service: NodeService) -> list[str]:
    if service.kind != KIND_CONNECT_PROXY:
        return []
    mistakes = []
    if not service.proxy.destination_service_name.strip():
        mistakes.append("Proxy.DestinationServiceName must be non-empty for Connect proxy services")
    if service.port == 0:
        mistakes.append("Port must be set for a Connect proxy")
    if service.connect.native:
        mistakes.append("A Proxy cannot also be Connect Native, only typical services")
    mistakes += _upstream_mistakes(service.proxy.upstreams or [])
    mistakes += _exposed_path_mistakes(service.proxy.expose.paths or [])
    return mistakes


def _upstream_mistakes(upstreams: list[Upstream]) -> list[str]:
    mistakes: list[str] = []
    targets: set[str] = set()
    binds: set[str] = set()
    for upstream in upstreams:
        if upstream.destination_type not in ("prepared_query", "service", ""):
            mistakes.append(f'unknown upstream destination type: "{upstream.destination_type}"')
        elif not upstream.destination_name:
            mistakes.append("upstream destination name cannot be empty")
        elif upstream.local_bind_port == 0:
            mistakes.append("upstream local bind port cannot be zero")
        else:
            target = (
                f'[type="{upstream.destination_type}", name="{upstream.destination_name}",'
                f' namespace="{upstream.destination_namespace}", datacenter="{upstream.datacenter}"]'
            )
            bind = join_host_port(upstream.local_bind_address or "127.0.0.1", upstream.local_bind_port)
            if target in targets:
                mistakes.append(f"upstreams cannot contain duplicates of {target}")
            elif bind in binds:
                mistakes.append(
                    f'upstreams cannot contain duplicates by local bind address and port; "{bind}" is specified twice'
                )
            else:
                binds.add(bind)
            targets.add(target)
    return mistakes


def _exposed_path_mistakes(paths: list[ExposePath]) -> list[str]:
    mistakes: list[str] = []
    known_paths: set[str] = set()
    known_ports: set[int] = set()
    for path in paths:
        if not path.path:
            mistakes.append("expose.paths: empty path exposed")
        if path.path in known_paths:
            mistakes.append("expose.paths: duplicate paths exposed")
        if path.listener_port in known_ports:
            mistakes.append("expose.paths: duplicate listener ports exposed")
        if not 0 < path.listener_port <= 65535:
            mistakes.append(f"expose.paths: invalid listener port: {path.listener_port}")
        path.protocol = path.protocol.lower()
        if path.protocol not in ("", "http", "http2"):
            mistakes.append(f"protocol '{path.protocol}' not supported for path: {path.path}, must be in: [http http2]")
        known_paths.add(path.path)
        known_ports.add(path.listener_port)
    return mistakes


def _gateway_mistakes(service: NodeService) -> list[str]:
    kind, proxy = service.kind, service.proxy
    if kind not in GATEWAY_KINDS:
        return []
    mistakes = []
    if service.port == 0 and kind != KIND_INGRESS_GATEWAY:
        mistakes.append(f"Port must be non-zero for a {kind}")
    if service.connect.sidecar_service is not None:
        mistakes.append(f"A {kind} cannot have a sidecar service defined")
    set_fields = {
        "DestinationServiceName": proxy.destination_service_name,
        "DestinationServiceID": proxy.destination_service_id,
        "LocalServiceAddress": proxy.local_service_address,
        "LocalServicePort": proxy.local_service_port,
        "Upstreams": proxy.upstreams,
    }
    mistakes += [
        f"The Proxy.{name} configuration is invalid for a {kind}" for name, value in set_fields.items() if value
    ]
    return mistakes


def _sidecar_mistakes(service: NodeService) -> list[str]:
    sidecar = service.connect.sidecar_service
    mistakes = []
    if sidecar is not None and sidecar.id:
        mistakes.append("A SidecarService cannot specify an ID as this is managed by the agent")
    if sidecar is not None and sidecar.connect is not None and sidecar.connect.sidecar_service is not None:
        mistakes.append("A SidecarService cannot have a nested SidecarService")
    return mistakes
