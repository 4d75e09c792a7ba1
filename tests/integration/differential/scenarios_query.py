"""Prepared queries: definitions right and wrong, templates, execution with every filter. Answers with several
instances come in random order, so what is executed here finds one or none, or asks for distances there are none of."""

from __future__ import annotations

from typing import Any

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import delete, get, put
from tests.integration.differential.script import Step

PATH = "/v1/query"
MISSING = "/v1/query/11111111-2222-3333-4444-555555555555"


def post(body: Any, path: str = PATH) -> Request:
    made = put(path, body)
    return Request("POST", path, made.body)


def named(name: str, **service: Any) -> Request:
    return post({"Name": name, "Service": {"Service": "pq", **service}})


def template(name: str, regexp: str = "", remove: bool = False, **service: Any) -> Request:
    options = {"Type": "name_prefix_match", "Regexp": regexp, "RemoveEmptyTags": remove}
    return post({"Name": name, "Template": options, "Service": service})


def instance(node: str, number: int, **fields: Any) -> Request:
    check = fields.pop("check", "passing")
    node_meta = fields.pop("node_meta", {})
    return put(
        "/v1/catalog/register",
        {
            "Node": node,
            "Address": f"10.8.0.{number}",
            "NodeMeta": node_meta,
            "Service": {"ID": f"pq{number}", "Service": "pq", "Port": 8000 + number, **fields},
            "Checks": [{"CheckID": f"pq{number}", "Name": "c", "Status": check, "ServiceID": f"pq{number}"}],
        },
    )


BODIES = [
    get(PATH),
    get(PATH + "?pretty"),
    post(b""),
    post("{"),
    post("[]"),
    post("{}"),
    post("7"),
    post('"x"'),
    post({"Nope": 1}),
    post({"Namespace": "x"}),
    post({"Service": {"Nope": 1}}),
    post({"Service": {"Service": 7}}),
    post({"Service": {"Service": "pq"}}),
    post({"Service": {"Tags": "x"}}),
    post({"Service": {"Tags": [1]}}),
    post({"Service": {"NodeMeta": {"a": 1}}}),
    post({"Service": {"Failover": {"NearestN": "x"}}}),
    post({"Service": {"Failover": {"NearestN": 1.5}}}),
    post({"Service": []}),
    post({"Template": "x"}),
    post({"DNS": {"TTL": 10}}),
    post({"Name": 7}),
    post({"Name": "q"}),
    post({"Name": "q", "Service": {}}),
    post({"ID": "x", "Name": "q", "Service": {"Service": "pq"}}),
    post({"Name": "q", "Token": "<hidden>", "Service": {"Service": "pq"}}),
    named("q", Failover={"NearestN": -1}),
    named("q", NodeMeta={"": "x"}),
    named("q", NodeMeta={"a b": "x"}),
    named("q", NodeMeta={"k" * 129: "x"}),
    named("q", NodeMeta={"k": "x" * 513}),
    named("q", NodeMeta={f"k{n}": "x" for n in range(65)}),
    named("q", NodeMeta={"consul-x": "x"}, ServiceMeta={"a b": "x"}),
    get("/v1/query/q/explain"),
    named("q"),
    get(PATH),
    get(PATH + "?stale"),
    get(PATH + "?pretty"),
    get(PATH + "?consistent"),
    get(PATH + "?index=1"),
    get(PATH + "?index=999999&wait=20ms"),
    named("Q"),
    post({"Name": "bad-ttl", "Service": {"Service": "pq"}, "DNS": {"TTL": "x"}}),
    post({"Name": "bad-ttl", "Service": {"Service": "pq"}, "DNS": {"TTL": "10"}}),
    post({"Name": "bad-ttl", "Service": {"Service": "pq"}, "DNS": {"TTL": "-10s"}}),
    post({"Name": "session", "Session": "x", "Service": {"Service": "pq"}}),
    post({"Name": "session", "Session": "11111111-2222-3333-4444-555555555555", "Service": {"Service": "pq"}}),
    post({"Session": "11111111-2222-3333-4444-555555555555", "Service": {"Service": "pq"}}),
    post({"name": "lower", "service": {"service": "pq", "onlypassing": True}, "dns": {"ttl": "1m"}}),
    get("/v1/query/lower/explain"),
    post({"Name": "dc", "Service": {"Service": "pq"}}, PATH + "?dc=nope"),
    post({"Name": "ns", "Service": {"Service": "pq"}}, PATH + "?ns=team"),
    put(PATH, {"Name": "q"}),
    delete(PATH),
    Request("OPTIONS", PATH),
    Request("OPTIONS", PATH + "/x"),
    Request("OPTIONS", PATH + "/x/execute"),
    Request("HEAD", PATH),
    Request("POST", PATH + "/x"),
    Request("POST", PATH + "/x/execute"),
    put(PATH + "/x/execute"),
    delete(PATH + "/x/explain"),
    put(PATH + "/x/explain"),
    get(PATH + "?index=x"),
    get(PATH + "?dc=nope"),
    get(PATH + "?stale&consistent"),
]

