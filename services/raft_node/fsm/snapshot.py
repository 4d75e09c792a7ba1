"""The FSM's snapshot stream, in Consul's own encoding: what state.bin and InstallSnapshot carry.

A header map {LastIndex}, then records of a type byte and one msgpack value, in Consul's order of tables. A
restore takes the records in any order and refuses types it does not know."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

import lmdb

from services.raft_node.fsm import (
    chunks,
    config_entries,
    families,
    nodes,
    prepared_queries,
    services,
    sessions,
    settings,
)
from services.raft_node.fsm.checks import insert as insert_check
from services.raft_node.fsm.errors import SnapshotError
from services.raft_node.fsm.kv import held_key
from services.raft_node.fsm.service_indexes import kind_index
from shared.state.keys import MAX_KV_BYTES, bytes_text, fold, kv_key, text_bytes
from shared.state.kvrow import entry_of, row_of
from shared.state.queries.operator import autopilot_config
from shared.state.rebuilding import NewGeneration
from shared.state.records import checks_on, find_check, read_node, services_on
from shared.state.snapshot import Snapshot
from shared.state.store import StateStore
from shared.state.tables import pack_u64, unpack_row, unpack_u64
from shared.state.transaction import WriteTransaction
from shared.structs import wire
from shared.structs.catalog import Node, RegisterRequest
from shared.structs.coordinate import Coordinate
from shared.structs.errors import WireTypeError
from shared.structs.kv import DirEntry
from shared.structs.operator import AutopilotConfig
from shared.structs.prepared_query import PreparedQuery
from shared.structs.session import Session

REGISTER, KEY, SESSION, LEGACY_ACL, TOMBSTONE, COORDINATES, AUTOPILOT = 0, 2, 3, 4, 5, 6, 9
LEGACY_BOOTSTRAP, INDEX, CHUNKS = 11, 16, 29
PREPARED_QUERY, CONFIG_ENTRY = 7, 22

_ACL_FAMILIES = (families.TOKEN, families.POLICY, families.ROLE, families.BINDING_RULE, families.AUTH_METHOD)
_LATE_FAMILIES = (families.INTENTION, families.CA_ROOT, families.CA_STATE, families.CA_CONFIG)
_PLAIN_FAMILIES = frozenset((*_ACL_FAMILIES, *_LATE_FAMILIES))

_TABLE_INDEXES = (
    "nodes",
    "services",
    "checks",
    "coordinates",
    "kvs",
    "tombstones",
    "sessions",
    "prepared-queries",
    "acl-tokens",
    "acl-policies",
    "acl-roles",
    "acl-binding-rules",
    "acl-auth-methods",
    "config-entries",
    "federation-states",
    "connect-intentions",
    "connect-ca-roots",
    "connect-ca-builtin",
    "gateway-services",
)
"""Index rows named like tables: the highest of them is the stream's LastIndex."""

_PIECE_BYTES = 1 << 16
_TRANSACTION_BYTES = 4 << 20
"""So much of a stream goes into one transaction: its pages are held in memory until it commits."""

_MALFORMED = (
    WireTypeError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    struct.error,
    lmdb.BadValsizeError,
)
"""What a value that is no record, or not the record its type says, makes the functions below raise."""


