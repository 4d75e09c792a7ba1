"""RPC calls nobody well-meaning would make: every field of a request by chance, some of a wrong kind, some extreme."""

from __future__ import annotations

import random
from typing import Any

from shared.structs.catalog import DeregisterRequest, RegisterRequest
from shared.structs.coordinate import CoordinateUpdateRequest
from shared.structs.gotime import ZERO_TIME
from shared.structs.kv import KVSRequest
from shared.structs.operator import AutopilotSetConfigRequest
from shared.structs.schema import Attr, Kind, Struct
from shared.structs.session import SessionRequest
from shared.structs.txn import TxnRequest

WRITES: dict[str, type[Struct]] = {
    "KVS.Apply": KVSRequest,
    "Catalog.Register": RegisterRequest,
    "Catalog.Deregister": DeregisterRequest,
    "Session.Apply": SessionRequest,
    "Txn.Apply": TxnRequest,
    "Txn.Read": TxnRequest,
    "Coordinate.Update": CoordinateUpdateRequest,
    "Operator.AutopilotSetConfiguration": AutopilotSetConfigRequest,
}
_WORDS = {
    "Datacenter": ["dc1"] * 30 + ["", "dc9"],
    "Op": ["set", "delete", "cas", "delete-cas", "delete-tree", "lock", "unlock", "create", "destroy", "odd"],
    "Verb": ["set", "get", "get-tree", "cas", "delete", "delete-cas", "lock", "unlock", "check-index", "odd"],
    "Address": ["10.9.9.9", "10.9.9.8", "", "not an address"],
    "ID": ["", "deadbeef-0000-0000-0000-000000000001", "short", "ü"],
    "Session": ["", "deadbeef-0000-0000-0000-000000000001"],
    "Status": ["passing", "critical", "warning", "", "odd"],
    "Behavior": ["", "release", "delete", "odd"],
    "TTL": ["", "15s", "1ns", "1000000h", "odd"],
    "Kind": ["", "connect-proxy", "mesh-gateway", "odd"],
}
_TEXTS = ["", "a", "b", "odd/key", "x" * 600, "\udcff\udc80", "ü☃", "a\0b", "../..", "*", "serfHealth", "consul"]
_UNSIGNED = [0, 1, 2, 7, 2**31, 2**63 - 1, 2**63, 2**64 - 1]
_SIGNED = [0, 1, -1, 2**31, 2**63 - 1, -(2**63)]
_STRANGERS: list[Any] = [None, True, -1, 2**64 - 1, 1.5, float("nan"), "text", b"\xff\xfe", [], [1], {}, {"a": 1}, [[]]]


def odd_call(rng: random.Random) -> tuple[str, Any]:
    """(method, body)"""
    method = rng.choice(list(WRITES))
    return method, _struct(WRITES[method], rng, 0)


def _struct(cls: type[Struct], rng: random.Random, depth: int) -> Any:
    body = {}
    for declared in cls.attrs:
        # Recursion ends: deeper structs have fewer fields.
        if declared.wire and rng.random() < (0.9 if depth < 2 else 0.6):
            body[declared.wire] = _field(declared, rng, depth)
    if rng.random() < 0.02:
        body[rng.choice(_TEXTS)] = rng.choice(_STRANGERS)
    return body


def _field(declared: Attr, rng: random.Random, depth: int) -> Any:
    if rng.random() < 0.004:
        return rng.choice(_STRANGERS)
    if declared.kind.name == "str" and declared.wire in _WORDS and rng.random() < 0.97:
        return rng.choice(_WORDS[declared.wire])
    if declared.kind.name == "opt" and rng.random() < 0.6:
        return None
    return _value(declared.kind, rng, depth)


def _value(kind: Kind, rng: random.Random, depth: int) -> Any:
    name = kind.name
    if name == "str":
        return rng.choice(_TEXTS)
    if name == "uint":
        return rng.choice(_UNSIGNED)
    if name in ("int", "duration", "duration_any", "duration_text"):
        return rng.choice(_SIGNED)
    if name == "bool":
        return rng.random() < 0.5
    if name == "float":
        return rng.choice([0.0, -1.5, float("inf"), float("nan"), 1e300])
    if name == "bytes":
        return rng.choice([None, b"", b"value", bytes(5000)])
    if name == "time":
        return rng.choice([None, ZERO_TIME, b"odd"])
    if name == "any":
        return rng.choice(_STRANGERS)
    if name == "list":
        assert kind.inner is not None
        return [_value(kind.inner, rng, depth + 1) for _ in range(rng.randrange(3))]
    if name == "map":
        assert kind.inner is not None
        return {rng.choice(_TEXTS): _value(kind.inner, rng, depth + 1) for _ in range(rng.randrange(3))}
    assert kind.target is not None
    return _struct(kind.target(), rng, depth + 1)
