"""Sessions and the locks they hold, right and wrong requests."""

from __future__ import annotations

from typing import Any

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import delete, get, put
from tests.integration.differential.script import Step

CREATE = "/v1/session/create"
UNKNOWN = "11111111-2222-3333-4444-555555555555"
ODD = ("5", '"x"', "true", "[]", "{}", "null", "1.5", "-1", "[1]", '["nope"]', '[{"ID":"serfHealth"}]', "[5]", '""')


def create(name: str, /, **fields: Any) -> Step:
    """A session whose id is kept under `name`."""
    return Step(put(CREATE, fields), (name, lambda answer: answer["ID"]))


def lives(name: str, *fields: str) -> list[Request]:
    """Look at a session everywhere."""
    return [get(f"/v1/session/info/${name}"), get("/v1/session/list"), get("/v1/session/node/node1")]


CREATION: list[Request | Step] = [
    get("/v1/session/list"),
    get("/v1/session/list?pretty"),
    get("/v1/session/list?stale"),
    get("/v1/session/list?consistent"),
    get("/v1/session/list?stale&consistent"),
    get("/v1/session/list?dc=nope"),
    get("/v1/session/list?ns=team"),
    get("/v1/session/list?index=x"),
    get("/v1/session/list?index=1&wait=10ms"),
    get("/v1/session/list?index=999999&wait=20ms"),
    get("/v1/session/list?cached"),
    get("/v1/session/list/"),
    put("/v1/session/list"),
    get("/v1/session/node/"),
    get("/v1/session/node"),
    get("/v1/session/node/none"),
    get("/v1/session/node/node1"),
    get("/v1/session/node/node1?dc=nope"),
    put("/v1/session/node/node1"),
    get("/v1/session/info/"),
    get("/v1/session/info"),
    get("/v1/session/info/nope"),
    get(f"/v1/session/info/{UNKNOWN}"),
    get(f"/v1/session/info/{UNKNOWN}?index=999999&wait=20ms"),
    get(f"/v1/session/info/{UNKNOWN}?dc=nope"),
    get("/v1/session/info/" + "g" * 36),
    get("/v1/session/info/" + "a" * 36),
    get("/v1/session/info/" + "-" * 36),
    get(f"/v1/session/info/{UNKNOWN.upper()}"),
    put(f"/v1/session/info/{UNKNOWN}"),
    put("/v1/session/renew/"),
    put("/v1/session/renew"),
    put("/v1/session/renew/nope"),
    put(f"/v1/session/renew/{UNKNOWN}"),
    put(f"/v1/session/renew/{UNKNOWN}?dc=nope"),
    put(f"/v1/session/renew/{UNKNOWN}?ns=team"),
    get(f"/v1/session/renew/{UNKNOWN}"),
    put("/v1/session/destroy/"),
    put("/v1/session/destroy"),
    put("/v1/session/destroy/nope"),
    put(f"/v1/session/destroy/{UNKNOWN}"),
    put(f"/v1/session/destroy/{UNKNOWN}?dc=nope"),
    put(f"/v1/session/destroy/{UNKNOWN}?ns=team"),
    get(f"/v1/session/destroy/{UNKNOWN}"),
    delete(f"/v1/session/destroy/{UNKNOWN}"),
    Request("OPTIONS", CREATE),
    Request("OPTIONS", f"/v1/session/destroy/{UNKNOWN}"),
    Request("HEAD", "/v1/session/list"),
    Request("POST", CREATE),
    get(CREATE),
    get("/v1/session/"),
    get("/v1/session"),
    get("/v1/session/nope"),
    put(CREATE + "/"),
    put(CREATE + "?dc=nope"),
    put(CREATE + "?ns=team"),
    put(CREATE, b"", ("X-Consul-Namespace", "team")),
    put(CREATE, "{"),
    put(CREATE, "nonsense"),
    put(CREATE, "[]"),
    put(CREATE, "5"),
    put(CREATE, '"text"'),
    put(CREATE, "true"),
    put(CREATE, " "),
    put(CREATE, {"Nope": 1}),
    put(CREATE, {"Namespace": "team"}),
    put(CREATE, {"Node": "nobody"}),
    put(CREATE, {"Node": ""}),
    put(CREATE, {"Node": "NODE1"}),
    put(CREATE, {"Behavior": "nope"}),
    put(CREATE, {"Behavior": "Delete"}),
    put(CREATE, {"Behavior": ""}),
    put(CREATE, {"Checks": ["nope"]}),
    put(CREATE, {"NodeChecks": ["nope"]}),
    put(CREATE, {"ServiceChecks": [{"ID": "nope"}]}),
    put(CREATE, {"ServiceChecks": ["nope"]}),
    put(CREATE, {"Checks": ["serfHealth", "nope"], "NodeChecks": ["serfHealth"]}),
    *[
        put(CREATE, f'{{"{field}":{value}}}')
        for field in (
            "Name",
            "Node",
            "LockDelay",
            "Behavior",
            "TTL",
            "Checks",
            "NodeChecks",
            "ServiceChecks",
            "ID",
            "CreateIndex",
        )
        for value in ODD
    ],
    *[
        put(CREATE, {"TTL": ttl})
        for ttl in (
            "9s",
            "9999ms",
            "10s",
            "24h",
            "24h1ns",
            "86401s",
            "-10s",
            "0s",
            "0",
            "10",
            "x",
            "1d",
            "1h30m",
            " 10s",
            "15.5s",
            "1e3s",
            "10000000000ns",
        )
    ],
    *[
        put(CREATE, f'{{"LockDelay":{delay}}}')
        for delay in (
            "0",
            "1",
            "15",
            "999",
            "1000",
            "60",
            '"0s"',
            '"15s"',
            '"61s"',
            '"2m"',
            '"x"',
            '"15"',
            '"-1s"',
            "1e3",
            "15000000000",
            "9223372036854775807",
            "1e400",
        )
    ],
]
"""Ids of new sessions are random, so lists of several would come in another order: only few live at a time."""

