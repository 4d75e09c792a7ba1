"""Txn.*: several operations as one. Writes go through the log; reads are answered from one snapshot."""

from __future__ import annotations

from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.endpoints.kvs import may_apply
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.state.queries.txn import read
from shared.structs.errors import RefusedError
from shared.structs.kv import GET
from shared.structs.query import TxnReadRequest
from shared.structs.registration import check_node, complete_check, complete_service
from shared.structs.txn import TxnError, TxnOp, TxnRequest, TxnResult


async def _apply(core: Core, body: Any) -> dict[str, Any]:
    args = TxnRequest.from_wire(body)
    await core.router.answer_here("Txn.Apply", args.datacenter)
    started = trio.current_time()
    errors = _mistakes(core, args.ops or [])
    if errors:
        return {"Results": None, "Errors": [error.to_wire() for error in errors]}
    result = await core.apply(args)
    metrics.sample("consul.txn.apply", (trio.current_time() - started) * 1000)
    if not isinstance(result, dict):
        raise RpcError(f"unexpected return type {type(result).__name__}")
    return result


async def _read(core: Core, body: Any) -> dict[str, Any]:
    args = TxnReadRequest.from_wire(body)
    await core.router.answer_here("Txn.Read", args.datacenter, stale=args.allow_stale)
    started = trio.current_time()
    if args.require_consistent:
        await core.confirm_leadership()
    ops = [TxnOp.from_wire(op) for op in args.ops or ()]
    meta = core.query_meta(0).to_wire()
    errors = _mistakes(core, ops)
    results: list[TxnResult] | None = None
    if not errors:
        with core.snapshot() as snap:
            answer = read(snap, ops)
        errors = answer.errors or []
        results = None if errors else answer.results or []
        metrics.sample("consul.txn.read", (trio.current_time() - started) * 1000)
    return {
        **meta,
        "Results": None if results is None else [result.to_wire() for result in results],
        "Errors": [error.to_wire() for error in errors] or None,
    }


def _mistakes(core: Core, ops: list[TxnOp]) -> list[TxnError]:
    """What can be refused before the log; gives services and checks their default ids on the way."""
    mistakes = []
    for at, op in enumerate(ops):
        try:
            _check(core, op)
        except (RpcError, RefusedError) as error:
            mistakes.append(TxnError(op_index=at, what=str(error)))
    return mistakes


def _check(core: Core, op: TxnOp) -> None:
    if op.kv is not None:
        entry = op.kv.dir_ent
        if not may_apply(core, op.kv.verb, entry):
            raise RpcError(f'failed to lock key "{entry.key}" due to lock delay')
    elif op.node is not None and op.node.verb != GET:
        check_node(op.node.node.node, op.node.node.id)
    elif op.service is not None and op.service.verb != GET:
        complete_service(op.service.service)
    elif op.check is not None and op.check.verb != GET:
        complete_check(op.check.check)


METHODS = {"Txn.Apply": _apply, "Txn.Read": _read}
