"""The reading operations of a transaction: what Txn.Read runs on a snapshot, and Txn.Apply between writes."""

from __future__ import annotations

from shared.gotext.quoting import quote
from shared.state.queries import kv as kv_queries
from shared.state.records import find_check, find_node, find_node_by_id, find_service
from shared.state.snapshot import Snapshot
from shared.structs import kv as ops
from shared.structs.txn import (
    TxnCheckOp,
    TxnError,
    TxnKVOp,
    TxnNodeOp,
    TxnOp,
    TxnResponse,
    TxnResult,
    TxnServiceOp,
)
from shared.structs.uuids import uuid_problem

KV_VERBS = frozenset((ops.GET, ops.GET_TREE, ops.CHECK_SESSION, ops.CHECK_INDEX, ops.CHECK_NOT_EXISTS))
"""KV verbs that only read."""


class OperationError(Exception):
    """One operation failed; the text is what the client sees."""


def read(snap: Snapshot, operations: list[TxnOp]) -> TxnResponse:
    """Runs a read-only transaction. Results and errors as the writing kind has them; writing operations fail."""
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    for at, each in enumerate(operations):
        try:
            results += _one(snap, each)
        except OperationError as error:
            errors.append(TxnError(at, str(error)))
    return TxnResponse(None, errors) if errors else TxnResponse(results, None)


def _one(snap: Snapshot, operation: TxnOp) -> list[TxnResult]:
    if operation.kv is not None:
        return kv(snap, operation.kv)
    if operation.node is not None:
        _must_be_get(operation.node.verb, "Node")
        return node(snap, operation.node)
    if operation.service is not None:
        _must_be_get(operation.service.verb, "Service")
        return service(snap, operation.service)
    if operation.check is not None:
        _must_be_get(operation.check.verb, "Check")
        return check(snap, operation.check)
    raise OperationError("no operation specified")


def _must_be_get(verb: str, kind: str) -> None:
    if verb != ops.GET:
        raise OperationError(f"unknown {kind} verb {quote(verb)}")


def kv(snap: Snapshot, operation: TxnKVOp) -> list[TxnResult]:
    """A reading KV operation. Only get and get-tree yield values. Raises OperationError."""
    verb, wanted = operation.verb, operation.dir_ent
    shown = quote(wanted.key)
    if verb == ops.GET_TREE:
        return [TxnResult(kv=entry) for entry in kv_queries.tree(snap, wanted.key).value]
    entry = kv_queries.get(snap, wanted.key).value
    if verb == ops.GET:
        if entry is None:
            raise OperationError(f"key {shown} doesn't exist")
        return [TxnResult(kv=entry)]
    if verb == ops.CHECK_NOT_EXISTS:
        if entry is not None:
            raise OperationError(f"key {shown} exists")
        return []
    if verb == ops.CHECK_SESSION:
        if entry is None:
            raise OperationError(f"failed to check session, key {shown} doesn't exist")
        if entry.session != wanted.session:
            raise OperationError(
                f"failed session check for key {shown}, "
                f"current session {quote(entry.session)} != {quote(wanted.session)}"
            )
    elif verb == ops.CHECK_INDEX:
        if entry is None:
            raise OperationError(f"failed to check index, key {shown} doesn't exist")
        if entry.modify_index != wanted.modify_index:
            raise OperationError(
                f"failed index check for key {shown}, "
                f"current modify index {entry.modify_index} != {wanted.modify_index}"
            )
    else:
        raise OperationError(f"unknown KV verb {quote(verb)}")
    return [TxnResult(kv=entry.replace(value=None))]


def node(snap: Snapshot, operation: TxnNodeOp) -> list[TxnResult]:
    wanted = operation.node
    if wanted.id:
        problem = uuid_problem(wanted.id)
        if problem is not None:
            raise OperationError(f"node lookup by ID failed, wrong UUID: {problem} for '{wanted.id}'")
        found = find_node_by_id(snap, wanted.id)
    else:
        found = find_node(snap, wanted.node)
    if found is None:
        raise OperationError(f"node {quote(wanted.node)} doesn't exist")
    return [TxnResult(node=found)]


def service(snap: Snapshot, operation: TxnServiceOp) -> list[TxnResult]:
    found = find_service(snap, operation.node, operation.service.id)
    if found is None:
        where = f"service {quote(operation.service.id)} on node {quote(operation.node)}"
        raise OperationError(f"{where} doesn't exist")
    return [TxnResult(service=found)]


def check(snap: Snapshot, operation: TxnCheckOp) -> list[TxnResult]:
    wanted = operation.check
    found = find_check(snap, wanted.node, wanted.check_id)
    if found is None:
        where = f"check {quote(wanted.check_id)} on node {quote(wanted.node)}"
        raise OperationError(f"{where} doesn't exist")
    return [TxnResult(check=found)]
