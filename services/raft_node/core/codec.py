"""msgpack of the values that the log itself holds: configurations and the old lists of peers.

Old msgpack flavour (no bin type, no str8), keys sorted, as Consul writes it."""

from __future__ import annotations

from typing import Any

import msgpack

from services.raft_node.core.types import VOTER, Configuration, Server

_pack = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape").pack


class EntryError(Exception):
    """The data of a log entry does not decode."""


def encode_configuration(configuration: Configuration) -> bytes:
    servers = [
        {"Address": server.address, "ID": server.id, "Suffrage": server.suffrage} for server in configuration.servers
    ]
    packed: bytes = _pack({"Servers": servers})
    return packed


def decode_configuration(data: bytes) -> Configuration:
    """Raises EntryError for anything but an encoded configuration. Unknown keys are skipped."""
    value = _unpack(data)
    servers = value.get("Servers") if isinstance(value, dict) else None
    if servers is None and isinstance(value, dict):
        servers = []
    if not isinstance(servers, list):
        raise EntryError("a configuration entry is no map with a list of servers")
    return Configuration(tuple(_server(item) for item in servers))


def _server(item: Any) -> Server:
    if not isinstance(item, dict):
        raise EntryError("a server of a configuration is no map")
    server_id, address, suffrage = item.get("ID", ""), item.get("Address", ""), item.get("Suffrage", VOTER)
    if not (isinstance(server_id, str) and isinstance(address, str) and type(suffrage) is int):
        raise EntryError("a server of a configuration has fields of the wrong type")
    return Server(server_id, address, suffrage)


def encode_peers(configuration: Configuration) -> bytes:
    """Addresses of the voters: what snapshots carry for servers older than raft protocol 3."""
    packed: bytes = _pack([server.address for server in configuration.servers if server.suffrage == VOTER])
    return packed


def decode_peers(data: bytes) -> Configuration:
    """The inverse; in that age an address was also the ID. Raises EntryError."""
    value = _unpack(data)
    if not isinstance(value, list) or not all(isinstance(address, str) for address in value):
        raise EntryError("a list of peers is no list of addresses")
    return Configuration(tuple(Server(address, address, VOTER) for address in value))


def _unpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, unicode_errors="surrogateescape", strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise EntryError(f"not msgpack: {error}") from None
