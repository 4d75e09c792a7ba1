"""KVS.*: the key/value store."""

from __future__ import annotations

import time
from typing import Any

import trio

from services.rpc_core.core import Core
from services.rpc_core.errors import RpcError
from shared import metrics
from shared.log import get_logger
from shared.state.queries import kv
from shared.structs.kv import DELETE_TREE, LOCK, DirEntry, KVSRequest
from shared.structs.query import KeyListRequest, KeyRequest

_log = get_logger("agent.server.kvs")


async def apply(core: Core, body: Any) -> bool:
    """Any change of one key or tree. The result tells for cas, lock and unlock whether they took effect."""
    args = KVSRequest.from_wire(body)
    await core.router.answer_here("KVS.Apply", args.datacenter)
    started = trio.current_time()
    if not may_apply(core, args.op, args.dir_ent):
        return False
    result = await core.apply(args)
    metrics.sample("consul.kvs.apply", (trio.current_time() - started) * 1000)
    return result if isinstance(result, bool) else False


def may_apply(core: Core, op: str, entry: DirEntry) -> bool:
    """What only the leader can check, before the log. False if a lock-delay stands in the way.

    Raises RpcError for a request that can never succeed."""
    if not entry.key and op != DELETE_TREE:
        raise RpcError("Must provide key")
    return op != LOCK or not lock_delayed(core, entry.key)


def lock_delayed(core: Core, key: str) -> bool:
    """Whether the last holder of `key` was lost too recently. Each leader judges by its own clock."""
    with core.snapshot() as snap:
        until_ns = kv.lock_delay_until(snap, key)
    left_ns = until_ns - time.monotonic_ns()
    if left_ns <= 0:
        return False
    _log.warn("Rejecting lock of key due to lock-delay", key=key, remaining=f"{left_ns / 1e9:.3f}s")
    return True


async def get(core: Core, body: Any) -> dict[str, Any]:
    args = KeyRequest.from_wire(body)
    reply = await core.read("KVS.Get", args.datacenter, args, lambda snap: kv.get(snap, args.key))
    return reply.to_wire("Entries", None if reply.value is None else [reply.value.to_wire()])


async def list_tree(core: Core, body: Any) -> dict[str, Any]:
    """Keys with their values; args.key is the prefix."""
    args = KeyRequest.from_wire(body)
    reply = await core.read("KVS.List", args.datacenter, args, lambda snap: kv.tree(snap, args.key))
    return reply.to_wire("Entries", [entry.to_wire() for entry in reply.value] or None)


async def list_keys(core: Core, body: Any) -> dict[str, Any]:
    args = KeyListRequest.from_wire(body)
    reply = await core.read(
        "KVS.ListKeys", args.datacenter, args, lambda snap: kv.keys(snap, args.prefix, args.separator)
    )
    return reply.to_wire("Keys", reply.value or None)


METHODS = {
    "KVS.Apply": apply,
    "KVS.Get": get,
    "KVS.List": list_tree,
    "KVS.ListKeys": list_keys,
}