FIELDS: list[Request | Step] = [
    create("plain"),
    *lives("plain"),
    get("/v1/session/info/$plain?pretty"),
    get("/v1/session/info/$plain?stale"),
    get("/v1/session/info/$plain?consistent"),
    get("/v1/session/info/$plain?index=1"),
    get("/v1/session/info/$plain?dc=dc1"),
    put("/v1/session/renew/$plain"),
    put("/v1/session/renew/$plain?pretty"),
    put("/v1/session/destroy/$plain"),
    put("/v1/session/destroy/$plain"),
    put("/v1/session/renew/$plain"),
    get("/v1/session/info/$plain"),
    create(
        "full",
        Name="my <session>",
        Node="node1",
        TTL="30s",
        Behavior="delete",
        LockDelay="5s",
        Checks=["serfHealth"],
        NodeChecks=["serfHealth"],
    ),
    *lives("full"),
    put("/v1/session/renew/$full"),
    put("/v1/session/renew/$full", "body is ignored"),
    put("/v1/session/destroy/$full?dc=dc1"),
    create("emptychecks", Checks=[]),
    *lives("emptychecks"),
    put("/v1/session/destroy/$emptychecks"),
    create("emptynode", NodeChecks=[]),
    *lives("emptynode"),
    put("/v1/session/destroy/$emptynode"),
    create("nullchecks", Checks=None, NodeChecks=None),
    *lives("nullchecks"),
    put("/v1/session/destroy/$nullchecks"),
    create("given", ID=UNKNOWN, CreateIndex=5, ModifyIndex=6),
    *lives("given"),
    put("/v1/session/destroy/$given"),
    create("folded", name="x", ttl="20s", lockdelay=3, NODECHECKS=["serfHealth"]),
    *lives("folded"),
    put("/v1/session/destroy/$folded"),
    create("cased", Node="NODE1"),
    *lives("cased"),
    put("/v1/session/destroy/$cased"),
]

LOCKS: list[Request | Step] = [
    create("a", LockDelay="0s", Name="a"),
    create("b", LockDelay="0s", Name="b", Behavior="delete"),
    put("/v1/kv/lock/x?acquire=$a", b"by a"),
    get("/v1/kv/lock/x"),
    put("/v1/kv/lock/x?acquire=$a", b"again"),
    get("/v1/kv/lock/x"),
    put("/v1/kv/lock/x?acquire=$b", b"by b"),
    put("/v1/kv/lock/x?release=$b", b"by b"),
    get("/v1/kv/lock/x"),
    put("/v1/kv/lock/x", b"anyone"),
    get("/v1/kv/lock/x"),
    put("/v1/kv/lock/x?cas=0", b"no"),
    put("/v1/kv/lock/x?release=$a&flags=5", b"released"),
    get("/v1/kv/lock/x"),
    put("/v1/kv/lock/x?release=$a", b"twice"),
    put("/v1/kv/lock/x?acquire=$b&flags=9", b"by b"),
    get("/v1/kv/lock/x"),
    put("/v1/kv/lock/none?release=$a", b""),
    put("/v1/kv/lock/bad?acquire=nope", b""),
    put("/v1/kv/lock/bad?acquire=" + UNKNOWN, b""),
    put("/v1/kv/lock/bad?release=" + UNKNOWN, b""),
    put("/v1/kv/lock/bad?release=nope", b""),
    put("/v1/kv/lock/bad?acquire=", b""),
    put("/v1/kv/?acquire=$a", b""),
    put("/v1/kv/lock/y?acquire=$a", b"y"),
    put("/v1/kv/lock/z?acquire=$a", b"z"),
    get("/v1/kv/lock/?recurse"),
    put("/v1/session/destroy/$a"),
    get("/v1/kv/lock/?recurse"),
    put("/v1/session/destroy/$b"),
    get("/v1/kv/lock/?recurse"),
    delete("/v1/kv/lock/?recurse"),
    create("c", LockDelay="60s"),
    create("d", LockDelay="60s"),
    put("/v1/kv/delayed?acquire=$c", b"c"),
    put("/v1/session/destroy/$c"),
    get("/v1/kv/delayed"),
    put("/v1/kv/delayed?acquire=$d", b"d"),
    put("/v1/txn", '[{"KV":{"Verb":"lock","Key":"delayed","Session":"$d"}}]'),
    put("/v1/kv/delayed", b"a plain write is free"),
    get("/v1/kv/delayed"),
    delete("/v1/kv/delayed"),
    put("/v1/kv/delayed?acquire=$d", b"d"),
    put("/v1/session/destroy/$d"),
    create("e"),
    put("/v1/kv/released?acquire=$e", b"e"),
    put("/v1/kv/released?release=$e", b"e"),
    create("f"),
    put("/v1/kv/released?acquire=$f", b"no delay after a release"),
    put("/v1/kv/deleted?acquire=$f", b"f"),
    delete("/v1/kv/deleted"),
    put("/v1/kv/deleted?acquire=$e", b"no delay after a delete"),
    put("/v1/session/destroy/$e"),
    put("/v1/session/destroy/$f"),
    delete("/v1/kv/released"),
    delete("/v1/kv/deleted"),
]

