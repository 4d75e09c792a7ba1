"""Txn (message type 8): operations on keys, nodes, services, checks and sessions that succeed or fail as one.

All operations run even after one has failed, so that the caller learns of every error; any error undoes all
of them (the caller rolls back). Reading operations see what the ones before them wrote."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress

from services.raft_node.fsm import checks, kv, nodes, services, sessions
from services.raft_node.fsm.errors import CommandError
from shared.gotext.quoting import quote
from shared.state.keys import text_bytes
from shared.state.queries import txn as reads
from shared.state.queries.txn import OperationError
from shared.state.records import find_check, find_node, find_service
from shared.state.transaction import WriteTransaction
from shared.structs import kv as ops
from shared.structs import wire
from shared.structs.txn import (
    TxnCheckOp,
    TxnError,
    TxnKVOp,
    TxnNodeOp,
    TxnOp,
    TxnRequest,
    TxnResponse,
    TxnResult,
    TxnServiceOp,
    TxnSessionOp,
)


def apply(tx: WriteTransaction, index: int, data: bytes, now_ns: int) -> TxnResponse:
    """Applies one TxnRequest. If the response has errors the caller must roll back."""
    request = TxnRequest.from_wire(wire.unpack(data))
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    for at, operation in enumerate(request.ops or ()):
        try:
            results += _dispatch(tx, index, operation, now_ns)
        except (CommandError, OperationError) as error:
            errors.append(TxnError(at, str(error)))
    if errors:
        return TxnResponse(None, errors)
    return TxnResponse(results, None)


def _dispatch(tx: WriteTransaction, index: int, operation: TxnOp, now_ns: int) -> list[TxnResult]:
    if operation.kv is not None:
        return _kv(tx, index, operation.kv)
    if operation.intention is not None:
        raise CommandError("intention operations are not supported in a transaction")
    if operation.node is not None:
        return _node(tx, index, operation.node, now_ns)
    if operation.service is not None:
        return _service(tx, index, operation.service, now_ns)
    if operation.check is not None:
        return _check(tx, index, operation.check, now_ns)
    if operation.session is not None:
        _session(tx, index, operation.session)
        return []
    raise CommandError("no operation specified")


def _kv(tx: WriteTransaction, index: int, operation: TxnKVOp) -> list[TxnResult]:
    """A KV operation. Results of writes have no value."""
    verb, entry = operation.verb, operation.dir_ent
    key, shown = text_bytes(entry.key), quote(entry.key)
    if verb in reads.KV_VERBS:
        return reads.kv(tx, operation)
    if verb == ops.SET:
        kv.put(tx, index, key, entry.lock_index, entry.flags, entry.value)
    elif verb == ops.CAS:
        if not kv.put_cas(tx, index, key, entry.lock_index, entry.flags, entry.value, entry.modify_index):
            raise CommandError(f"failed to set key {shown}, index is stale")
    elif verb == ops.LOCK:
        if not kv.lock(tx, index, key, entry.flags, entry.value, entry.session):
            raise CommandError(f"failed to lock key {shown}, lock is already held")
    elif verb == ops.UNLOCK:
        if not kv.unlock(tx, index, key, entry.flags, entry.value, entry.session):
            raise CommandError(f"failed to unlock key {shown}, lock isn't held, or is held by another session")
    elif verb == ops.DELETE:
        kv.delete(tx, index, key)
        return []
    elif verb == ops.DELETE_CAS:
        if not kv.delete_cas(tx, index, key, entry.modify_index):
            raise CommandError(f"failed to delete key {shown}, index is stale")
        return []
    elif verb == ops.DELETE_TREE:
        kv.delete_tree(tx, index, key)
        return []
    else:
        raise CommandError(f"unknown KV verb {quote(verb)}")
    written = kv.read(tx, key)
    return [] if written is None else [TxnResult(kv=written.replace(value=None))]


def _node(tx: WriteTransaction, index: int, operation: TxnNodeOp, now_ns: int) -> list[TxnResult]:
    verb, node = operation.verb, operation.node
    if verb == "get":
        return reads.node(tx, operation)
    if verb in ("set", "cas"):
        if verb == "cas":
            existing = find_node(tx, node.node)
            if node.modify_index != (existing.modify_index if existing is not None else 0):
                raise CommandError(f"failed to set node {quote(node.node)}, index is stale")
        with _forgiven(verb == "cas"):
            nodes.ensure(tx, index, node, now_ns)
        stored = nodes.lookup_by_id(tx, node.id) if node.id else find_node(tx, node.node)
        return [] if stored is None else [TxnResult(node=stored)]
    if verb == "delete-cas":
        existing = find_node(tx, node.node)
        if existing is None or existing.modify_index != node.modify_index:
            raise CommandError(f"failed to delete node {quote(node.node)}, index is stale")
    elif verb != "delete":
        raise CommandError(f"unknown Node verb {quote(verb)}")
    nodes.delete(tx, index, node.node, now_ns)
    return []


def _forgiven(cas: bool) -> AbstractContextManager[object]:
    """Consul loses the error of a node or check "cas" whose index fits but which cannot be stored (an unknown
    node, a reserved name): the operation yields what is there instead. All servers must agree on that."""
    return suppress(CommandError) if cas else nullcontext()


def _service(tx: WriteTransaction, index: int, operation: TxnServiceOp, now_ns: int) -> list[TxnResult]:
    verb, node, service = operation.verb, operation.node, operation.service
    if verb == "get":
        return reads.service(tx, operation)
    where = f"service {quote(service.id)} on node {quote(node)}"
    existing = find_service(tx, node, service.id)
    if verb in ("set", "cas"):
        if verb == "cas" and service.modify_index != (existing.modify_index if existing is not None else 0):
            raise CommandError(f"failed to set {where}, index is stale")
        services.ensure(tx, index, node, service)
        stored = find_service(tx, node, service.id)
        return [] if stored is None else [TxnResult(service=stored)]
    if verb == "delete-cas":
        if existing is None or existing.modify_index != service.modify_index:
            raise CommandError(f"failed to delete {where}, index is stale")
    elif verb != "delete":
        raise CommandError(f"unknown Service verb {quote(verb)}")
    services.delete(tx, index, node, service.id, now_ns)
    return []


def _check(tx: WriteTransaction, index: int, operation: TxnCheckOp, now_ns: int) -> list[TxnResult]:
    verb, check = operation.verb, operation.check
    if verb == "get":
        return reads.check(tx, operation)
    where = f"check {quote(check.check_id)} on node {quote(check.node)}"
    existing = find_check(tx, check.node, check.check_id)
    if verb in ("set", "cas"):
        if verb == "cas" and check.modify_index != (existing.modify_index if existing is not None else 0):
            raise CommandError(f"failed to set {where}, index is stale")
        with _forgiven(verb == "cas"):
            checks.ensure(tx, index, check, now_ns)
        stored = find_check(tx, check.node, check.check_id)
        return [] if stored is None else [TxnResult(check=stored)]
    if verb == "delete-cas":
        if existing is None or existing.modify_index != check.modify_index:
            raise CommandError(f"failed to delete {where}, index is stale")
    elif verb != "delete":
        raise CommandError(f"unknown Check verb {quote(verb)}")
    checks.delete(tx, index, check.node, check.check_id, now_ns)
    return []


def _session(tx: WriteTransaction, index: int, operation: TxnSessionOp) -> None:
    if operation.verb != "delete":
        raise CommandError(f"failed to delete session: unknown Session verb {quote(operation.verb)}")
    try:
        sessions.remove_row(tx, index, operation.session)
    except CommandError as error:
        raise CommandError(f"failed to delete session: {error}") from None