ONE = [
    get(PATH + "/"),
    get(PATH + "/x"),
    get(MISSING),
    get(MISSING + "?dc=nope"),
    get(MISSING + "?index=5&wait=20ms"),
    get("/v1/query/11111111-2222-3333-4444-55555555555g"),
    get("/v1/query/q"),
    put(PATH + "/"),
    put(PATH + "/x", {"Name": "x"}),
    put(MISSING),
    put(MISSING, {"Name": "x"}),
    put(MISSING, "{"),
    put(MISSING, "null"),
    put(MISSING + "?dc=nope", {"Name": "x", "Service": {"Service": "x"}}),
    delete(PATH + "/"),
    delete(PATH + "/x"),
    delete(MISSING),
    delete(MISSING + "?dc=nope"),
    get(MISSING + "/execute"),
    get(MISSING + "/explain"),
    get("/v1/query//execute"),
    get("/v1/query/execute"),
    get("/v1/query/explain"),
    get("/v1/query/a/b/execute"),
    get("/v1/query/execute/execute"),
    get("/v1/query/q/execute?limit=x"),
    get("/v1/query/q/execute?limit=-1"),
    get("/v1/query/q/execute?limit=99999999999999999999"),
    get("/v1/query/q/execute?limit=+1"),
    get("/v1/query/q/execute?limit=-0"),
    get("/v1/query/q/execute?limit=" + "0" * 5000 + "1"),
    get("/v1/query/q/execute?connect=x"),
    get("/v1/query/q/execute?connect="),
    get("/v1/query/q/execute?connect=true"),
    get("/v1/query/q/execute?dc=nope"),
    get("/v1/query/q/execute?stale&consistent"),
    get("/v1/query/q/execute?index=x"),
    get("/v1/query/q/execute?near=x"),
    get("/v1/query/q/execute?pretty"),
    get("/v1/query/q/explain?limit=x"),
    get("/v1/query/q/explain?connect=x"),
    get("/v1/query/q/explain?stale"),
    get("/v1/query/q/explain?consistent"),
    get("/v1/query/q/explain?dc=nope"),
    get("/v1/query/none/execute"),
    get("/v1/query/none/explain"),
    get("/v1/query/none/execute?cached"),
]

