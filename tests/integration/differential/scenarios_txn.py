"""Transactions, right and wrong ones."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import get, put
from tests.integration.differential.script import Step

TXN = "/v1/txn"
UNKNOWN_SESSION = "11111111-2222-3333-4444-555555555555"


def txn(*operations: Any, query: str = "") -> Request:
    return put(TXN + query, list(operations))


def kv(verb: str, key: str, value: str | None = None, /, **fields: Any) -> dict[str, Any]:
    operation = {"Verb": verb, "Key": key, **fields}
    if value is not None:
        operation["Value"] = b64encode(value.encode()).decode()
    return {"KV": operation}


def node(verb: str, /, **fields: Any) -> dict[str, Any]:
    return {"Node": {"Verb": verb, "Node": fields}}


def service(verb: str, on: str, /, **fields: Any) -> dict[str, Any]:
    return {"Service": {"Verb": verb, "Node": on, "Service": fields}}


def check(verb: str, on: str, /, **fields: Any) -> dict[str, Any]:
    return {"Check": {"Verb": verb, "Check": {"Node": on, **fields}}}


def modify_index(kind: str, at: int = 0) -> Any:
    return lambda answer: answer["Results"][at][kind]["ModifyIndex"]


def _fields(kind: str, **fields: str) -> list[Request]:
    """One operation per field with a value of each wrong type. (A Definition of null makes Consul break down.)"""
    odd = ("5", '"x"', "true", "[]", "{}", "null", "1.5", "-1", "[1]", '{"a":1}')
    made = [f'{{"{kind}": {{"Verb":"get", {template % value}}}}}' for template in fields.values() for value in odd]
    return [put(TXN, f"[{each}]") for each in made if '"Definition":null' not in each]


BODIES = [
    get(TXN),
    Request("POST", TXN, b"[]"),
    Request("DELETE", TXN),
    Request("OPTIONS", TXN),
    Request("HEAD", TXN),
    get(TXN + "/"),
    put(TXN + "/", "[]"),
    put(TXN),
    put(TXN, " "),
    put(TXN, "{"),
    put(TXN, "["),
    put(TXN, "null"),
    put(TXN, "[]"),
    put(TXN, "{}"),
    put(TXN, '"text"'),
    put(TXN, "5"),
    put(TXN, "true"),
    put(TXN, "[5]"),
    put(TXN, '["x"]'),
    put(TXN, "[[]]"),
    put(TXN, "[{}]"),
    put(TXN, "[{},{}]"),
    put(TXN, "[] trailing"),
    put(TXN, '[{"KV":null}]'),
    put(TXN, '[{"KV":{}}]'),
    put(TXN, '[{"KV":5}]'),
    put(TXN, '[{"KV":[]}]'),
    put(TXN, '[{"KV":"x"}]'),
    put(TXN, '[{"kv":{"verb":"get","key":"none"}}]'),
    put(TXN, '[{"Nope":{}}]'),
    put(TXN, '[{"Session":{}}]'),
    put(TXN, '[{"Intention":{}}]'),
    put(TXN, '[{"Node":{}}]'),
    put(TXN, '[{"Service":{}}]'),
    put(TXN, '[{"Check":{}}]'),
    put(TXN, '[{"Node":5}]'),
    put(TXN, '[{"Service":5}]'),
    put(TXN, '[{"Check":5}]'),
    put(TXN, '[{"KV":{"Verb":"get","Key":"a","Nope":1}}]'),
    put(TXN, '[{"KV":{"Verb":"get","Key":"a","Namespace":"team"}}]'),
    put(TXN, '[{"Node":{"Verb":"get","Node":{"Node":"node1","Nope":1}}}]'),
    put(TXN, '[{"Service":{"Verb":"get","Service":{"Nope":1}}}]'),
    put(TXN, '[{"Check":{"Verb":"get","Check":{"Nope":1}}}]'),
    put(TXN, '[{"Check":{"Verb":"get","Check":{"Definition":{"Nope":1}}}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":"%%%"}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":"YQ"}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":"YQ=="}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":"YQ==YQ=="}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":5}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":[97,98]}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":[97,null]}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":[256]}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":["x"]}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":[]}},{"KV":{"Verb":"get","Key":"a"}}]'),
    put(TXN, '[{"KV":{"Verb":"set","Key":"a","Value":{}}}]'),
    put(TXN, '[{"KV":{"Verb":"get","Key":"a"},"Node":{"Verb":"get","Node":{"Node":"none"}}}]'),
    *_fields(
        "KV",
        Key='"Key":%s',
        Flags='"Key":"a","Flags":%s',
        Index='"Key":"a","Index":%s',
        Session='"Key":"a","Session":%s',
    ),
    *_fields("Node", Node='"Node":%s', Name='"Node":{"Node":%s}', Meta='"Node":{"Node":"node1","Meta":%s}'),
    *_fields(
        "Service",
        Service='"Service":%s',
        Tags='"Service":{"Tags":%s}',
        Port='"Service":{"Port":%s}',
        Weights='"Service":{"Weights":%s}',
        Proxy='"Service":{"Proxy":%s}',
        Connect='"Service":{"Connect":%s}',
        Upstreams='"Service":{"Proxy":{"Upstreams":%s}}',
        Expose='"Service":{"Proxy":{"Expose":%s}}',
        Sidecar='"Service":{"Connect":{"SidecarService":%s}}',
        Addresses='"Service":{"TaggedAddresses":%s}',
    ),
    *_fields(
        "Check",
        Check='"Check":%s',
        Status='"Check":{"Status":%s}',
        Definition='"Check":{"Definition":%s}',
        Interval='"Check":{"Definition":{"Interval":%s}}',
        IntervalDuration='"Check":{"Definition":{"IntervalDuration":%s}}',
        Header='"Check":{"Definition":{"Header":%s}}',
    ),
]

LIMITS = [
    txn(*[kv("get", "none") for _ in range(65)]),
    txn(*[kv("set", f"many/{n}", "v") for n in range(64)]),
    txn(*[kv("set", f"many/{n}", "v") for n in range(65)]),
    txn(kv("set", "large", "x" * (384 * 1024 - 100))),
    put(TXN, b"[" + b" " * (512 * 1024 - 2) + b"]"),
    put(TXN, b"[" + b" " * (512 * 1024 - 1) + b"]"),
    put(TXN, b" " * (1024 * 1024)),
    txn(kv("set", "k" * 600, "v")),
    txn(kv("delete-tree", "many/")),
]

KEYS: list[Request | Step] = [
    txn(kv("get", "none")),
    txn(kv("get", "")),
    txn(kv("nope", "a")),
    txn(kv("", "a")),
    txn(kv("SET", "a", "x")),
    txn(kv("nope", "a"), kv("set", "a", "x")),
    txn(kv("set", "")),
    txn(kv("set", "", "x"), kv("get", "none")),
    txn(kv("delete", "")),
    txn(kv("delete-tree", "none/")),
    txn(kv("delete", "none")),
    txn(kv("delete-cas", "none", Index=5)),
    Step(txn(kv("set", "txn/a", "one", Flags=7)), ("a", modify_index("KV"))),
    txn(kv("set", "txn/a", "one", Flags=7)),
    txn(kv("get", "txn/a")),
    txn(kv("get", "txn/a"), query="?pretty"),
    txn(kv("get", "txn/a"), query="?stale"),
    txn(kv("get", "txn/a"), query="?consistent"),
    txn(kv("get", "txn/a"), query="?stale&consistent"),
    txn(kv("get", "txn/a"), query="?index=1"),
    txn(kv("get", "txn/a"), query="?index=x"),
    txn(kv("get", "txn/a"), query="?cached"),
    txn(kv("get", "txn/a"), query="?dc=nope"),
    txn(kv("get", "txn/a"), query="?ns=team"),
    txn(kv("get", "txn/a"), query="?token=unknown"),
    txn(kv("set", "txn/b", "two"), query="?dc=nope"),
    txn(kv("set", "txn/b", "two"), query="?dc=dc1"),
    txn(kv("set", "txn/b", "two"), query="?stale&consistent"),
    txn(kv("set", "txn/b", "two"), query="?ns=team"),
    txn(kv("set", "txn/empty"), kv("get", "txn/empty")),
    txn(kv("set", "txn/null", Value=None), kv("get", "txn/null")),
    txn(kv("get-tree", "txn/")),
    txn(kv("get-tree", "none/")),
    txn(kv("get-tree", "")),
    txn(kv("get", "txn/a"), kv("get", "none"), kv("get", "txn/b")),
    txn(kv("check-not-exists", "none")),
    txn(kv("check-not-exists", "txn/a")),
    txn(kv("check-index", "none", Index=5)),
    txn(kv("check-index", "txn/a", Index=1)),
    txn(kv("check-session", "none", Session=UNKNOWN_SESSION)),
    txn(kv("check-session", "txn/a", Session="")),
    txn(kv("check-session", "txn/a", Session=UNKNOWN_SESSION)),
    put(TXN, '[{"KV":{"Verb":"check-index","Key":"txn/a","Index":$a}}]'),
    txn(kv("cas", "txn/a", "no", Index=1)),
    put(TXN, '[{"KV":{"Verb":"cas","Key":"txn/c","Value":"Yw==","Index":0}}]'),
    put(TXN, '[{"KV":{"Verb":"cas","Key":"txn/c","Value":"Yw==","Index":0}}]'),
    put(TXN, '[{"KV":{"Verb":"delete-cas","Key":"txn/a","Index":1}}]'),
    txn(kv("set", "txn/x", "1"), kv("get", "txn/x"), kv("set", "txn/x", "2"), kv("get", "txn/x")),
    txn(kv("set", "txn/y", "1"), kv("cas", "txn/a", "x", Index=1), kv("check-index", "none")),
    txn(kv("get", "txn/y")),
    txn(kv("delete", "txn/x"), kv("check-not-exists", "txn/x"), kv("set", "txn/x", "again")),
    txn(kv("lock", "txn/l", "x")),
    txn(kv("lock", "txn/l", "x", Session=UNKNOWN_SESSION)),
    txn(kv("lock", "txn/l", "x", Session="not-a-uuid")),
    txn(kv("unlock", "txn/l", "x", Session=UNKNOWN_SESSION)),
    txn(kv("unlock", "txn/l", "x")),
    Step(put("/v1/session/create", {"LockDelay": "1ms"}), ("s", lambda answer: answer["ID"])),
    put(TXN, '[{"KV":{"Verb":"lock","Key":"txn/l","Value":"bA==","Session":"$s"}}]'),
    txn(kv("lock", "txn/l", "l", Session="$s"), kv("get", "txn/l")),
    put(TXN, '[{"KV":{"Verb":"check-session","Key":"txn/l","Session":"$s"}}]'),
    txn(kv("check-session", "txn/l", Session=UNKNOWN_SESSION)),
    txn(kv("unlock", "txn/l", Session="$s"), kv("unlock", "txn/l", Session="$s")),
    put(TXN, '[{"KV":{"Verb":"unlock","Key":"txn/l","Session":"$s"}}]'),
    get("/v1/kv/txn/l"),
    put("/v1/session/destroy/$s"),
    get("/v1/kv/txn/?recurse"),
    txn(kv("delete-tree", "txn/"), kv("get-tree", "txn/")),
    get("/v1/kv/txn/?keys"),
]

CATALOG: list[Request | Step] = [
    txn(node("get", Node="none")),
    txn(node("get", ID="nope")),
    txn(node("get", ID=UNKNOWN_SESSION)),
    txn(node("get", Node="node1")),
    txn(node("nope", Node="node1")),
    txn(node("", Node="node1")),
    txn(node("set")),
    txn(node("set", Node="t1")),
    txn(node("set", Node="t1", Address="10.8.0.1", ID="bad")),
    txn(node("set", Node="t1", Address="10.8.0.1", ID="aaaaaaaa-2222-3333-4444-555555555555")),
    txn(
        node(
            "set",
            Node="t1",
            Address="10.8.0.1",
            ID="aaaaaaaa-2222-3333-4444-555555555555",
            Meta={"a": "b"},
            TaggedAddresses={"lan": "10.8.0.1"},
            Datacenter="elsewhere",
        )
    ),
    txn(node("get", ID="aaaaaaaa-2222-3333-4444-555555555555")),
    txn(node("get", ID="AAAAAAAA-2222-3333-4444-555555555555")),
    txn(node("set", Node="node1", Address="10.8.0.9", ID="bbbbbbbb-2222-3333-4444-555555555555")),
    txn(node("cas", Node="t1", Address="10.8.0.2", ModifyIndex=1)),
    txn(node("cas", Node="t2", Address="10.8.0.2", ModifyIndex=0)),
    txn(node("cas", Node="t2", Address="10.8.0.2", ModifyIndex=0)),
    Step(txn(node("get", Node="t2")), ("n", modify_index("Node"))),
    put(TXN, '[{"Node":{"Verb":"cas","Node":{"Node":"t2","Address":"10.8.0.3","ModifyIndex":$n}}}]'),
    put(TXN, '[{"Node":{"Verb":"delete-cas","Node":{"Node":"t2","ModifyIndex":$n}}}]'),
    txn(node("delete-cas", Node="none", ModifyIndex=1)),
    txn(node("delete", Node="none")),
    txn(node("delete", Node="t2")),
    get("/v1/catalog/node/t1"),
    txn(service("get", "t1", ID="web")),
    txn(service("get", "none", ID="web")),
    txn(service("nope", "t1", ID="web", Service="web")),
    txn(service("set", "t1")),
    txn(service("set", "t1", ID="web")),
    txn(service("set", "none", Service="web")),
    txn(service("set", "", Service="web")),
    txn(service("set", "t1", Service="web", Address="0.0.0.0")),
    txn(service("set", "t1", Service="web", Port=80, Tags=["a", "b"], Meta={"k": "v"})),
    txn(service("set", "t1", Service="web", Port=80, Tags=["a", "b"], Meta={"k": "v"})),
    txn(
        service(
            "set",
            "t1",
            ID="w2",
            Service="web",
            Weights={"Passing": 3, "Warning": 2},
            EnableTagOverride=True,
            Kind="connect-proxy",
            TaggedAddresses={"lan": {"Address": "1.2.3.4", "Port": 1}},
            Proxy={"DestinationServiceName": "x", "Upstreams": [{"DestinationName": "db", "LocalBindPort": 1}]},
            Connect={"Native": True},
            ContentHash="h",
        )
    ),
    txn(service("set", "t1", ID="w3", Service="web", Weights={"Passing": -1})),
    get("/v1/catalog/service/web"),
    txn(service("get", "t1", ID="w2")),
    txn(service("cas", "t1", Service="web", Port=81, ModifyIndex=1)),
    txn(service("cas", "t1", ID="fresh", Service="fresh", ModifyIndex=0)),
    txn(service("cas", "none", ID="fresh", Service="fresh", ModifyIndex=0)),
    Step(txn(service("get", "t1", ID="fresh")), ("v", modify_index("Service"))),
    put(
        TXN,
        '[{"Service":{"Verb":"cas","Node":"t1","Service":{"ID":"fresh","Service":"fresh","Port":9,"ModifyIndex":$v}}}]',
    ),
    put(
        TXN,
        '[{"Service":{"Verb":"delete-cas","Node":"t1","Service":{"ID":"fresh","Service":"fresh","ModifyIndex":$v}}}]',
    ),
    txn(service("delete-cas", "t1", ID="none", Service="none", ModifyIndex=5)),
    txn(service("delete", "t1", ID="none", Service="none")),
    txn(service("delete", "t1", ID="fresh")),
    txn(service("delete", "t1", ID="fresh", Service="fresh")),
    txn(service("delete", "none", ID="fresh", Service="fresh")),
    txn(check("get", "t1", CheckID="c")),
    txn(check("get", "none", CheckID="c")),
    txn(check("nope", "t1", CheckID="c")),
    txn(check("set", "none", CheckID="c")),
    txn(check("set", "t1")),
    txn(check("set", "t1", Name="named")),
    txn(check("set", "t1", CheckID="c", Name="check", Status="passing", Notes="n", Output="o")),
    txn(check("set", "t1", CheckID="c", Name="check", Status="passing", Notes="n", Output="o")),
    txn(check("set", "t1", CheckID="odd", Name="check", Status="odd")),
    txn(
        check(
            "set",
            "t1",
            CheckID="cs",
            Name="check",
            ServiceID="web",
            Type="ttl",
            ServiceTags=["z"],
            Definition={
                "HTTP": "http://x",
                "Header": {"A": ["b"]},
                "Method": "GET",
                "Body": "b",
                "TCP": "t",
                "TLSSkipVerify": True,
                "Interval": "10s",
                "Timeout": 5000000000,
                "DeregisterCriticalServiceAfter": "1m",
            },
        )
    ),
    txn(
        check(
            "set",
            "t1",
            CheckID="cd",
            Name="check",
            Definition={
                "IntervalDuration": "10s",
                "Interval": "20s",
                "TimeoutDuration": 7,
                "DeregisterCriticalServiceAfterDuration": "1h",
            },
        )
    ),
    txn(check("set", "t1", CheckID="cs2", Name="check", ServiceID="none")),
    txn(check("get", "t1", CheckID="cs")),
    txn(check("get", "t1", CheckID="cd")),
    txn(check("cas", "t1", CheckID="c", Status="critical", ModifyIndex=1)),
    txn(check("cas", "t1", CheckID="c9", Status="critical", ModifyIndex=0)),
    txn(check("cas", "none", CheckID="c9", Status="critical", ModifyIndex=0)),
    Step(txn(check("get", "t1", CheckID="c9")), ("c", modify_index("Check"))),
    put(TXN, '[{"Check":{"Verb":"cas","Check":{"Node":"t1","CheckID":"c9","Status":"passing","ModifyIndex":$c}}}]'),
    put(TXN, '[{"Check":{"Verb":"delete-cas","Check":{"Node":"t1","CheckID":"c9","ModifyIndex":$c}}}]'),
    txn(check("delete-cas", "t1", CheckID="none", ModifyIndex=5)),
    txn(check("delete", "t1", CheckID="none")),
    txn(check("delete", "none", CheckID="none")),
    txn(check("delete", "t1", CheckID="c9")),
    get("/v1/health/node/t1"),
    txn(node("get", Node="t1"), service("get", "t1", ID="web"), check("get", "t1", CheckID="c"), kv("get", "none")),
    txn(node("get", Node="t1"), service("get", "t1", ID="web"), check("get", "t1", CheckID="c")),
    txn(node("get", Node="t1"), query="?stale&pretty"),
    txn(kv("set", "txn/mixed", "v"), service("set", "none", Service="web"), check("set", "none", CheckID="c")),
    txn(node("delete", Node="t1"), service("get", "t1", ID="web")),
    txn(node("set", Node="other", Address="10.8.0.9", ID="aaaaaaaa-2222-3333-4444-555555555555")),
    txn(node("get", Node="t1")),
    txn(node("set", Node="t1", Address="10.8.0.9", ID="aaaaaaaa-2222-3333-4444-555555555555")),
    txn(node("delete", Node="t1"), kv("check-not-exists", "none")),
    get("/v1/catalog/nodes"),
    get("/v1/catalog/services"),
    get("/v1/health/state/any"),
    put("/v1/catalog/deregister", json.dumps({"Node": "t2"})),
]

SCRIPTS: dict[str, list[Request | Step]] = {
    "txn bodies": [*BODIES],
    "txn limits": [*LIMITS],
    "txn keys": KEYS,
    "txn catalog": CATALOG,
}
