"""FSM commands: the bytes that go into the Raft log, a type byte and Consul's msgpack of the request."""

from __future__ import annotations

from shared.structs.catalog import DeregisterRequest, RegisterRequest
from shared.structs.kv import KVSRequest, TombstoneRequest
from shared.structs.operator import AutopilotSetConfigRequest
from shared.structs.prepared_query import PreparedQueryRequest
from shared.structs.schema import Struct
from shared.structs.session import SessionRequest
from shared.structs.txn import TxnRequest
from shared.structs.wire import pack

REGISTER, DEREGISTER, KVS = b"\x00", b"\x01", b"\x02"
"""Type bytes of what comes encoded to the process that hands it to the log."""
BOOL_OPS = frozenset({"delete-cas", "cas", "lock", "unlock"})
"""Operations on keys whose outcome is in the result; the others succeed or fail."""
CATALOG_METHODS = {REGISTER: "Catalog.Register", DEREGISTER: "Catalog.Deregister"}
SAFE_TO_IGNORE = 0x80
"""Bit of a type byte: a server that does not know the type may skip the entry."""
COORDINATE_BATCH = 6 | SAFE_TO_IGNORE

_TYPES: dict[type[Struct], int] = {
    RegisterRequest: 0,
    DeregisterRequest: 1,
    KVSRequest: 2,
    SessionRequest: 3,
    TombstoneRequest: 5,
    PreparedQueryRequest: 7,
    TxnRequest: 8,
    AutopilotSetConfigRequest: 9,
}


def encode(request: Struct) -> bytes:
    """The command that applies `request`. Raises KeyError for a record that is no command."""
    body: bytes = pack(request.to_wire())
    return bytes((_TYPES[type(request)],)) + body