def write(snap: Snapshot) -> Iterator[bytes]:
    """The stream of a snapshot in pieces of some 64 KiB. `snap` must stay open until the end."""
    gathered: list[bytes] = [wire.pack({"LastIndex": snap.index(*_TABLE_INDEXES)})]
    size = 0
    for record_type, value in _records(snap):
        packed = wire.pack(value)
        gathered += (bytes((record_type,)), packed)
        size += len(packed) + 1
        if size >= _PIECE_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _records(snap: Snapshot) -> Iterator[tuple[int, Any]]:
    """(type, value) of all records in Consul's order."""
    tables = snap.tables
    for _key, row in snap.scan(tables.nodes):
        for request in _registrations(snap, read_node(row)):
            yield REGISTER, request.to_wire()
    for _key, row in snap.scan(tables.coordinates):
        yield COORDINATES, [Coordinate.from_row(unpack_row(row)).to_wire()]
    for _key, row in snap.scan(tables.sessions):
        yield SESSION, Session.from_row(unpack_row(row)).to_wire()
    for family in _ACL_FAMILIES:
        yield from _family(snap, family)
    for key, row in snap.scan(tables.kvs):
        yield KEY, entry_of(key, row).to_wire()
    for key, row in snap.scan(tables.tombstones):
        full_key = bytes_text(row[8:] if len(key) > MAX_KV_BYTES else key)
        yield TOMBSTONE, DirEntry(key=full_key, modify_index=unpack_u64(row)).to_wire()
    for query in prepared_queries.records(snap):
        yield PREPARED_QUERY, query
    autopilot = autopilot_config(snap).value
    if autopilot is not None:
        yield AUTOPILOT, autopilot.to_wire()
    for family in _LATE_FAMILIES:
        yield from _family(snap, family)
    for raw in config_entries.records(snap):
        yield CONFIG_ENTRY, raw
    for record in families.records(snap, families.FEDERATION_STATE):
        yield families.FEDERATION_STATE, {"Datacenter": "", "Op": "upsert", "State": record, "Token": ""}
    for name, index in snap.index_rows():
        yield INDEX, {"Key": name, "Value": index}
    yield CHUNKS, {"ChunkMap": chunks.dump(snap)}


def _registrations(snap: Snapshot, node: Node) -> Iterator[RegisterRequest]:
    """A node, then each of its services, then each of its checks, as registrations."""
    request = RegisterRequest(
        datacenter=node.datacenter,
        id=node.id,
        node=node.node,
        address=node.address,
        tagged_addresses=node.tagged_addresses,
        node_meta=node.meta,
        create_index=node.create_index,
        modify_index=node.modify_index,
    )
    yield request
    for service in services_on(snap, node.node):
        yield request.replace(service=service)
    for check in checks_on(snap, node.node):
        yield request.replace(check=check)


def _family(snap: Snapshot, family: int) -> Iterator[tuple[int, Any]]:
    for record in families.records(snap, family):
        yield family, record


def restore(store: StateStore, pieces: Iterable[bytes], index: int, term: int) -> None:
    """Replaces the whole state by a snapshot stream taken at a log index and term.

    Readers see the old state until the new one is complete. Raises SnapshotError (nothing has changed then),
    StateFullError, StateBrokenError."""
    new = store.begin()
    try:
        fill(new, pieces)
        adopt(store, new, index, term)
    except BaseException:
        store.discard(new)
        raise


def fill(new: NewGeneration, pieces: Iterable[bytes]) -> None:
    """Writes a snapshot stream into an empty state, a few megabytes at a time. May run in a thread of its own.

    Raises SnapshotError, StateFullError, StateBrokenError; `new` is to be discarded then."""
    counted = _Counted(pieces)
    stream = wire.WireStream(counted)
    last_index, record_type = 0, None
    first = True
    while first or record_type is not None:
        with new.write() as tx:
            try:
                if first:
                    last_index, first = int(stream.value()["LastIndex"]), False
                counted.taken = 0
                while (record_type := stream.byte()) is not None:
                    _restore_record(tx, record_type, stream.value(), last_index)
                    if counted.taken >= _TRANSACTION_BYTES:
                        break
            except _MALFORMED as error:
                raise SnapshotError(f"malformed snapshot: {error}") from error


def adopt(store: StateStore, new: NewGeneration, index: int, term: int) -> None:
    """`new`, which is filled, becomes the state, as that of a log index and term."""
    with new.write() as tx:
        tx.set_applied(index, term)
    store.adopt(new)