HOLDER = {"Node": "holder", "Address": "10.7.0.1", "Service": {"Service": "db"}}


def _holder(*checks: dict[str, str]) -> Request:
    return put("/v1/catalog/register", {**HOLDER, "Checks": [{"Name": "c", **check} for check in checks]})


def _ends(name: str, end: Request, key: str) -> list[Request | Step]:
    """A session that holds a key, what ends it, and what is left."""
    return [
        put(f"/v1/kv/{key}?acquire=${name}", b"held"),
        get(f"/v1/session/info/${name}"),
        get("/v1/session/node/holder"),
        end,
        get(f"/v1/session/info/${name}"),
        get("/v1/session/node/holder"),
        get(f"/v1/kv/{key}"),
        delete(f"/v1/kv/{key}"),
        put(f"/v1/session/destroy/${name}"),
    ]


_ALL = ({"CheckID": "n1", "Status": "passing"}, {"CheckID": "s1", "Status": "warning", "ServiceID": "db"})

ENDS: list[Request | Step] = [
    _holder(*_ALL),
    put(CREATE, {"Node": "holder"}),
    put(CREATE, {"Node": "holder", "Checks": ["n1", "s1", "nope"]}),
    create("node", Node="holder", NodeChecks=["n1"], LockDelay="0s"),
    *_ends("node", put("/v1/catalog/deregister", {"Node": "holder"}), "ends/node"),
    _holder(*_ALL),
    create("critical", Node="holder", NodeChecks=["n1"], LockDelay="0s", Behavior="delete"),
    *_ends("critical", _holder({"CheckID": "n1", "Status": "critical"}), "ends/critical"),
    put(CREATE, {"Node": "holder", "NodeChecks": ["n1"]}),
    put(CREATE, {"Node": "holder", "Checks": ["n1"]}),
    _holder(*_ALL),
    create("warning", Node="holder", NodeChecks=["n1"]),
    *_ends("warning", _holder({"CheckID": "n1", "Status": "warning"}), "ends/warning"),
    create("gone", Node="holder", Checks=["n1"], NodeChecks=["n1"], LockDelay="0s"),
    *_ends("gone", put("/v1/catalog/deregister", {"Node": "holder", "CheckID": "n1"}), "ends/gone"),
    _holder(*_ALL),
    create("service", Node="holder", NodeChecks=[], ServiceChecks=[{"ID": "s1"}], LockDelay="0s"),
    *_ends("service", _holder({"CheckID": "s1", "Status": "critical", "ServiceID": "db"}), "ends/service"),
    put(CREATE, {"Node": "holder", "NodeChecks": [], "ServiceChecks": [{"ID": "s1"}]}),
    _holder(*_ALL),
    create("deregistered", Node="holder", NodeChecks=[], ServiceChecks=[{"ID": "s1", "Namespace": ""}]),
    *_ends("deregistered", put("/v1/catalog/deregister", {"Node": "holder", "ServiceID": "db"}), "ends/deregistered"),
    create("nothing", Node="holder", NodeChecks=[], LockDelay="0s"),
    *_ends("nothing", _holder({"CheckID": "n1", "Status": "critical"}), "ends/nothing"),
    _holder(*_ALL),
    create("txn", Node="holder", NodeChecks=["n1"], LockDelay="0s"),
    *_ends(
        "txn",
        put("/v1/txn", '[{"Check":{"Verb":"set","Check":{"Node":"holder","CheckID":"n1","Status":"critical"}}}]'),
        "ends/txn",
    ),
    _holder(*_ALL),
    create("txnnode", Node="holder", NodeChecks=["n1"], LockDelay="0s"),
    *_ends("txnnode", put("/v1/txn", [{"Node": {"Verb": "delete", "Node": {"Node": "holder"}}}]), "ends/txnnode"),
    get("/v1/session/list"),
    get("/v1/catalog/nodes"),
]

SCRIPTS: dict[str, list[Request | Step]] = {
    "session fields": FIELDS,
    "session locks": LOCKS,
    "session ends": ENDS,
    "session creation": CREATION,
}
