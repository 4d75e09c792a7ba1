"""The read-only operations of a transaction, evaluated on one snapshot. Error texts are Consul's."""

from __future__ import annotations

from collections.abc import Iterator

from services.rpc_core.errors import RpcError
from shared.state.queries import kv
from shared.state.records import find_check, find_node, find_node_by_id, find_service
from shared.state.snapshot import Snapshot
from shared.structs.kv import CHECK_INDEX, CHECK_NOT_EXISTS, CHECK_SESSION, GET, GET_TREE, DirEntry
from shared.structs.txn import TxnError, TxnKVOp, TxnNodeOp, TxnOp, TxnResult


def read_all(snap: Snapshot, ops: list[TxnOp]) -> tuple[list[TxnResult] | None, list[TxnError]]:
    """Results of all operations, or None and what went wrong in which of them."""
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    for at, op in enumerate(ops):
        try:
            results.extend(_read_one(snap, op))
        except RpcError as error:
            errors.append(TxnError(op_index=at, what=str(error)))
    return (None if errors else results), errors


def _read_one(snap: Snapshot, op: TxnOp) -> Iterator[TxnResult]:
    if op.kv is not None:
        yield from _kv(snap, op.kv)
    elif op.node is not None:
        yield _node(snap, op.node)
    elif op.service is not None:
        name, service_id = op.service.node, op.service.service.id
        _only_get(op.service.verb, "Service")
        service = find_service(snap, name, service_id)
        if service is None:
            raise RpcError(f'service "{service_id}" on node "{name}" doesn\'t exist')
        yield TxnResult(service=service)
    elif op.check is not None:
        name, check_id = op.check.check.node, op.check.check.check_id
        _only_get(op.check.verb, "Check")
        check = find_check(snap, name, check_id)
        if check is None:
            raise RpcError(f'check "{check_id}" on node "{name}" doesn\'t exist')
        yield TxnResult(check=check)
    else:
        raise RpcError("no operation specified")


def _only_get(verb: str, kind: str) -> None:
    if verb != GET:
        raise RpcError(f'unknown {kind} verb "{verb}"')


def _node(snap: Snapshot, op: TxnNodeOp) -> TxnResult:
    _only_get(op.verb, "Node")
    wanted = op.node
    found = find_node_by_id(snap, wanted.id) if wanted.id else find_node(snap, wanted.node)
    if found is None:
        raise RpcError(f'node "{wanted.node}" doesn\'t exist')
    return TxnResult(node=found)


def _kv(snap: Snapshot, op: TxnKVOp) -> Iterator[TxnResult]:
    verb, wanted = op.verb, op.dir_ent
    if verb == GET_TREE:
        for found in kv.tree(snap, wanted.key).value:
            yield TxnResult(kv=found)
        return
    entry = kv.get(snap, wanted.key).value
    if verb == CHECK_NOT_EXISTS:
        if entry is not None:
            raise RpcError(f'key "{wanted.key}" exists')
        return
    if verb == GET:
        if entry is None:
            raise RpcError(f'key "{wanted.key}" doesn\'t exist')
        yield TxnResult(kv=entry)
        return
    if verb not in (CHECK_SESSION, CHECK_INDEX):
        raise RpcError(f'unknown KV verb "{verb}"')
    yield TxnResult(kv=_checked(verb, wanted, entry).replace(value=None))


def _checked(verb: str, wanted: DirEntry, entry: DirEntry | None) -> DirEntry:
    what = "session" if verb == CHECK_SESSION else "index"
    if entry is None:
        raise RpcError(f'failed to check {what}, key "{wanted.key}" doesn\'t exist')
    if verb == CHECK_SESSION and entry.session != wanted.session:
        raise RpcError(
            f'failed session check for key "{wanted.key}",'
            f' current session "{entry.session}" != "{wanted.session}"'
        )
    if verb == CHECK_INDEX and entry.modify_index != wanted.modify_index:
        raise RpcError(
            f'failed index check for key "{wanted.key}",'
            f" current modify index {entry.modify_index} != {wanted.modify_index}"
        )
    return entry