EXECUTION = [
    instance("pq-a", 1, Tags=["Blue", "v1"], Meta={"env": "prod"}, node_meta={"rack": "1"}),
    instance("pq-b", 2, Tags=["green", "v2"], Meta={"env": "test"}, node_meta={"rack": "2"}, check="warning"),
    instance("pq-c", 3, Tags=["red"], check="critical"),
    named("passing", OnlyPassing=True),
    named("blue", Tags=["BLUE"]),
    named("not-blue", Tags=["!blue", "!red"]),
    named("both", Tags=["green", "v2", "!x"]),
    named("none", Tags=["nope"]),
    named("rack", NodeMeta={"rack": "1"}),
    named("rack3", NodeMeta={"rack": "3"}),
    named("env", ServiceMeta={"env": "test"}),
    named("ignored", IgnoreCheckIDs=["pq3"], Tags=["red"]),
    named("connect", Connect=True),
    named("failover", Tags=["nope"], Failover={"NearestN": 3, "Datacenters": ["dc2", "dc1", "dc2"]}),
    named("near", Near="pq-a", Tags=["blue"]),
    named("near-agent", Near="_agent", Tags=["blue"]),
    named("near-ip", Near="_ip", Tags=["blue"]),
    post({"Name": "ttl", "Service": {"Service": "nothing"}, "DNS": {"TTL": "1m30s"}, "Token": "secret"}),
    *(
        get(f"/v1/query/{name}/execute")
        for name in (
            "passing", "BLUE", "not-blue", "both", "none", "rack", "rack3", "env", "ignored", "connect", "failover",
            "near", "near-agent", "near-ip", "ttl",
        )
    ),
    get("/v1/query/ttl/explain"),
    get("/v1/query/ttl/explain?pretty"),
    get("/v1/query/failover/explain"),
    get("/v1/query/passing/execute?stale"),
    get("/v1/query/passing/execute?consistent"),
    get("/v1/query/passing/execute?stale&max_stale=1s"),
    get("/v1/query/passing/execute?near=_agent"),
    get("/v1/query/passing/execute?near=_ip"),
    get("/v1/query/passing/execute?near=pq-a&limit=1"),
    get("/v1/query/passing/execute?limit=0"),
    get("/v1/query/passing/execute?cached"),
    get("/v1/query/passing/execute?cached"),
    get("/v1/query/passing/execute?cached&limit=1"),
    get("/v1/query/passing/execute?cached&stale"),
    get("/v1/query/passing/execute?cached&consistent"),
    get("/v1/query/passing/explain?cached"),
    get("/v1/query/passing/execute?connect=1"),
    get("/v1/query/passing/execute?passing"),
    get("/v1/query/passing/execute?ns=team"),
    get("/v1/query/passing/execute?token=unknown"),
    get("/v1/query/passing/execute", ("X-Forwarded-For", "10.8.0.1")),
    get("/v1/query/q/execute?near=pq-a&limit=1", shape=True),
    get("/v1/query/q/execute", shape=True),
]  # fmt: skip

TEMPLATES = [
    template("bad"),
    post({"Name": "bad", "Template": {"Type": "x"}, "Service": {"Service": "pq"}}),
    post({"Template": {"Type": "x"}, "Service": {"Service": "pq"}}),
    template("bad", "(", Service="pq"),
    template("bad", "[z-a]", Service="pq"),
    template("bad", "a**", Service="pq"),
    template("bad", r"\8", Service="pq"),
    template("bad", "(?P<n", Service="pq"),
    *(
        template("bad", "", Service=text)
        for text in (
            "${", "${}", "${name.full", "${nope}", "${match}", "${match()}", "${match(1, 2)}", "${match(\"x\")}",
            "${name.full[0]}", "${name[0]}", "${unknown(1)}", "${1 2}", "${\"open}", "a ${name.full} ${bad.name} b",
            "${5 % 1.5}", "${name.full + 1}", "${name.full + 1.5}", "line\n ${nope}", "${09}", "${#}",
            "${ \t nope }", "${(name.full}", "${match(,)}", "${99999999999999999999}",
        )
    ),
    template("bad", "", Service="pq", Tags=["${nope}"]),
    template("bad", "", Service="pq", Failover={"Datacenters": ["a", "${nope}"]}),
    template("bad", "", Service="pq", NodeMeta={"a": "${nope}"}),
    template("bad", "", Service="pq", ServiceMeta={"a": "${nope}"}),
    template("bad", "", Service="pq", IgnoreCheckIDs=["${nope}"]),
    template("bad", "", Service="pq", Near="${nope}"),
    template(
        "geo-",
        "^geo-(.*?)-([^\\-]+?)$",
        True,
        Service="${match(1)}",
        Tags=["${match(2)}", "${match(3)}", "${match(-1)}", "x-${name.suffix}"],
        Near="${name.prefix}",
        NodeMeta={"a": "${name.full}", "consul-x": "${agent.segment}"},
        ServiceMeta={"m": "$${match(1)} $$ ${match(2)}"},
        IgnoreCheckIDs=["${match(0)}"],
        Failover={"NearestN": 2, "Datacenters": ["${match(2)}"]},
    ),
    get("/v1/query/geo-db-blue/explain"),
    get("/v1/query/geo-db-x-blue/explain?pretty"),
    get("/v1/query/GEO-db-blue/explain"),
    get("/v1/query/geo-/explain"),
    get("/v1/query/geo-x/execute"),
    get("/v1/query/geo/explain"),
    template("geo-db-", "", Service="longer ${name.suffix}"),
    get("/v1/query/geo-db-blue/explain"),
    get("/v1/query/geo-db/explain"),
    template("GEO-DB-", "", Service="pq"),
    template("bad", "", Service="${1e3}"),
    template("sum", "", Service="${1 + 2 * 3}/${-4 + 1}/${7 / 2}/${-7 / 2}/${-7 % 3}/${1.5 * 2}/${1 + 1.9}"),
    get("/v1/query/summary/explain"),
    template("bad", "", Service="${match(match(9))}"),
    template("nested", "(a)(b)?", Service="${\"x ${match(0)} \\\"y\\\" \\n ${\"z\"}\" }|${match(1 + 1)}|${match(9)}"),
    get("/v1/query/nested-ab/explain"),
    template("", "", Service="anything ${name.full}"),
    template("", "", Service="twice"),
    get("/v1/query/whatever/explain"),
    get("/v1/query/whatever/execute"),
    get("/v1/query/passing/explain"),
    get("/v1/query/geo/explain"),
]  # fmt: skip


