"""How long commands of each kind take to be applied, under Consul's names: consul.fsm.kvs{op="set"} and the like.

Commands are applied in batches, so each gets an equal share of its batch's time. Of large batches only some are looked
at, each in place of its neighbours: a batch costs the same however large it is."""

from __future__ import annotations

from collections.abc import Sequence

from services.raft_node.core.types import Entry
from shared import metrics

LOOKED_AT_MAX = 16
"""Commands of one batch."""

_NAMES = {
    0: "consul.fsm.register", 1: "consul.fsm.deregister", 2: "consul.fsm.kvs", 3: "consul.fsm.session",
    5: "consul.fsm.tombstone", 6: "consul.fsm.coordinate.batch-update", 7: "consul.fsm.prepared-query",
    8: "consul.fsm.txn", 9: "consul.fsm.autopilot", 12: "consul.fsm.ca",
}  # fmt: skip
_WITH_OP = frozenset((2, 3, 5, 7, 12))
_KVS = 2
_IGNORABLE = 0x80
_OP_KEY = b"\xa2Op"  # as msgpack has it, the text comes next
_FIXSTR, _FIXSTR_MASK, _LENGTH_MASK = 0xA0, 0xE0, 0x1F
_OPS = frozenset(
    (
        "set", "delete", "delete-cas", "delete-tree", "cas", "lock", "unlock", "get", "get-tree", "create", "update",
        "destroy", "reap", "set-config", "set-roots", "set-provider-state", "delete-provider-state",
        "set-roots-config", "increment-provider-serial",
    )
)  # fmt: skip


def applied(entries: Sequence[Entry], seconds: float) -> None:
    """A batch was applied in so many seconds."""
    share_ms = seconds * 1000 / len(entries)
    stride = -(-len(entries) // LOOKED_AT_MAX)
    counts: dict[tuple[str, str], int] = {}
    for at in range(0, len(entries), stride):
        entry = entries[at]
        if not entry.data or entry.extensions:
            continue
        kind = entry.data[0] & ~_IGNORABLE
        name = _NAMES.get(kind)
        if name is not None:
            key = (name, operation(entry.data, kind) if kind in _WITH_OP else "")
            counts[key] = counts.get(key, 0) + min(stride, len(entries) - at)
    for (name, op), times in counts.items():
        metrics.sample(name, share_ms, (("op", op),) if op else (), times)


def operation(data: bytes, kind: int) -> str:
    """What a command says it does, "" if that is not found where Consul writes it or is none of Consul's words.

    Maps are written in the order of their keys: in a KVS command the operation comes after the user's value, in the
    others before anything of a user's."""
    found = data.rfind(_OP_KEY) if kind == _KVS else data.find(_OP_KEY)
    at = found + len(_OP_KEY)
    if found < 0 or at >= len(data) or data[at] & _FIXSTR_MASK != _FIXSTR:
        return ""
    text = data[at + 1 : at + 1 + (data[at] & _LENGTH_MASK)].decode("ascii", "replace")
    return text if text in _OPS else ""
