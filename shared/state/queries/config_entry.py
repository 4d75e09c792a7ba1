"""Config entry reads, and the central defaults of one service. Index of all of them: config-entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from shared.state.answer import Answer
from shared.state.keys import exact, fold
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, CONFIG_ENTRY, Topic
from shared.structs.config_entry import (
    KINDS,
    PROXY_DEFAULTS,
    PROXY_GLOBAL,
    SERVICE_DEFAULTS,
    ConfigEntry,
    ProxyDefaults,
    ServiceDefaults,
)
from shared.structs.config_entry_wire import (
    ServiceConfigRequest,
    ServiceConfigResponse,
    ServiceID,
    UpstreamConfig,
)

E = TypeVar("E", bound=ConfigEntry)


def entry_key(kind: str, name: str) -> bytes:
    return exact(kind) + fold(name)


def entry_topic(kind: str, name: str) -> Topic:
    return CONFIG_ENTRY, f"{kind}/{name.lower()}"


def find(snap: Snapshot, kind: str, name: str) -> ConfigEntry | None:
    """The entry of a kind and a name in any case."""
    row = snap.get(entry_key(kind, name), None, snap.tables.config_entries)
    return None if row is None else read_row(row)


def find_as(snap: Snapshot, cls: type[E], name: str) -> E | None:
    """The same for a kind that is known."""
    found = find(snap, cls.kind_name, name)
    return found if isinstance(found, cls) else None


def read_row(row: bytes) -> ConfigEntry:
    kind, fields = unpack_row(row)
    return KINDS[kind].from_row(fields)


def scan(snap: Snapshot, kind: str = "") -> Iterator[ConfigEntry]:
    """Entries of a kind, or all, by kind and name."""
    for _key, row in snap.scan(snap.tables.config_entries, exact(kind) if kind else b""):
        yield read_row(row)


def linked_to(snap: Snapshot, service: str) -> Iterator[ConfigEntry]:
    """Entries that lead into the chain of a service, by kind and name."""
    for key in snap.scan_keys(snap.tables.config_entries_by_link, exact(service)):
        row = snap.get(key, None, snap.tables.config_entries)
        if row is not None:
            yield read_row(row)


def get(snap: Snapshot, kind: str, name: str) -> Answer[ConfigEntry | None]:
    return Answer(_index(snap), find(snap, kind, name), (entry_topic(kind, name),))


def entries(snap: Snapshot, kind: str = "") -> Answer[list[ConfigEntry]]:
    """All entries, or those of one kind."""
    return Answer(_index(snap), list(scan(snap, kind)), ((CONFIG_ENTRY, ALL),))


def service_config(snap: Snapshot, request: ServiceConfigRequest) -> Answer[ServiceConfigResponse]:
    """What a service and its upstreams inherit: proxy-defaults, over them the service's own service-defaults. Of
    upstreams the protocol alone."""
    own = find_as(snap, ServiceDefaults, request.name)
    defaults = find_as(snap, ProxyDefaults, PROXY_GLOBAL)
    watch = [entry_topic(SERVICE_DEFAULTS, request.name), entry_topic(PROXY_DEFAULTS, PROXY_GLOBAL)]
    made = ServiceConfigResponse()
    global_protocol = None
    if defaults is not None:
        made.proxy_config, made.mesh_gateway, made.expose = defaults.config, defaults.mesh_gateway, defaults.expose
        global_protocol = (defaults.config or {}).get("protocol")
    if own is not None:
        made.expose.checks = made.expose.checks or own.expose.checks
        made.expose.paths = own.expose.paths or made.expose.paths
        made.mesh_gateway.mode = own.mesh_gateway.mode or made.mesh_gateway.mode
        if own.protocol:
            made.proxy_config = {**(made.proxy_config or {}), "protocol": own.protocol}
    ids = [each.id for each in request.upstream_ids or ()]
    protocols = {}
    for name in ids or request.upstreams or ():
        watch.append(entry_topic(SERVICE_DEFAULTS, name))
        upstream = find_as(snap, ServiceDefaults, name)
        protocol = (upstream.protocol if upstream is not None else "") or global_protocol
        if protocol is not None:
            protocols[name] = {"protocol": protocol}
    if protocols and ids:
        made.upstream_id_configs = [UpstreamConfig(ServiceID(name), each) for name, each in protocols.items()]
    elif protocols:
        made.upstream_configs = protocols
    return Answer(_index(snap), made, tuple(watch))


def _index(snap: Snapshot) -> int:
    return max(1, snap.index("config-entries"))
