"""Config entries on the wire: requests and answers.

An entry says its kind first, because Go must know what to decode into:
    request     raw of: kind, map of the request with the entry inside
    answer      raw of: kind, entry, query metadata; kind "" and no entry where there is none
    list        raw of: number, kind, map of the answer with the entries inside
    full list   raw of: number, (kind, entry) for each, query metadata
where proxy-defaults are a raw that holds their map. Weights of a splitter are 32 bit floats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack

from shared.structs.config_entry import ConfigEntry, ProxyDefaults, ServiceSplitter, class_of, shortest
from shared.structs.proxy import ExposeConfig, MeshGatewayConfig
from shared.structs.query import QueryMeta, QueryOptions
from shared.structs.schema import ANY, STR, STRS, Struct, attr, list_of, map_of, struct
from shared.structs.wire import WireStream, pack, unpack

COMMAND = 22
"""Type byte of commands about entries."""
UPSERT, UPSERT_CAS, DELETE = "upsert", "upsert-cas", "delete"

_pack_single: Callable[[Any], bytes] = msgpack.Packer(
    use_bin_type=False, use_single_float=True, unicode_errors="surrogateescape"
).pack


def pack_entry(entry: ConfigEntry) -> bytes:
    """An entry as Consul encodes it inside of others."""
    fields = entry.to_wire()
    if isinstance(entry, ServiceSplitter):
        return _pack_single(fields)
    packed = pack(fields)
    return pack(packed) if isinstance(entry, ProxyDefaults) else packed


def read_entry(kind: str, value: Any) -> ConfigEntry:
    """An entry out of its decoded form. Raises RefusedError for an unknown kind, WireTypeError."""
    cls = class_of(kind)
    if cls is ProxyDefaults and isinstance(value, str | bytes):
        value = unpack(_raw(value))
    entry = cls.from_wire(value)
    if isinstance(entry, ServiceSplitter):
        for split in entry.splits or ():
            split.weight = shortest(split.weight)
    return entry


def _raw(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _map(fields: dict[str, bytes]) -> bytes:
    """A small map of encoded values, with its keys in byte order."""
    ordered = sorted(fields.items(), key=lambda item: item[0].encode())
    return bytes((0x80 | len(ordered),)) + b"".join(pack(name) + value for name, value in ordered)


def _array(items: list[bytes]) -> bytes:
    packer = msgpack.Packer()
    return bytes(packer.pack_array_header(len(items))) + b"".join(items)


class ConfigEntryRequest:
    """ConfigEntry.Apply, ConfigEntry.Delete and FSM message 22: not a Struct, because its entry has no fixed type."""

    __slots__ = ("datacenter", "entry", "op", "token")

    def __init__(self, op: str, entry: ConfigEntry, datacenter: str = "", token: str = "") -> None:
        self.op, self.entry, self.datacenter, self.token = op, entry, datacenter, token

    def to_raw(self) -> bytes:
        """What the request's raw holds; `pack` of it is the request as it goes over the wire."""
        fields = {
            "Datacenter": pack(self.datacenter),
            "Entry": pack_entry(self.entry),
            "Op": pack(self.op),
            "Token": pack(self.token),
        }
        return pack(self.entry.kind_name) + _map(fields)

    def to_command(self) -> bytes:
        """The bytes that go into the log."""
        return bytes((COMMAND,)) + pack(self.to_raw())

    @classmethod
    def from_raw(cls, raw: str | bytes) -> ConfigEntryRequest:
        """Raises RefusedError for an unknown kind, WireTypeError."""
        values = WireStream([_raw(raw)])
        kind, fields = values.value(), values.value()
        entry = read_entry(kind, fields.get("Entry"))
        return cls(fields.get("Op") or "", entry, fields.get("Datacenter") or "", fields.get("Token") or "")


def pack_answer(entry: ConfigEntry | None, meta: QueryMeta) -> bytes:
    """What the raw of a ConfigEntryResponse holds."""
    if entry is None:
        return pack("") + pack(meta.to_wire())
    return pack(entry.kind_name) + pack_entry(entry) + pack(meta.to_wire())


def read_answer(raw: str | bytes) -> tuple[ConfigEntry | None, QueryMeta]:
    values = WireStream([_raw(raw)])
    kind = values.value()
    entry = read_entry(kind, values.value()) if kind else None
    return entry, QueryMeta.from_wire(values.value())


def pack_list(kind: str, entries: list[ConfigEntry], meta: QueryMeta) -> bytes:
    """What the raw of an IndexedConfigEntries holds."""
    fields = {name: pack(value) for name, value in meta.to_wire().items()}
    fields["Entries"] = _array([pack_entry(entry) for entry in entries])
    fields["Kind"] = pack(kind)
    return pack(len(entries)) + pack(kind) + _map(fields)


def read_list(raw: str | bytes) -> tuple[list[ConfigEntry], QueryMeta]:
    values = WireStream([_raw(raw)])
    _number, kind, fields = values.value(), values.value(), values.value()
    return [read_entry(kind, each) for each in fields.get("Entries") or ()], QueryMeta.from_wire(fields)


def pack_full_list(entries: list[ConfigEntry], meta: QueryMeta) -> bytes:
    """What the raw of an IndexedGenericConfigEntries holds."""
    parts = [pack(entry.kind_name) + pack_entry(entry) for entry in entries]
    return pack(len(entries)) + b"".join(parts) + pack(meta.to_wire())


# Reading --------------------------------------------------------------------------------------------------


class ConfigEntryQuery(QueryOptions):
    kind: str = attr("Kind", STR)
    name: str = attr("Name", STR)
    datacenter: str = attr("Datacenter", STR)


class ServiceID(Struct):
    id: str = attr("ID", STR)


class ServiceConfigRequest(QueryOptions):
    """ConfigEntry.ResolveServiceConfig. upstreams: names, as agents before 1.8 send them."""

    name: str = attr("Name", STR)
    datacenter: str = attr("Datacenter", STR)
    upstreams: list[str] | None = attr("Upstreams", STRS)
    upstream_ids: list[ServiceID] | None = attr("UpstreamIDs", list_of(struct(lambda: ServiceID)))


class UpstreamConfig(Struct):
    upstream: ServiceID = attr("Upstream", struct(lambda: ServiceID))
    config: dict[str, Any] | None = attr("Config", map_of(ANY))


class ServiceConfigResponse(QueryMeta):
    """Central defaults for one service. Its wire form is a raw that holds its map."""

    proxy_config: dict[str, Any] | None = attr("ProxyConfig", map_of(ANY))
    upstream_configs: dict[str, dict[str, Any]] | None = attr("UpstreamConfigs", map_of(map_of(ANY)))
    upstream_id_configs: list[UpstreamConfig] | None = attr(
        "UpstreamIDConfigs", list_of(struct(lambda: UpstreamConfig))
    )
    mesh_gateway: MeshGatewayConfig = attr("MeshGateway", struct(lambda: MeshGatewayConfig))
    expose: ExposeConfig = attr("Expose", struct(lambda: ExposeConfig))

    def to_raw(self) -> bytes:
        return pack(self.to_wire())

    @classmethod
    def from_raw(cls, raw: str | bytes) -> ServiceConfigResponse:
        return cls.from_wire(unpack(_raw(raw)))
