"""Records of key operations: the keys of gossip encryption, asked for and changed in whole pools at once."""

from __future__ import annotations

from shared.structs.query import QueryMeta, QueryOptions
from shared.structs.schema import BOOL, INT, STR, STR_MAP, UINT, Struct, attr, list_of, map_of, struct

LIST, INSTALL, USE, REMOVE = "list", "install", "use", "remove"
RELAY_FACTOR_MAX = 5
"""Members through which an answer may be sent a second time."""


class KeyringBody(Struct):
    """Body of a request that changes keys. Only `key` and `relay_factor` are looked at, the rest is allowed."""

    go_name = "keyringArgs"
    go_package = "agent"

    key: str = attr("Key", STR)
    token: str = attr("Token", STR)
    relay_factor: int = attr("RelayFactor", UINT, go_type="uint8")
    local_only: bool = attr("LocalOnly", BOOL)


class KeyringRequest(QueryOptions):
    """Internal.KeyringOperation. key: base64. forwarded: comes from a server of another datacenter."""

    operation: str = attr("Operation", STR)
    key: str = attr("Key", STR)
    datacenter: str = attr("Datacenter", STR)
    forwarded: bool = attr("Forwarded", BOOL)
    relay_factor: int = attr("RelayFactor", UINT)
    local_only: bool = attr("LocalOnly", BOOL)


class KeyringResponse(Struct):
    """One pool's answer. messages: by node; keys, primary_keys: base64 key -> how many nodes have it (so)."""

    wan: bool = attr("WAN", BOOL)
    datacenter: str = attr("Datacenter", STR)
    segment: str = attr("Segment", STR)
    messages: dict[str, str] | None = attr("Messages", STR_MAP, omitempty=True)
    keys: dict[str, int] | None = attr("Keys", map_of(INT))
    primary_keys: dict[str, int] | None = attr("PrimaryKeys", map_of(INT))
    num_nodes: int = attr("NumNodes", INT)
    error: str = attr("Error", STR, omitempty=True)


class KeyringResponses(QueryMeta):
    responses: list[KeyringResponse] | None = attr("Responses", list_of(struct(lambda: KeyringResponse)))
