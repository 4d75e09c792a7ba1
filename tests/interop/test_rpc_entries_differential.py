"""ConfigEntry.* and PreparedQuery.* over the RPC port, byte for byte to the real Consul and to ours.

Answers about config entries are raws: the values inside are compared. Indexes are compared by their order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.structs import wire
from shared.structs.config_entry import (
    IngressGateway,
    IngressListener,
    IngressService,
    ProxyDefaults,
    ServiceDefaults,
    ServiceResolver,
    ServiceSplit,
    ServiceSplitter,
)
from shared.structs.config_entry_wire import ConfigEntryRequest
from shared.structs.proxy import ExposeConfig, ExposePath, MeshGatewayConfig
from shared.wire import rpc
from tests.interop.test_rpc_differential import DC, Door, _door, kv, ranks, real_server, running

pytestmark = pytest.mark.real_consul
QUERY_ID = "@query"
CONFIG = "ConfigEntry."


def entry(made: Any, op: str = "upsert") -> tuple[str, bytes]:
    return f"{CONFIG}{'Delete' if op == 'delete' else 'Apply'}", ConfigEntryRequest(op, made, "dc1").to_raw()


def query(op: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    return "PreparedQuery.Apply", {**DC, "Op": op, "Query": fields}


SERVICE = {"Service": "pq", "Tags": ["a"]}
NAMED = {**DC, "QueryIDOrName": "q", "Agent": {"Node": "n1", "Datacenter": "dc1"}}
TEMPLATE = {"Type": "name_prefix_match"}
CALLS: list[tuple[str, Any]] = [
    ("ConfigEntry.Nope", {}),
    ("ConfigEntry.Get", {**DC, "Kind": "service-defaults", "Name": "web"}),
    ("ConfigEntry.Get", {**DC, "Kind": "nope", "Name": "web"}),
    ("ConfigEntry.Get", {"Kind": "service-defaults"}),
    ("ConfigEntry.List", DC),
    ("ConfigEntry.List", {**DC, "Kind": "service-defaults"}),
    ("ConfigEntry.List", {**DC, "Kind": "nope"}),
    ("ConfigEntry.ListAll", DC),
    ("ConfigEntry.ListAll", {}),
    ("ConfigEntry.ResolveServiceConfig", {**DC, "Name": "web"}),
    ("ConfigEntry.ResolveServiceConfig", {**DC, "Name": "web", "Upstreams": ["api"], "UpstreamIDs": [{"ID": "db"}]}),
    ("ConfigEntry.ResolveServiceConfig", {}),
    entry(ServiceDefaults(name="web", protocol="HTTP")),
    entry(ServiceDefaults(name="")),
    entry(ServiceDefaults(name="api", protocol="grpc", mesh_gateway=MeshGatewayConfig("remote"))),
    entry(ProxyDefaults(name="x", config={"n": 7, "protocol": "tcp"}, mesh_gateway=MeshGatewayConfig("local"))),
    entry(ServiceSplitter(name="web", splits=[ServiceSplit(33.33), ServiceSplit(66.67, service="web2")])),
    entry(ServiceSplitter(name="web", splits=[ServiceSplit(33.33), ServiceSplit(66.67, service_subset="v1")])),
    entry(ServiceSplitter(name="web", splits=[ServiceSplit(100)]), op="upsert-cas"),
    entry(ServiceSplitter(name="web", splits=[ServiceSplit(100)]), op="upsert-cas"),
    entry(ServiceSplitter(name="web", splits=[ServiceSplit(99)])),
    entry(ServiceResolver(name="api", connect_timeout=1500)),
    entry(
        IngressGateway(name="in", listeners=[IngressListener(80, "HTTP", [IngressService("web", ["a"])])]), op="what"
    ),
    ("ConfigEntry.Get", {**DC, "Kind": "service-splitter", "Name": "WEB"}),
    ("ConfigEntry.Get", {**DC, "Kind": "proxy-defaults", "Name": "global", "MinQueryIndex": 1}),
    ("ConfigEntry.Get", {**DC, "Kind": "service-resolver", "Name": "api", "RequireConsistent": True}),
    ("ConfigEntry.Get", {**DC, "Kind": "ingress-gateway", "Name": "in", "AllowStale": True}),
    ("ConfigEntry.List", {**DC, "Kind": "service-defaults"}),
    ("ConfigEntry.List", {**DC, "Kind": "proxy-defaults"}),
    ("ConfigEntry.ListAll", DC),
    *(
        ("ConfigEntry.ResolveServiceConfig", {**DC, "Name": name, **more})
        for name in ("web", "API", "none")
        for more in ({}, {"Upstreams": ["api"]}, {"UpstreamIDs": [{"ID": "api"}]}, {"Upstreams": ["none"]})
    ),
    entry(ProxyDefaults(expose=ExposeConfig(checks=True, paths=[ExposePath(path="/m", listener_port=1)]))),
    entry(ServiceDefaults(name="web", protocol="http", expose=ExposeConfig(paths=[ExposePath(path="/n")]))),
    ("ConfigEntry.ResolveServiceConfig", {**DC, "Name": "web", "Upstreams": ["none"]}),
    ("ConfigEntry.ResolveServiceConfig", {**DC, "Name": "none"}),
    entry(IngressGateway(name="in"), op="delete"),
    entry(ServiceSplitter(name="web"), op="delete"),
    entry(ServiceSplitter(name="none"), op="delete"),
    ("ConfigEntry.ListAll", DC),
    query("create", Name="q"),
    query("create", ID="x", Name="q", Service=SERVICE),
    query("odd", Name="q", Service=SERVICE),
    query("update", ID="x", Name="q", Service=SERVICE),
    query("create", Name="q", Service=SERVICE, DNS={"TTL": "5s"}),
    query("update", ID=QUERY_ID, Name="q", Service={**SERVICE, "NodeMeta": {"a": "b"}, "Failover": {"NearestN": 1}}),
    query("create", Name="Q", Service=SERVICE),
    query("create", Name="t", Service={"Service": "${nope}"}, Template=TEMPLATE),
    ("PreparedQuery.Get", DC),
    ("PreparedQuery.Get", {**DC, "QueryID": QUERY_ID}),
    ("PreparedQuery.Get", {**DC, "QueryID": "81577acc-86bd-269a-fea5-1b18e570fa79"}),
    ("PreparedQuery.List", DC),
    ("PreparedQuery.List", {"Datacenter": "dc7"}),
    ("PreparedQuery.Explain", NAMED),
    ("PreparedQuery.Explain", {**NAMED, "QueryIDOrName": ""}),
    ("PreparedQuery.Explain", {**NAMED, "QueryIDOrName": QUERY_ID}),
    ("PreparedQuery.Explain", {**NAMED, "QueryIDOrName": "none"}),
    ("PreparedQuery.Execute", NAMED),
    ("PreparedQuery.Execute", {**NAMED, "QueryIDOrName": "none"}),
    ("PreparedQuery.Execute", {"QueryIDOrName": "q"}),
    ("Catalog.Register", {**DC, "Node": "web1", "Address": "10.1.1.1", "NodeMeta": {"a": "b"}, "Service": SERVICE}),
    ("PreparedQuery.Execute", NAMED),
    ("PreparedQuery.Execute", {**NAMED, "RequireConsistent": True, "Limit": 1, "Source": {"Node": "web1"}}),
    ("PreparedQuery.Execute", {**NAMED, "Connect": True}),
    ("PreparedQuery.ExecuteRemote", {**DC, "Query": {"Service": SERVICE, "DNS": {"TTL": "7s"}}, "Limit": 1}),
    ("PreparedQuery.ExecuteRemote", {**DC, "Query": {"Service": {"Service": "pq", "Tags": ["!a"]}}}),
    query("delete", ID=QUERY_ID),
    query("delete", ID=QUERY_ID),
    ("PreparedQuery.Get", {**DC, "QueryID": QUERY_ID}),
    ("PreparedQuery.List", DC),
    kv("set", "end", b""),
]


async def answers(door: Door) -> list[rpc.Response]:
    """All answers in order, raws of config entries opened. The door's `session` is the id of the query."""
    found = []
    for method, body in CALLS:
        if isinstance(body, dict):
            body = _with_id(body, door.session)
        answer = await door.call(method, body)
        if method == "PreparedQuery.Apply" and not answer.error:
            door.session = answer.body
        if method.startswith(CONFIG) and isinstance(answer.body, str):
            answer = replace(answer, body=_opened(answer.body))
        found.append(answer)
    return found


