"""Families whose records are kept, but not served yet: ACLs, intentions, Connect CA, federation states.

Such records come from a snapshot or log that a real Consul wrote. They are stored as they are, with the
indexes Consul gives them, so that nothing is lost when this server writes a snapshot in turn. What is left
out is the validation Consul does while applying (unknown policies, duplicate names): a command that fails there
is taken here. No endpoint of this version sends such commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from services.raft_node.fsm.errors import CommandError
from shared.state.keys import text_bytes
from shared.state.snapshot import Snapshot
from shared.state.topics import OPAQUE
from shared.state.transaction import WriteTransaction
from shared.structs import wire

Record = dict[str, Any]

INTENTION, CA_ROOT, CA_STATE, CA_CONFIG = 12, 13, 14, 15
TOKEN, POLICY, ROLE, BINDING_RULE, AUTH_METHOD, FEDERATION_STATE = 17, 19, 23, 25, 27, 30
CHUNK = 29

_KEY_FIELD = {
    INTENTION: "ID",
    CA_ROOT: "ID",
    CA_STATE: "ID",
    TOKEN: "SecretID",
    POLICY: "ID",
    ROLE: "ID",
    BINDING_RULE: "ID",
    AUTH_METHOD: "Name",
    FEDERATION_STATE: "Datacenter",
}
_INDEX_ROW = {
    INTENTION: "connect-intentions",
    CA_ROOT: "connect-ca-roots",
    CA_STATE: "connect-ca-builtin",
    TOKEN: "acl-tokens",
    POLICY: "acl-policies",
    ROLE: "acl-roles",
    BINDING_RULE: "acl-binding-rules",
    AUTH_METHOD: "acl-auth-methods",
    FEDERATION_STATE: "federation-states",
}
_SERIAL_ROW = "connect-ca-builtin-serial"


# Rows -----------------------------------------------------------------------------------------------------


def row_key(family: int, record: Record) -> bytes:
    """Table key of a record: family, then what identifies it there."""
    if family == CA_CONFIG:
        return bytes((family,))
    name = str(record.get(_KEY_FIELD[family], ""))
    return bytes((family,)) + text_bytes(name.lower() if family == AUTH_METHOD else name)[:500]


def records(snap: Snapshot, family: int) -> Iterator[Any]:
    """All records of a family, by key, as a snapshot has them."""
    for _key, row in snap.scan(snap.tables.opaque, bytes((family,))):
        yield wire.unpack(row)


def find(snap: Snapshot, key: bytes) -> Record | None:
    row = snap.get(key, None, snap.tables.opaque)
    return None if row is None else dict(wire.unpack(row))


def insert(tx: WriteTransaction, family: int, record: Record) -> None:
    """Writes a record as it is, without index rows."""
    tx.put(row_key(family, record), wire.pack(record), db=tx.tables.opaque)


def _upsert(tx: WriteTransaction, index: int, family: int, record: Record) -> None:
    old = find(tx, row_key(family, record))
    record["CreateIndex"] = old["CreateIndex"] if old else index
    record["ModifyIndex"] = index
    insert(tx, family, record)
    _moved(tx, index, family)


def _delete(tx: WriteTransaction, index: int, family: int, key: bytes) -> None:
    if tx.get(key, None, tx.tables.opaque) is not None:
        tx.delete(key, db=tx.tables.opaque)
        _moved(tx, index, family)


def _moved(tx: WriteTransaction, index: int, family: int) -> None:
    row = _INDEX_ROW.get(family)
    if row is not None:
        tx.set_index(row, index)
    tx.touch(OPAQUE, str(family), index)


# Commands -------------------------------------------------------------------------------------------------


def _set_many(family: int, field: str) -> Callable[[WriteTransaction, int, Any], None]:
    def apply(tx: WriteTransaction, index: int, request: Any) -> None:
        for record in request[field] or ():
            if request.get("CAS") and not _index_fits(tx, family, record):
                continue
            _upsert(tx, index, family, record)

    return apply


def _index_fits(tx: WriteTransaction, family: int, record: Record) -> bool:
    old = find(tx, row_key(family, record))
    return int(record.get("ModifyIndex", 0)) == (old["ModifyIndex"] if old else 0)


def _delete_many(family: int, field: str, match: str) -> Callable[[WriteTransaction, int, Any], None]:
    def apply(tx: WriteTransaction, index: int, request: Any) -> None:
        wanted = set(request[field] or ())
        for record in list(records(tx, family)):
            if record.get(match) in wanted:
                _delete(tx, index, family, row_key(family, record))

    return apply


def _bootstrap(tx: WriteTransaction, index: int, request: Any) -> None:
    done_at = tx.index_row("acl-token-bootstrap")
    if done_at is not None and request.get("ResetIndex") != done_at:
        raise CommandError("ACL bootstrap no longer allowed")
    _upsert(tx, index, TOKEN, request["Token"])
    tx.set_index("acl-token-bootstrap", index)


def _one(family: int, field: str, name: str) -> Callable[[WriteTransaction, int, Any], None]:
    """Commands that carry one record and an operation."""

    def apply(tx: WriteTransaction, index: int, request: Any) -> None:
        operation, record = request["Op"], request[field]
        if operation in ("create", "update"):
            _upsert(tx, index, family, record)
        elif operation == "delete":
            _delete(tx, index, family, row_key(family, record))
        else:
            raise CommandError(f"Invalid {name} operation '{operation}'")

    return apply


def _federation_state(tx: WriteTransaction, index: int, request: Any) -> bool | None:
    state = request["State"]
    if request["Op"] == "upsert":
        if not state.get("PrimaryModifyIndex"):
            state["PrimaryModifyIndex"] = index
        _upsert(tx, index, FEDERATION_STATE, state)
        return True
    if request["Op"] == "delete":
        _delete(tx, index, FEDERATION_STATE, row_key(FEDERATION_STATE, state))
        return None
    raise CommandError(f"invalid federation state operation type: {request['Op']}")


def _connect_ca(tx: WriteTransaction, index: int, request: Any) -> Any:
    operation = request["Op"]
    if operation == "set-config":
        return _set_ca_config(tx, index, request["Config"])
    if operation == "set-roots":
        return _set_ca_roots(tx, index, request)
    if operation == "set-roots-config":
        if not _set_ca_roots(tx, index, request):
            return False
        return _set_ca_config(tx, index + 1, request["Config"])
    if operation == "set-provider-state":
        _upsert(tx, index, CA_STATE, request["ProviderState"])
        return True
    if operation == "delete-provider-state":
        tx.delete(row_key(CA_STATE, request["ProviderState"]), db=tx.tables.opaque)
        tx.touch(OPAQUE, str(CA_STATE), index)
        return True
    if operation == "increment-provider-serial":
        current = tx.index_row(_SERIAL_ROW)
        serial = (tx.index("connect-ca-builtin") if current is None else current) + 1
        tx.set_index(_SERIAL_ROW, serial)
        return serial
    raise CommandError(f"Invalid CA operation '{operation}'")


def _set_ca_config(tx: WriteTransaction, index: int, config: Record) -> bool | None:
    old = find(tx, row_key(CA_CONFIG, config))
    compare = config.get("ModifyIndex", 0)
    if compare and (old is None or old["ModifyIndex"] != compare):
        return False
    if old is not None and not config.get("ClusterID"):
        config["ClusterID"] = old["ClusterID"]
    _upsert(tx, index, CA_CONFIG, config)
    return True if compare else None


def _set_ca_roots(tx: WriteTransaction, index: int, request: Any) -> bool:
    roots = request["Roots"] or []
    if sum(bool(root.get("Active")) for root in roots) != 1:
        raise CommandError("there must be exactly one active CA")
    if tx.index(_INDEX_ROW[CA_ROOT]) != request["Index"]:
        return False
    created = {root["ID"]: root["CreateIndex"] for root in records(tx, CA_ROOT)}
    for key in [row_key(CA_ROOT, root) for root in records(tx, CA_ROOT)]:
        tx.delete(key, db=tx.tables.opaque)
    for root in roots:
        root["CreateIndex"], root["ModifyIndex"] = created.get(root["ID"], index), index
        insert(tx, CA_ROOT, root)
    _moved(tx, index, CA_ROOT)
    return True


def _ca_leaf(_tx: WriteTransaction, index: int, _request: Any) -> int:
    """Consul 1.8 never commits this one: it has no effect beyond its answer."""
    return index


def _legacy_acl(_tx: WriteTransaction, _index: int, _request: Any) -> None:
    raise CommandError("legacy ACL operations are not supported: use the new ACL system")


COMMANDS: dict[int, Callable[[WriteTransaction, int, Any], Any]] = {
    4: _legacy_acl,
    11: _bootstrap,
    12: _one(INTENTION, "Intention", "Intention"),
    13: _connect_ca,
    17: _set_many(TOKEN, "Tokens"),
    18: _delete_many(TOKEN, "TokenIDs", "AccessorID"),
    19: _set_many(POLICY, "Policies"),
    20: _delete_many(POLICY, "PolicyIDs", "ID"),
    21: _ca_leaf,
    23: _set_many(ROLE, "Roles"),
    24: _delete_many(ROLE, "RoleIDs", "ID"),
    25: _set_many(BINDING_RULE, "BindingRules"),
    26: _delete_many(BINDING_RULE, "BindingRuleIDs", "ID"),
    27: _set_many(AUTH_METHOD, "AuthMethods"),
    28: _delete_many(AUTH_METHOD, "AuthMethodNames", "Name"),
    30: _federation_state,
}
"""Message type -> how it is applied to the decoded request."""


def apply(tx: WriteTransaction, index: int, message_type: int, data: bytes) -> Any:
    """Applies one command of such a family. Raises CommandError; WireTypeError, KeyError or TypeError for a
    request that is not one. The caller must roll back after any of them."""
    return COMMANDS[message_type](tx, index, wire.unpack(data))
