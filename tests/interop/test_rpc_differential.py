"""The same RPCs, byte for byte, to the real Consul 1.8.7 and to ours: both have to answer the same.

Indexes are compared by their order: the real one's log holds entries (Connect CA, federation, coordinates) that
ours does not write. Ids that servers make up are compared by their place only."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "rpc"))
from rpc_neighbours import Rig, fresh_address, running

from shared.wire import rpc

pytestmark = pytest.mark.real_consul
DC = {"Datacenter": "dc1"}
SERVER_PORT = 8300
NODE = {**DC, "Node": "web1", "Address": "10.1.1.1"}
SERVICE = {"ID": "web-1", "Service": "Web", "Tags": ["a", "B"], "Port": 80, "Meta": {"k": "v"}}
CHECK = {"Name": "alive", "Status": "passing", "ServiceID": "web-1", "Output": "ok", "Definition": {"TTL": 5}}
PROXY = {
    "Kind": "connect-proxy", "Service": "web-proxy", "Port": 9, "Proxy": {"DestinationServiceName": "Web"},
}  # fmt: skip


def kv(op: str, key: str, value: bytes | None = None, **entry: Any) -> tuple[str, dict[str, Any]]:
    return "KVS.Apply", {**DC, "Op": op, "DirEnt": {"Key": key, "Value": value, **entry}}


def txn(*ops: dict[str, Any]) -> dict[str, Any]:
    return {**DC, "Ops": list(ops)}


def kv_op(verb: str, key: str, **entry: Any) -> dict[str, Any]:
    return {"KV": {"Verb": verb, "DirEnt": {"Key": key, **entry}}}


INDEXES = ("Index", "CreateIndex", "ModifyIndex")
SESSION_ID = "@session"
"""Stands for the id that Session.Apply answered."""
CALLS: list[tuple[str, Any]] = [
    ("Status.Ping", {}),
    ("Status.Nope", {}),
    ("Nope.Nope", {}),
    ("nodot", {}),
    ("Catalog.ListDatacenters", {}),
    ("KVS.Get", {"Key": "a"}),
    ("KVS.Get", {"Datacenter": "dc7", "Key": "a"}),
    ("KVS.Get", {**DC, "Key": "a"}),
    ("KVS.List", {**DC, "Key": "a"}),
    ("KVS.List", {**DC, "Key": ""}),
    ("KVS.ListKeys", {**DC, "Prefix": "x/", "Seperator": "/"}),
    kv("set", ""),
    kv("bogus", "a"),
    kv("set", "a", b"1", Flags=7),
    kv("set", "a", b"1", Flags=7),
    kv("set", "dir/x", b"\xff\x00"),
    kv("set", "dir/y/z", b""),
    kv("set", "dir/y/q"),
    kv("cas", "a", b"2", ModifyIndex=1),
    kv("cas", "new", b"2", ModifyIndex=0),
    kv("delete-cas", "none", ModifyIndex=5),
    kv("delete-cas", "a", ModifyIndex=5),
    kv("lock", "l", b""),
    kv("lock", "l", b"", Session="not-a-uuid"),
    kv("unlock", "l", b""),
    ("KVS.Get", {**DC, "Key": "a"}),
    ("KVS.Get", {**DC, "Key": "dir/y/z"}),
    ("KVS.List", {**DC, "Key": "dir/"}),
    ("KVS.ListKeys", {**DC, "Prefix": "dir/", "Seperator": "/"}),
    ("KVS.ListKeys", {**DC, "Prefix": "", "Seperator": ""}),
    kv("delete", "dir/x"),
    ("KVS.List", {**DC, "Key": "dir/x"}),
    ("KVS.Get", {**DC, "Key": "dir/x"}),
    kv("delete-tree", "dir/"),
    ("KVS.List", {**DC, "Key": "dir/"}),
    ("KVS.Get", {**DC, "Key": "a", "MinQueryIndex": 1, "RequireConsistent": True}),
    ("Catalog.Register", DC),
    ("Catalog.Register", {**DC, "Node": "web1"}),
    ("Catalog.Register", {**NODE, "ID": "nonsense"}),
    ("Catalog.Register", {**NODE, "ID": "81577acc_86bd_269a_fea5_1b18e570fa79"}),
    ("Catalog.Register", {**NODE, "ID": "z1577acc-86bd-269a-fea5-1b18e570fa79"}),
    ("Catalog.Register", {**NODE, "Service": {"ID": "x"}}),
    ("Catalog.Register", {**NODE, "Service": {"Service": "x", "Address": "::"}}),
    ("Catalog.Register", {**NODE, "Service": {"Service": "x", "Kind": "connect-proxy"}}),
    ("Catalog.Register", {**NODE, "Service": {"Service": "x", "Kind": "terminating-gateway"}}),
    ("Catalog.Register", {**NODE, "Check": {"Name": "c", "ServiceID": "nope"}}),
    ("Catalog.Register", {**NODE, "Check": {"Name": "c", "Node": "other"}}),
    ("Catalog.Register", {**NODE, "NodeMeta": {"rack": "1"}, "Service": SERVICE, "Check": CHECK}),
    ("Catalog.Register", {**NODE, "NodeMeta": {"rack": "1"}, "Service": SERVICE, "Check": CHECK}),
    ("Catalog.Register", {**NODE, "NodeMeta": {"rack": "1"}, "Service": PROXY}),
    ("Catalog.Register", {**DC, "Node": "web2", "Address": "10.1.1.2", "Service": {"Service": "web"}}),
    ("Catalog.Register", {**DC, "Node": "web2", "SkipNodeUpdate": True, "Check": {"Name": "node-check"}}),
    ("Catalog.ServiceNodes", DC),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web"}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "Web", "TagFilter": True, "ServiceTags": ["b"]}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web", "TagFilter": True, "ServiceTag": "nope"}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web", "NodeMetaFilters": {"rack": "1"}}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "Web", "Connect": True}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "absent"}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web", "Filter": "ServicePort == 80"}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web", "Filter": '"a" in ServiceTags'}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web", "Filter": "CreateIndex == 1"}),
    ("Catalog.ListServices", {**DC, "NodeMetaFilters": {"rack": "1"}}),
    ("Catalog.NodeServices", {**DC, "Node": "WEB1"}),
    ("Catalog.NodeServices", {**DC, "Node": "web1", "Filter": 'Meta.k == "v"'}),
    ("Catalog.NodeServices", {**DC, "Node": "absent"}),
    ("Catalog.NodeServices", DC),
    ("Catalog.NodeServiceList", {**DC, "Node": "web1"}),
    ("Catalog.NodeServiceList", {**DC, "Node": "absent"}),
    ("Catalog.ListNodes", {**DC, "NodeMetaFilters": {"rack": "1"}}),
    ("Catalog.ListNodes", {**DC, "Filter": 'Node == "web2"'}),
    ("Catalog.ListNodes", {**DC, "Filter": "Nope == 1"}),
    ("Catalog.ListNodes", {**DC, "Filter": "Node =="}),
    ("Health.NodeChecks", {**DC, "Node": "web1"}),
    ("Health.NodeChecks", {**DC, "Node": "absent"}),
    ("Health.NodeChecks", {**DC, "Node": "web1", "Filter": 'CheckID == "alive"'}),
    ("Health.ChecksInState", {**DC, "State": "critical"}),
    ("Health.ChecksInState", {**DC, "State": "any", "NodeMetaFilters": {"rack": "1"}}),
    ("Health.ServiceChecks", {**DC, "ServiceName": "web"}),
    ("Health.ServiceChecks", {**DC, "ServiceName": "web", "TagFilter": True}),
    ("Health.ServiceNodes", DC),
    ("Health.ServiceNodes", {**DC, "ServiceName": "web"}),
    ("Health.ServiceNodes", {**DC, "ServiceName": "Web", "Connect": True}),
    ("Health.ServiceNodes", {**DC, "ServiceName": "web", "Filter": "Checks.Status == passing"}),
    ("Internal.NodeInfo", {**DC, "Node": "web1"}),
    ("Internal.NodeInfo", {**DC, "Node": "absent"}),
    ("Internal.NodeDump", {**DC, "Filter": 'Meta.rack == "1"'}),
    ("Internal.ServiceDump", {**DC, "UseServiceKind": True, "ServiceKind": "connect-proxy"}),
    ("Session.Apply", {**DC, "Op": "create"}),
    ("Session.Apply", {**DC, "Op": "destroy"}),
    ("Session.Apply", {**DC, "Op": "create", "Session": {"Node": "absent"}}),
    ("Session.Apply", {**DC, "Op": "create", "Session": {"Node": "web1", "TTL": "x"}}),
    ("Session.Apply", {**DC, "Op": "create", "Session": {"Node": "web1", "TTL": "25h"}}),
    ("Session.Apply", {**DC, "Op": "create", "Session": {"Node": "web1", "Behavior": "x"}}),
    ("Session.Apply", {**DC, "Op": "create", "Session": {"Node": "web1", "Checks": ["nope"]}}),
    ("Session.Apply", {**DC, "Op": "create", "Session": {"Node": "web1", "TTL": "600s", "LockDelay": 5 * 10**10}}),
    ("Session.Get", {**DC, "SessionID": SESSION_ID}),
    ("Session.Get", {**DC, "Session": SESSION_ID}),
    ("Session.Get", {**DC, "SessionID": "81577acc-86bd-269a-fea5-1b18e570fa79"}),
    ("Session.Get", {**DC, "SessionID": "x"}),
    ("Session.List", DC),
    ("Session.NodeSessions", {**DC, "Node": "web1"}),
    ("Session.NodeSessions", {**DC, "Node": "absent"}),
    ("Session.Renew", {**DC, "SessionID": SESSION_ID}),
    ("Session.Renew", {**DC, "SessionID": "81577acc-86bd-269a-fea5-1b18e570fa79"}),
    kv("lock", "l", b"held", Session=SESSION_ID),
    kv("set", "l", b"over"),
    ("KVS.Get", {**DC, "Key": "l"}),
    ("Txn.Apply", txn()),
    ("Txn.Apply", txn(kv_op("set", "t/1", Value=b"1"), kv_op("get", "t/1"), kv_op("get", "none"))),
    ("Txn.Apply", txn(kv_op("set", "t/1", Value=b"1"), kv_op("get-tree", "t/"))),
    ("Txn.Apply", txn(kv_op("lock", "l", Session=SESSION_ID), kv_op("bogus", "x"))),
    ("Txn.Apply", txn({"Node": {"Verb": "set", "Node": {"Node": ""}}})),
    ("Txn.Apply", txn({"Service": {"Verb": "set", "Node": "web1", "Service": {"ID": "x"}}})),
    ("Txn.Apply", txn({"Service": {"Verb": "set", "Node": "web1", "Service": {"Service": "tx"}}})),
    ("Txn.Read", txn(kv_op("get", "t/1"), kv_op("check-not-exists", "none"), kv_op("get-tree", "t/"))),
    ("Txn.Read", txn(kv_op("get", "none"), kv_op("check-not-exists", "t/1"))),
    ("Txn.Read", txn(kv_op("check-session", "l", Session=""), kv_op("check-index", "t/1", ModifyIndex=1))),
    ("Txn.Read", txn({"Node": {"Verb": "get", "Node": {"Node": "web1"}}})),
    ("Txn.Read", txn({"Service": {"Verb": "get", "Node": "web1", "Service": {"ID": "web-1"}}})),
    ("Txn.Read", txn({"Check": {"Verb": "get", "Check": {"Node": "web1", "CheckID": "zzz"}}})),
    ("Session.Apply", {**DC, "Op": "destroy", "Session": {"ID": SESSION_ID}}),
    ("KVS.Get", {**DC, "Key": "l"}),
    kv("lock", "l", b"", Session=SESSION_ID),
    ("Catalog.Deregister", DC),
    ("Catalog.Deregister", {**DC, "Node": "web1", "ServiceID": "web-1"}),
    ("Catalog.Deregister", {**DC, "Node": "absent"}),
    ("Catalog.Deregister", {**DC, "Node": "web1"}),
    ("Catalog.ServiceNodes", {**DC, "ServiceName": "web-proxy"}),
    ("Health.ServiceNodes", {**DC, "ServiceName": "absent"}),
    ("Coordinate.Update", {**DC, "Node": "web2", "Coord": {"Vec": [0.0]}}),
    ("Coordinate.Node", {**DC, "Node": "absent"}),
    ("Operator.AutopilotGetConfiguration", DC),
    ("Status.Peers", {"Datacenter": "dc7"}),
]


class Door:
    """A plain connection to an RPC port, opened again when the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self.session = ""

    async def call(self, method: str, body: Any) -> rpc.Response:
        async with await trio.open_tcp_stream(*self._address) as stream:
            await stream.send_all(b"\x00" + rpc.encode_request(1, method, self._filled(body)))
            decoder = rpc.ResponseDecoder()
            while data := await stream.receive_some(65536):
                for answer in decoder.feed(bytes(data)):
                    if method == "Session.Apply" and len(answer.body or "") == 36:
                        self.session = answer.body
                    return answer
        raise AssertionError(f"no answer to {method}")

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        return self.session if value == SESSION_ID else value

    async def _settled(self) -> bool:
        """Whether the server has written all it writes of itself."""
        node = ((await self.call("Catalog.NodeServices", {**DC, "Node": "n1"})).body or {}).get("NodeServices")
        checks = (await self.call("Health.NodeChecks", {**DC, "Node": "n1"})).body
        registered = node and "consul" in node["Services"] and (node["Node"]["TaggedAddresses"] or {}).get("wan")
        return bool(registered and checks["HealthChecks"])

    async def base(self) -> int:
        """Index of a first write, once the server has settled."""
        with trio.fail_after(60):
            while not await self._settled():
                await trio.sleep(0.1)
        await self.call(*kv("set", "base", b""))
        index: int = (await self.call("KVS.Get", {**DC, "Key": "base"})).body["Index"]
        return index

    def shown(self, value: Any, ranks: dict[int, int], key: str = "") -> Any:
        """An answer with what legitimately differs taken out."""
        if isinstance(value, dict):
            return {name: self.shown(item, ranks, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.shown(item, ranks) for item in value]
        if key in INDEXES:
            return ranks.get(value, "before")
        if isinstance(value, str):
            value = re.sub(r"current modify index \d+", "current modify index N", value)
            return value.replace(self.session, SESSION_ID) if self.session else value
        return value


def indexes(value: Any, key: str = "") -> set[int]:
    """All Raft indexes in an answer."""
    if isinstance(value, dict):
        return set().union(*(indexes(item, name) for name, item in value.items()))
    if isinstance(value, list):
        return set().union(*(indexes(item) for item in value))
    return {value} if key in INDEXES else set()


def ranks(answers: list[rpc.Response], base: int) -> dict[int, int]:
    """Index -> place among all indexes after `base` that were seen; 0 and 1 mean something of their own."""
    seen = sorted(index for index in indexes([answer.body for answer in answers]) if index > base)
    return {0: 0, 1: 1, **{index: place for place, index in enumerate(seen, start=2)}}


@asynccontextmanager
async def real_server(binary: Path, directory: Path) -> AsyncIterator[tuple[str, int]]:
    host = fresh_address()
    config = directory / "real.json"
    config.write_text('{"disable_coordinates": true}')  # they would come at any time, with an index of their own
    log = (directory / "real.log").open("wb")
    command = [str(binary), "agent", "-dev", "-node=n1", f"-bind={host}", f"-client={host}", "-grpc-port=-1"]
    process = await trio.lowlevel.open_process([*command, f"-config-file={config}"], stdout=log, stderr=log)
    try:
        with trio.fail_after(60):
            while True:
                try:
                    (await trio.open_tcp_stream(host, SERVER_PORT)).socket.close()
                    break
                except OSError:
                    await trio.sleep(0.1)
        yield host, SERVER_PORT
    finally:
        process.kill()
        with trio.CancelScope(shield=True), trio.move_on_after(10):
            await process.wait()
        log.close()


async def test_real_and_ours_answer_the_same(real_consul: Path, tmp_path: Path) -> None:
    async with running(tmp_path, disable_coordinates=True) as rig, real_server(real_consul, tmp_path) as address:
        theirs, ours = Door(*address), _door(rig)
        their_base, our_base = await theirs.base(), await ours.base()
        their_answers = [await theirs.call(method, body) for method, body in CALLS]
        our_answers = [await ours.call(method, body) for method, body in CALLS]
    their_ranks, our_ranks = ranks(their_answers, their_base), ranks(our_answers, our_base)
    differences = []
    for (method, body), wanted, got in zip(CALLS, their_answers, our_answers, strict=True):
        expected = (wanted.error, theirs.shown(wanted.body, their_ranks))
        actual = (got.error, ours.shown(got.body, our_ranks))
        if _ordered(expected) != _ordered(actual):
            differences.append(f"{method} {body}\n  real: {expected}\n  ours: {actual}")
    assert not differences, "\n".join(differences)


def _ordered(value: Any, key: str = "") -> Any:
    """The tags of Catalog.ListServices come out of a map: they have no order of their own."""
    if isinstance(value, dict):
        return {name: _ordered(item, "tags" if key == "Services" else name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return sorted(value) if key == "tags" else [_ordered(item) for item in value]
    return value


def _door(rig: Rig) -> Door:
    host, _, port = rig.config.rpc_bind_addr.rpartition(":")
    return Door(host, int(port))
