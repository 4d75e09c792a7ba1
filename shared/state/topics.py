"""Topics: what a change touched and what a query depends on, as (table, key) pairs.

A change record is [index, [[table, key], ...]]; raft_node publishes one per applied batch. A query's watch
is a tuple of such pairs; an empty key stands for the whole table. Names are lower-case in topics, KV keys are
exact (str with surrogateescape).

The same change that names a topic also moves the version rows which stand for that topic, in the same LMDB
transaction: `versions` reads them. So a cached answer whose versions are unchanged is the current answer,
whatever the (asynchronous) feed of change records has or has not delivered yet."""

from __future__ import annotations

from typing import Final

Topic = tuple[str, str]
Watch = tuple[Topic, ...]

ALL: Final = ""
"""The key that stands for a whole table."""

KEY: Final = "kv"
"""A key was set or deleted. Watched by key."""
TREE: Final = "kv-tree"
"""Everything under a prefix was deleted (only in change records)."""
PREFIX: Final = "kv-prefix"
"""Keys under a prefix (only in watches); moved by KEY and TREE."""
NODE: Final = "node"
"""A node's own row. Key: node name."""
NODE_SERVICES: Final = "node-services"
"""A service on a node. Key: node name."""
SERVICE: Final = "service"
"""Anything that shows in a service's instances: service, node or check. Key: service name."""
CONNECT: Final = "connect"
"""A proxy or native instance that stands for a service. Key: the service it stands for."""
NODE_CHECKS: Final = "node-checks"
"""A check on a node. Key: node name."""
SERVICE_CHECKS: Final = "service-checks"
"""A check of a service. Key: service name."""
STATE_CHECKS: Final = "state-checks"
"""A check in a state, or one that left it. Key: status (exact)."""
SESSION: Final = "session"
"""Key: session id."""
NODE_SESSIONS: Final = "node-sessions"
"""Key: node name."""
COORDINATE: Final = "coordinate"
"""Key: node name."""
AUTOPILOT: Final = "autopilot"
PREPARED_QUERY: Final = "prepared-query"
"""Key: query id, lower-case."""
CONFIG_ENTRY: Final = "config-entry"
"""Key: kind and lower-case name with a slash between."""
OPAQUE: Final = "opaque"
"""A record of a family that is stored but not served. Key: the family's name."""
RESTORE: Final = "restore"
"""The whole state was replaced: everything is touched."""

# Version rows. A topic's table says which of them move with it.
V_KVS, V_NODES, V_SERVICES, V_CHECKS = b"kvs", b"nodes", b"services", b"checks"
V_SESSIONS, V_COORDINATES, V_AUTOPILOT, V_OPAQUE = b"sessions", b"coordinates", b"autopilot", b"opaque"
V_PREPARED_QUERIES, V_CONFIG_ENTRIES = b"prepared-queries", b"config-entries"

VERSION_OF: Final[dict[str, bytes]] = {
    KEY: V_KVS,
    TREE: V_KVS,
    NODE: V_NODES,
    NODE_SERVICES: V_SERVICES,
    SERVICE: V_SERVICES,
    CONNECT: V_SERVICES,
    NODE_CHECKS: V_CHECKS,
    SERVICE_CHECKS: V_CHECKS,
    STATE_CHECKS: V_CHECKS,
    SESSION: V_SESSIONS,
    NODE_SESSIONS: V_SESSIONS,
    COORDINATE: V_COORDINATES,
    AUTOPILOT: V_AUTOPILOT,
    PREPARED_QUERY: V_PREPARED_QUERIES,
    CONFIG_ENTRY: V_CONFIG_ENTRIES,
    OPAQUE: V_OPAQUE,
}
"""The version row that moves when a change touches a topic of this table."""

VERSION_OF_INDEX: Final[dict[str, bytes]] = {
    "kvs": V_KVS,
    "tombstones": V_KVS,
    "nodes": V_NODES,
    "services": V_SERVICES,
    "service_last_extinction": V_SERVICES,
    "checks": V_CHECKS,
    "sessions": V_SESSIONS,
    "coordinates": V_COORDINATES,
    "prepared-queries": V_PREPARED_QUERIES,
    "config-entries": V_CONFIG_ENTRIES,
}
"""The version row that moves with one of Consul's index rows."""

CATALOG_VERSIONS: Final = (V_NODES, V_SERVICES, V_CHECKS)

READS: Final[dict[str, tuple[bytes, ...]]] = {
    PREFIX: (V_KVS,),
    NODE: (V_NODES,),
    NODE_SERVICES: (V_NODES, V_SERVICES),
    SERVICE: CATALOG_VERSIONS,
    CONNECT: CATALOG_VERSIONS,
    NODE_CHECKS: (V_CHECKS,),
    SERVICE_CHECKS: (V_CHECKS,),
    STATE_CHECKS: (V_CHECKS,),
    SESSION: (V_SESSIONS,),
    NODE_SESSIONS: (V_SESSIONS,),
    COORDINATE: (V_COORDINATES,),
    AUTOPILOT: (V_AUTOPILOT,),
    PREPARED_QUERY: (V_PREPARED_QUERIES,),
    CONFIG_ENTRY: (V_CONFIG_ENTRIES,),
    OPAQUE: (V_OPAQUE,),
}
"""The version rows that cover a watched topic. They include the table indexes a query reports, because the
index is part of the answer. KEY and a SERVICE by name have finer rules in `Snapshot.versions`."""


SERVICE_VERSIONS: Final = b"service\0"
"""What the version rows of single services begin with."""


def service_version(folded_name: bytes) -> bytes:
    """The version row of one service that has instances."""
    return SERVICE_VERSIONS + folded_name