def _with_id(value: Any, made: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_id(item, made) for key, item in value.items()}
    return made if value == QUERY_ID else value


def _opened(raw: str) -> list[Any]:
    """The values in a raw; proxy-defaults inside are raws again."""
    values = list(wire.WireStream([raw.encode("utf-8", "surrogateescape")]).values())
    return [_opened_deep(value) for value in values]


def _opened_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _opened_deep(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened_deep(item) for item in value]
    if isinstance(value, str) and len(value) > 40:
        return ["raw", *_opened(value)]
    return value


async def test_real_and_ours_answer_the_same(real_consul: Path, tmp_path: Path) -> None:
    async with running(tmp_path, disable_coordinates=True) as rig, real_server(real_consul, tmp_path) as address:
        theirs, ours = Door(*address), _door(rig)
        their_base, our_base = await theirs.base(), await ours.base()
        their_answers, our_answers = await answers(theirs), await answers(ours)
    their_ranks, our_ranks = ranks(their_answers, their_base), ranks(our_answers, our_base)
    differences = []
    for (method, body), wanted, got in zip(CALLS, their_answers, our_answers, strict=True):
        expected = theirs.shown([wanted.error, wanted.body], their_ranks)
        actual = ours.shown([got.error, got.body], our_ranks)
        if expected != actual:
            differences.append(f"{method} {body}\n  real: {expected}\n  ours: {actual}")
    assert not differences, "\n".join(differences)