def kept(name: str, body: Any) -> Step:
    """A query whose id is kept under `name`."""
    return Step(post(body), (name, lambda answer: answer["ID"]))


LIFE: list[Request | Step] = [
    kept("one", {"Name": "life", "Service": {"Service": "pq", "Tags": ["a"]}, "DNS": {"TTL": "5s"}}),
    get("/v1/query/$one"),
    get("/v1/query/$one?pretty"),
    get("/v1/query/$one?stale"),
    get("/v1/query/$one?consistent"),
    get("/v1/query/$one?index=1"),
    get("/v1/query/$one?index=999999&wait=20ms"),
    get("/v1/query/$one/execute"),
    get("/v1/query/$one/explain"),
    put("/v1/query/$one", {"Name": "life", "Service": {"Service": "other"}}),
    get("/v1/query/$one"),
    put("/v1/query/$one", {"ID": "ignored", "Name": "renamed", "Service": {"Service": "other"}}),
    get("/v1/query/life/explain"),
    get("/v1/query/RENAMED/explain"),
    put("/v1/query/$one"),
    put("/v1/query/$one", {}),
    put("/v1/query/$one", {"Name": "renamed"}),
    put("/v1/query/$one", {"Nope": 1}),
    post({"Name": "renamed", "Service": {"Service": "x"}}),
    post({"Name": "$one", "Service": {"Service": "x"}}),
    put("/v1/query/$one", {"Name": "$one", "Service": {"Service": "x"}}),
    kept("two", {"Name": "second", "Service": {"Service": "x"}}),
    put("/v1/query/$two", {"Name": "renamed", "Service": {"Service": "x"}}),
    put("/v1/query/$two", {"Name": "Second", "Service": {"Service": "y"}}),
    kept("three", {"Name": "tpl", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${name.suffix}"}}),
    get("/v1/query/$three/execute"),
    get("/v1/query/$three/explain"),
    get("/v1/query/$three"),
    put("/v1/query/$three", {"Name": "plain", "Service": {"Service": "x"}}),
    get("/v1/query/tplx/explain"),
    get("/v1/query/plain/explain"),
    delete("/v1/query/$three"),
    delete("/v1/query/$three"),
    get("/v1/query/$three"),
    delete("/v1/query/$two"),
    delete("/v1/query/$one"),
    get("/v1/query/renamed/execute"),
    get(PATH),
]

SESSIONS: list[Request | Step] = [
    Step(put("/v1/session/create", {"Name": "s"}), ("s", lambda answer: answer["ID"])),
    kept("bound", {"Session": "$s", "Service": {"Service": "pq"}}),
    get("/v1/query/$bound"),
    get("/v1/query/$bound/execute"),
    put("/v1/query/$bound", {"Name": "bound", "Session": "$s", "Service": {"Service": "pq"}}),
    kept("free", {"Name": "free", "Session": "$s", "Service": {"Service": "pq"}}),
    put("/v1/query/$free", {"Name": "free", "Service": {"Service": "pq"}}),
    put("/v1/session/destroy/$s"),
    get("/v1/query/$bound"),
    get("/v1/query/bound/execute"),
    get("/v1/query/$free"),
    put("/v1/query/$free", {"Name": "free", "Session": "$s", "Service": {"Service": "pq"}}),
    get(PATH),
    delete("/v1/query/$free"),
    get(PATH),
]

SCRIPTS = {"life": LIFE, "sessions": SESSIONS}

SCENARIOS = {
    "query bodies": BODIES,
    "query one": ONE,
    "query execution": EXECUTION,
    "query templates": TEMPLATES,
}
