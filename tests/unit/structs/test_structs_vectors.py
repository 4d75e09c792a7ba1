"""Structs against bytes captured from real Consul 1.8.7 agents: what was decoded re-encodes to the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.structs import wire
from shared.structs.catalog import (
    CheckServiceNode,
    DeregisterRequest,
    HealthCheck,
    Node,
    NodeService,
    NodeServiceList,
    NodeServices,
    RegisterRequest,
    ServiceNode,
)
from shared.structs.coordinate import Coordinate
from shared.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from shared.structs.operator import AutopilotSetConfigRequest
from shared.structs.query import (
    ChecksInStateRequest,
    DCSpecificRequest,
    KeyListRequest,
    KeyRequest,
    NodeSpecificRequest,
    QueryMeta,
    QueryOptions,
    ServiceSpecificRequest,
    SessionSpecificRequest,
)
from shared.structs.schema import Struct
from shared.structs.session import Session, SessionRequest
from shared.structs.txn import TxnRequest, TxnResponse

VECTORS = Path(__file__).resolve().parents[2] / "vectors"

COMMANDS: dict[int, type[Struct]] = {
    0: RegisterRequest,
    1: DeregisterRequest,
    2: KVSRequest,
    3: SessionRequest,
    5: TombstoneRequest,
    8: TxnRequest,
    9: AutopilotSetConfigRequest,
}

REQUESTS: dict[str, type[Struct]] = {
    "Catalog.Deregister": DeregisterRequest,
    "Catalog.ListDatacenters": QueryOptions,
    "Catalog.ListNodes": DCSpecificRequest,
    "Catalog.ListServices": DCSpecificRequest,
    "Catalog.NodeServiceList": NodeSpecificRequest,
    "Catalog.NodeServices": NodeSpecificRequest,
    "Catalog.Register": RegisterRequest,
    "Catalog.ServiceNodes": ServiceSpecificRequest,
    "Health.ChecksInState": ChecksInStateRequest,
    "Health.NodeChecks": NodeSpecificRequest,
    "Health.ServiceChecks": ServiceSpecificRequest,
    "Health.ServiceNodes": ServiceSpecificRequest,
    "KVS.Apply": KVSRequest,
    "KVS.Get": KeyRequest,
    "KVS.List": KeyRequest,
    "KVS.ListKeys": KeyListRequest,
    "Session.Apply": SessionRequest,
    "Session.Get": SessionSpecificRequest,
    "Session.List": SessionSpecificRequest,
    "Session.NodeSessions": NodeSpecificRequest,
    "Session.Renew": SessionSpecificRequest,
    "Txn.Apply": TxnRequest,
}

REPLIES: dict[tuple[str, str], type[Struct]] = {
    ("Catalog.ListNodes", "Nodes"): Node,
    ("Catalog.ServiceNodes", "ServiceNodes"): ServiceNode,
    ("Catalog.NodeServices", "NodeServices"): NodeServices,
    ("Catalog.NodeServiceList", "NodeServices"): NodeServiceList,
    ("Health.ServiceNodes", "Nodes"): CheckServiceNode,
    ("Health.NodeChecks", "HealthChecks"): HealthCheck,
    ("Health.ServiceChecks", "HealthChecks"): HealthCheck,
    ("Health.ChecksInState", "HealthChecks"): HealthCheck,
    ("KVS.Get", "Entries"): DirEntry,
    ("KVS.List", "Entries"): DirEntry,
    ("Session.Get", "Sessions"): Session,
    ("Session.List", "Sessions"): Session,
    ("Session.NodeSessions", "Sessions"): Session,
}


def captured_commands() -> list[Any]:
    messages = json.loads((VECTORS / "fsm" / "raft_log_commands.json").read_text())["messages"]
    return [
        pytest.param(bytes.fromhex(message["data_hex"]), id=name)
        for name, found in messages.items()
        for message in (found if isinstance(found, list) else [found])
    ]


def captured_calls() -> list[Any]:
    calls = []
    for name in ("rpc_catalog_health.json", "rpc_kv_session_txn.json"):
        for at, call in enumerate(json.loads((VECTORS / "rpc" / name).read_text())["calls"]):
            calls.append(pytest.param(call, id=f"{call['method']}-{at}"))
    return calls


@pytest.mark.parametrize("data", captured_commands())
def test_a_captured_command_re_encodes_to_the_same_bytes(data: bytes) -> None:
    value = wire.unpack(data[1:])
    cls = COMMANDS.get(data[0] & 127)
    if cls is None:
        assert wire.pack(value) == data[1:]
        return
    made = cls.from_wire(value)
    assert wire.pack(made.to_wire()) == data[1:]
    assert cls.from_row(made.to_row()) == made


@pytest.mark.parametrize("call", captured_calls())
def test_a_captured_call_re_encodes_to_the_same_bytes(call: dict[str, Any]) -> None:
    method = call["method"]
    request = bytes.fromhex(call["request"]["body_hex"])
    if method in REQUESTS:
        made = REQUESTS[method].from_wire(wire.unpack(request))
        assert wire.pack(made.to_wire()) == request
    reply = bytes.fromhex(call["response"]["body_hex"])
    value = wire.unpack(reply)
    if method == "Txn.Apply":
        value = TxnResponse.from_wire(value).to_wire()
    if isinstance(value, dict):
        value = {field: _through_struct(method, field, found) for field, found in value.items()}
        if "KnownLeader" in value:
            value |= QueryMeta.from_wire(value).to_wire()
    assert wire.pack(value) == reply


def _through_struct(method: str, field: str, value: Any) -> Any:
    cls = REPLIES.get((method, field))
    if cls is None or value is None:
        return value
    if isinstance(value, list):
        return [cls.from_wire(item).to_wire() for item in value]
    return cls.from_wire(value).to_wire()


def test_every_kind_of_reply_is_among_the_captured_ones() -> None:
    methods = {call.values[0]["method"] for call in captured_calls()}
    assert {method for method, _field in REPLIES} <= methods


def test_decoding_ignores_unknown_keys_and_takes_nil_for_zero() -> None:
    service = NodeService.from_wire({"Service": "web", "Nonsense": 1, "Tags": None, "Proxy": None, "Port": None})
    assert service == NodeService(service="web")


def test_bytes_and_text_are_kept_apart_whichever_msgpack_they_come_in() -> None:
    entry = DirEntry(key="k\udcff", value=b"\xff\x00v")
    over_the_wire = wire.unpack(wire.pack(entry.to_wire()))
    assert DirEntry.from_wire(over_the_wire) == entry
    assert DirEntry.from_wire(entry.to_wire()) == entry
    assert DirEntry.from_wire({"Key": "k", "Value": ""}).value is None


def test_coordinates_keep_their_floats() -> None:
    raw = {"Node": "n", "Segment": "", "Coord": {"Vec": [0.5, -1e-9], "Error": 1.5, "Adjustment": 0.0, "Height": 1e-5}}
    assert Coordinate.from_wire(raw).to_wire() == raw