class _Counted:
    """Pieces of a stream, with a count of the bytes that went by."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.taken += len(piece)
            yield piece


def _restore_record(tx: WriteTransaction, record_type: int, value: Any, last_index: int) -> None:
    if record_type == KEY:
        _restore_key(tx, DirEntry.from_wire(value))
    elif record_type == REGISTER:
        _restore_registration(tx, RegisterRequest.from_wire(value), last_index)
    elif record_type == INDEX:
        tx.set_index(value["Key"], value["Value"])
    elif record_type == TOMBSTONE:
        _restore_tombstone(tx, DirEntry.from_wire(value))
    elif record_type == SESSION:
        session = Session.from_wire(value)
        sessions.insert(tx, session)
        tx.raise_index("sessions", session.modify_index)
    elif record_type == COORDINATES:
        for item in value or ():
            coordinate = Coordinate.from_wire(item)
            if settings.is_finite(coordinate.coord):
                settings.insert_coordinate(tx, coordinate)
        tx.raise_index("coordinates", last_index)
    elif record_type == AUTOPILOT:
        settings.insert_autopilot(tx, AutopilotConfig.from_wire(value))
    elif record_type == CONFIG_ENTRY:
        config_entries.restore(tx, value)
    elif record_type == PREPARED_QUERY:
        prepared_queries.restore(tx, PreparedQuery.from_wire(value))
    elif record_type == families.FEDERATION_STATE:
        families.insert(tx, families.FEDERATION_STATE, value["State"])
    elif record_type in _PLAIN_FAMILIES:
        families.insert(tx, record_type, value)
    elif record_type == CHUNKS:
        _restore_chunks(tx, value)
    elif record_type == LEGACY_BOOTSTRAP:
        tx.set_index("acl-token-bootstrap", value["ModifyIndex"])
    elif record_type == LEGACY_ACL:
        raise SnapshotError("the snapshot has legacy ACLs: upgrade them in Consul before you migrate")
    else:
        raise SnapshotError(f"Unrecognized msg type {record_type}")


def _restore_registration(tx: WriteTransaction, request: RegisterRequest, last_index: int) -> None:
    """Rows keep their indexes; those of tables are raised to the newest row."""
    if tx.get(fold(request.node), None, tx.tables.nodes) is None:
        created = request.create_index or last_index
        node = Node(
            request.id,
            request.node,
            request.address,
            request.datacenter,
            request.tagged_addresses,
            request.node_meta,
            created,
            request.modify_index or created,
        )
        nodes.insert(tx, node)
        tx.raise_index("nodes", last_index)
    if request.service is not None:
        service = services.as_stored(request.service)
        services.insert(tx, request.node, service, None)
        for row in ("services", f"service.{service.service}", kind_index(service.kind)):
            tx.raise_index(row, service.modify_index)
    for check in (*((request.check,) if request.check is not None else ()), *(request.checks or ())):
        insert_check(tx, check, find_check(tx, check.node, check.check_id))
        tx.raise_index("checks", last_index)


def _restore_key(tx: WriteTransaction, entry: DirEntry) -> None:
    table_key = kv_key(text_bytes(entry.key))
    tx.put(table_key, row_of(entry), db=tx.tables.kvs)
    if entry.session:
        tx.put(held_key(entry.session.encode(), table_key), table_key, db=tx.tables.kvs_by_session)
    tx.raise_index("kvs", entry.modify_index)


def _restore_tombstone(tx: WriteTransaction, entry: DirEntry) -> None:
    key = text_bytes(entry.key)
    table_key = kv_key(key)
    long_key = key if len(table_key) > MAX_KV_BYTES else b""
    tx.put(table_key, pack_u64(entry.modify_index) + long_key, db=tx.tables.tombstones)
    tx.raise_index("tombstones", entry.modify_index)


def _restore_chunks(tx: WriteTransaction, value: Any) -> None:
    for pieces in (value.get("ChunkMap") or {}).values():
        for piece in pieces or ():
            if piece and piece["Data"]:
                data = text_bytes(piece["Data"])
                chunks.insert(tx, piece["OpNum"], piece["SequenceNum"], piece["NumChunks"], piece["Term"], data)
