"""Key/value records and requests."""

from __future__ import annotations

from shared.structs.schema import BYTES, STR, UINT, Struct, attr, struct

SET, DELETE, DELETE_CAS, DELETE_TREE = "set", "delete", "delete-cas", "delete-tree"
CAS, LOCK, UNLOCK = "cas", "lock", "unlock"
GET, GET_TREE = "get", "get-tree"
CHECK_SESSION, CHECK_INDEX, CHECK_NOT_EXISTS = "check-session", "check-index", "check-not-exists"


class DirEntry(Struct):
    """A key and its value. An empty value is nil."""

    lock_index: int = attr("LockIndex", UINT)
    key: str = attr("Key", STR)
    flags: int = attr("Flags", UINT)
    value: bytes | None = attr("Value", BYTES)
    session: str = attr("Session", STR, omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class KVSRequest(Struct):
    """KVS.Apply and FSM message 2."""

    datacenter: str = attr("Datacenter", STR)
    op: str = attr("Op", STR)
    dir_ent: DirEntry = attr("DirEnt", struct(lambda: DirEntry))
    token: str = attr("Token", STR)


class TombstoneRequest(Struct):
    """FSM message 5: op "reap" drops the tombstones up to and including reap_index."""

    datacenter: str = attr("Datacenter", STR)
    op: str = attr("Op", STR)
    reap_index: int = attr("ReapIndex", UINT)
    token: str = attr("Token", STR)
