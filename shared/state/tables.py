"""Tables of the state store: one named LMDB database each.

Keys are made by `keys`, index numbers and LMDB-side encodings by this module. Rows of records are msgpack of
`Struct.to_row()`; the store is derived data, so a changed layout only needs a new SCHEMA number."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from struct import Struct as Packing
from typing import Any

import lmdb
import msgpack

from shared.state.errors import StateBrokenError, StateFullError
from shared.state.files import reserve

SCHEMA = 2
"""Number of the layout. A store written under another number is not trusted."""

MAX_READERS = 1024
_MAP_BYTES = (1 << 36, 1 << 32, 1 << 30)
"""Sizes of the map tried in turn. The file is sparse: it grows with use, not with this number."""

NAMES = (
    "meta",
    "index",
    "versions",
    "kvs",
    "kvs_by_session",
    "tombstones",
    "lock_delays",
    "nodes",
    "nodes_by_id",
    "services",
    "services_by_name",
    "services_by_connect",
    "services_by_kind",
    "checks",
    "checks_by_service",
    "checks_by_status",
    "checks_by_target",
    "sessions",
    "sessions_by_node",
    "session_checks",
    "coordinates",
    "settings",
    "prepared_queries",
    "prepared_queries_by_name",
    "prepared_queries_by_template",
    "prepared_queries_by_session",
    "config_entries",
    "config_entries_by_link",
    "opaque",
)


class Tables:
    """Handles of all named databases of one open environment."""

    __slots__ = NAMES

    meta: Any
    """Trust marker: see store."""
    index: Any
    """Consul's index rows. fold(name) -> u64 + spelled name."""
    versions: Any
    """Version rows: see topics. row name -> u64."""
    kvs: Any
    """kv_key(key) -> see kv_row."""
    kvs_by_session: Any
    """session key + hash of the table key -> table key of a held key."""
    tombstones: Any
    """kv_key(key) -> u64 index (+ key if it was cut)."""
    lock_delays: Any
    """kv_key(key) -> u64 CLOCK_MONOTONIC ns when the delay ends. Local to this host, not replicated."""
    nodes: Any
    """fold(node) -> Node."""
    nodes_by_id: Any
    """lower-case id -> fold(node)."""
    services: Any
    """pair(node, id) -> [node, NodeService]."""
    services_by_name: Any
    """fold(service) + pair -> nothing."""
    services_by_connect: Any
    """fold(service a proxy or native instance stands for) + pair -> nothing."""
    services_by_kind: Any
    """exact(kind) + pair -> nothing."""
    checks: Any
    """pair(node, check id) -> HealthCheck."""
    checks_by_service: Any
    """fold(service name) + pair -> nothing."""
    checks_by_status: Any
    """exact(status) + pair -> nothing."""
    checks_by_target: Any
    """pair(node, service id or "") + fold(check id) -> pair."""
    sessions: Any
    """hex digits of the id -> Session."""
    sessions_by_node: Any
    """fold(node) + session key -> nothing."""
    session_checks: Any
    """pair(node, check id) + session key -> nothing."""
    coordinates: Any
    """pair(node, segment) -> Coordinate."""
    settings: Any
    """b"autopilot" -> AutopilotConfig."""
    prepared_queries: Any
    """hex digits of the id -> PreparedQuery."""
    prepared_queries_by_name: Any
    """fold(name) -> hex digits of the id."""
    prepared_queries_by_template: Any
    """see template_key: lower-case name prefix of a template -> hex digits of the id."""
    prepared_queries_by_session: Any
    """session key + hex digits of the id -> nothing."""
    config_entries: Any
    """exact(kind) + fold(name) -> [kind, row of that kind's entry]."""
    config_entries_by_link: Any
    """exact(service an entry leads to) + key of the entry -> nothing."""
    opaque: Any
    """type byte + family's own key -> msgpack as in a snapshot record."""

    def __init__(self, env: Any, create: bool) -> None:
        # One transaction of its own per handle: py-lmdb forgets handles that were opened in a caller's read
        # transaction as soon as that ends.
        for name in NAMES:
            setattr(self, name, env.open_db(name.encode(), create=create))


_U64 = Packing(">Q")
pack_u64 = _U64.pack


def unpack_u64(raw: bytes) -> int:
    return int.from_bytes(raw[:8], "big")


_row_packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")
pack_row: Callable[[Any], bytes] = _row_packer.pack


def unpack_row(raw: bytes) -> Any:
    return msgpack.unpackb(raw, raw=False, unicode_errors="surrogateescape", strict_map_key=False)


_LOCK_BYTES = 128 << 10
"""Size of the reader table's file: room for some two thousand views at the same time."""


def open_environment(directory: str, write: bool) -> Any:
    """An LMDB environment. Written without fsync: see store for what that means after a crash.

    Raises StateBrokenError if the files are not LMDB's, StateFullError, lmdb.Error for other trouble (no such
    directory)."""
    if write:
        os.close(reserve(os.path.join(directory, "lock.mdb"), _LOCK_BYTES))
    failure: Exception | None = None
    for size in _MAP_BYTES:
        try:
            return lmdb.open(
                directory,
                map_size=size,
                max_dbs=len(NAMES),
                max_readers=MAX_READERS,
                readonly=not write,
                create=write,
                sync=False,
                metasync=False,
                writemap=False,
                readahead=False,
                meminit=False,
                mode=0o600,
            )
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError) as error:
            raise StateBrokenError(directory, str(error)) from error
        except (lmdb.MemoryError, MemoryError) as error:
            failure = error
    raise StateBrokenError(directory, f"no address space for the map: {failure}")


_LITTLE_SPACE_BYTES = 64 << 20


def as_state_error(directory: str, error: Exception) -> Exception:
    """The typed error for an LMDB failure during a write."""
    text = str(error)
    if isinstance(error, lmdb.MapFullError):
        return StateFullError(directory, "the map has no free page")
    if os.strerror(errno.ENOSPC) in text or os.strerror(errno.EDQUOT) in text:
        return StateFullError(directory, os.strerror(errno.ENOSPC))
    if os.strerror(errno.EIO) in text and _free_bytes(directory) < _LITTLE_SPACE_BYTES:
        # LMDB says "input/output error" when the disk took only a part of what it wrote.
        return StateFullError(directory, os.strerror(errno.ENOSPC))
    return StateBrokenError(directory, text)


def _free_bytes(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
