"""What an application does with a Python client of Consul: prints a JSON object of step -> result.

    PYTHONPATH=<where the client is> python python_session.py HOST PORT

py-consul and python-consul2 are children of the same library; where they differ, the step asks which it has."""

from __future__ import annotations

import base64
import json
import sys
import threading
import time

import consul

HOST, PORT = sys.argv[1], int(sys.argv[2])
PATIENCE_S = 30
NEVER = "100000h"  # a check is tried for the first time after a random part of its interval
client = consul.Consul(host=HOST, port=PORT)
results = {}
NODE = client.agent.self()["Config"]["NodeName"]
MODERN = not hasattr(client.config, "put")


def plain(value):
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def step(name, action, /, *arguments, **options):
    """Keeps the result or the error; an index is only kept as being there."""
    assert name not in results, name
    try:
        value = action(*arguments, **options)
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], (int, str)):
            value = ("index" if int(value[0] or 0) > 0 else value[0], value[1])
    except consul.ConsulException as error:
        value = f"{type(error).__name__}: {error}"
    results[name] = plain(value)
    return value


def until(name, action, condition):
    """Asks until the answer is as wanted, and keeps that one."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition(action()):
        if time.monotonic() > deadline:
            raise SystemExit(f"{name}: waited {PATIENCE_S} s in vain, last answer: {action()}")
        time.sleep(0.05)
    return step(name, action)


def keys_and_values():
    kv = client.kv
    step("kv missing", kv.get, "app/none")
    step("kv put", kv.put, "app/a", "one")
    step("kv put bytes", kv.put, "app/b/c", bytes(range(256)))
    step("kv flags", kv.put, "app/f", "x", flags=42)
    step("kv empty", kv.put, "app/empty", "")
    step("kv unicode", kv.put, "app/\u00e9 \u2603", "snow")
    step("kv get", kv.get, "app/a")
    step("kv get flags", kv.get, "app/f")
    step("kv get consistent", kv.get, "app/a", consistency="consistent")
    step("kv get stale", kv.get, "app/a", consistency="stale")
    step("kv recurse", kv.get, "app/", recurse=True)
    step("kv keys", kv.get, "app/", keys=True)
    step("kv keys to a separator", kv.get, "app/", keys=True, separator="/")
    step("kv cas of nothing", kv.put, "app/cas", "first", cas=0)
    step("kv cas in vain", kv.put, "app/cas", "again", cas=0)
    index = kv.get("app/cas")[1]["ModifyIndex"]
    step("kv cas", kv.put, "app/cas", "second", cas=index)
    step("kv delete cas in vain", kv.delete, "app/cas", cas=index)
    step("kv delete", kv.delete, "app/cas")
    step("kv delete tree", kv.delete, "app/b/", recurse=True)
    step("kv rest", kv.get, "app/", recurse=True)
    step("kv unknown datacenter", kv.get, "app/a", dc="nowhere")


def waiting():
    index, _ = client.kv.get("app/a")
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(client_of_its_own().kv.get("app/a", index=index, wait="60s"))
    )
    waiter.start()
    time.sleep(0.2)  # nothing changes meanwhile, so nothing may be answered
    step("wait not yet", lambda: len(answers))
    client.kv.put("app/a", "two")
    waiter.join(PATIENCE_S)
    step("wait over", lambda: (int(int(answers[0][0]) > int(index)), answers[0][1]["Value"]))
    step("wait in vain", lambda: client.kv.get("app/a", index=client.kv.get("app/a")[0], wait="50ms")[1]["Value"])


def client_of_its_own():
    return consul.Consul(host=HOST, port=PORT)


def catalog_and_health():
    catalog, health = client.catalog, client.health
    service = {"Service": "db", "Tags": ["main", "v2"], "ID": "db-1", "Port": 5432}
    check = {"Name": "alive", "CheckID": "db:alive", "Status": "passing", "ServiceID": "db-1"}
    step(
        "catalog register", catalog.register, "db1", "10.1.1.1", service=service, check=check, node_meta={"rack": "r1"}
    )
    other = {"Service": "db", "ID": "db-2", "Port": 5433}
    bad = {"Name": "alive", "CheckID": "db:alive", "Status": "critical", "ServiceID": "db-2"}
    step("catalog register another", catalog.register, "db2", "10.1.1.2", service=other, check=bad)
    step("catalog nodes", lambda: [node["Node"] for node in catalog.nodes()[1]])
    step("catalog nodes by meta", lambda: [node["Node"] for node in catalog.nodes(node_meta={"rack": "r1"})[1]])
    step("catalog services", lambda: {name: sorted(tags) for name, tags in catalog.services()[1].items()})
    step("catalog service", catalog.service, "db")
    step("catalog service by tag", catalog.service, "db", tag="main")
    step("catalog service none", catalog.service, "nothing")
    step("catalog node", catalog.node, "db1")
    step("catalog node none", catalog.node, "nothing")
    step("catalog datacenters", catalog.datacenters)
    step("health service", health.service, "db")
    step("health service passing", health.service, "db", passing=True)
    step("health checks", health.checks, "db")
    step("health state", health.state, "critical")
    step("health node", health.node, "db1")
    step("catalog deregister check", catalog.deregister, "db2", check_id="db:alive")
    step("health after", health.service, "db", passing=True)
    step("catalog deregister service", catalog.deregister, "db2", service_id="db-2")
    step("catalog deregister", catalog.deregister, "db2")
    step("catalog after", catalog.service, "db")


def services_of_the_agent():
    agent, health = client.agent, client.health
    ttl = consul.Check.ttl("60s")
    step("agent register", agent.service.register, "web", service_id="web-1", port=80, tags=["a", "b"], check=ttl)
    step("agent register http", agent.service.register, "web", service_id="web-2", address="10.2.2.2", port=81,
         check=consul.Check.http("http://127.0.0.1:1/", NEVER, timeout="1s"))  # fmt: skip
    step("agent services", agent.services)
    until("agent in the catalog", lambda: sorted(each["ServiceID"] for each in client.catalog.service("web")[1]),
          lambda found: found == ["web-1", "web-2"])  # fmt: skip
    step(
        "agent check", agent.check.register, "load", check=consul.Check.ttl("60s"), check_id="load", notes="of the node"
    )
    step("agent check of the node passes", agent.check.ttl_pass, "load")
    for name in ("ttl_warn", "ttl_fail", "ttl_pass"):
        step(f"agent {name}", getattr(agent.check, name), "service:web-1", notes=f"says {name}")
        step(f"agent checks after {name}", agent.checks)
    step("agent ttl of nobody", agent.check.ttl_pass, "nobody")
    until("agent health", lambda: [each["Service"]["ID"] for each in health.service("web", passing=True)[1]],
          lambda found: found == ["web-1"])  # fmt: skip
    step("agent service maintenance", agent.service.maintenance, "web-1", True, "a reason")
    until("agent service under maintenance", lambda: health.service("web", passing=True)[1], lambda found: not found)
    step("agent service maintenance over", agent.service.maintenance, "web-1", False)
    step("agent maintenance", agent.maintenance, True, "why")
    step("agent checks under maintenance", lambda: sorted(agent.checks()))
    step("agent maintenance over", agent.maintenance, False)
    step("agent check deregister", agent.check.deregister, "load")
    step("agent service deregister", agent.service.deregister, "web-1")
    step("agent service deregister again", agent.service.deregister, "web-2")
    until("agent gone", lambda: client.catalog.service("web")[1], lambda found: not found)
    step("agent members", lambda: [(each["Name"], each["Status"]) for each in agent.members()])
    step("agent self", lambda: sorted(set(agent.self()) - {"xDS"}))


def sessions_and_locks():
    session, kv = client.session, client.kv
    first = session.create(name="first", lock_delay=0, ttl=60)
    second = session.create(name="second", lock_delay=0, behavior="delete")
    step("session info", lambda: without_index(session.info(first)))
    step("session list", lambda: sorted(each["Name"] for each in session.list()[1]))
    step("session node", lambda: sorted(each["Name"] for each in session.node(NODE)[1]))
    step("session renew", session.renew, first)
    step("lock", kv.put, "lock/x", "first", acquire=first)
    step("lock held", kv.put, "lock/x", "second", acquire=second)
    step("lock shown", kv.get, "lock/x")
    step("lock released", kv.put, "lock/x", "free", release=first)
    step("lock taken", kv.put, "lock/x", "second", acquire=second)
    step("session destroy", session.destroy, second)
    step("lock deleted with its holder", kv.get, "lock/x")
    step("session destroy first", session.destroy, first)
    step("session destroyed", session.info, first)
    step("session renew in vain", session.renew, first)
    step("session of nobody", session.create, node="nobody")


def without_index(answer):
    return {key: value for key, value in answer[1].items() if not key.endswith("Index")}


def transactions():
    value = base64.b64encode(b"v").decode()
    good = [{"KV": {"Verb": "set", "Key": "txn/a", "Value": value}}, {"KV": {"Verb": "get", "Key": "txn/a"}}]
    step("txn", client.txn.put, good)
    bad = [
        {"KV": {"Verb": "set", "Key": "txn/b", "Value": value}},
        {"KV": {"Verb": "check-not-exists", "Key": "txn/a"}},
    ]
    step("txn rolled back", client.txn.put, bad)
    step("txn left nothing", client.kv.get, "txn/b")


def events():
    step("event fire", lambda: without_id(client.event.fire("deploy", "now")))
    until("event list", lambda: [(each["Name"], each["Payload"]) for each in client.event.list("deploy")[1]], bool)
    step("event list others", client.event.list, "nothing")


def without_id(event):
    return {key: value for key, value in event.items() if key not in ("ID", "LTime")}


def queries():
    query = client.query
    made = query.create("db", name="find-db", onlypassing=True, tags=["main"], ttl="10s")["ID"]
    step("query list", query.list)
    step("query get", query.get, made)
    step("query execute", query.execute, "find-db")
    step("query explain", query.explain, made)
    step("query twice", query.create, "db", name="find-db")
    # python-consul2 refuses to update without a name of its own
    step("query update", query.update, made, service="db", name="find-db-2")
    step("query execute by id", query.execute, made, limit=1)
    step("query delete", query.delete, made)
    step("query execute none", query.execute, "find-db")


def coordinates():
    step("coordinate datacenters", lambda: [each["Datacenter"] for each in client.coordinate.datacenters()])
    step("coordinate nodes", lambda: {each["Node"] for each in client.coordinate.nodes()[1]} <= {NODE})
    if MODERN:
        place = {"Vec": [0.25] * 8, "Error": 0.5, "Adjustment": 0.0, "Height": 0.001}
        step("coordinate update", client.coordinate.update, "db1", place)
        until(
            "coordinate of db1",
            lambda: [each["Node"] for each in client.coordinate.nodes()[1] if each["Node"] == "db1"],
            bool,
        )
        step("coordinate node", client.coordinate.node, "db1")


def entries():
    entry = {"Kind": "service-defaults", "Name": "db", "Protocol": "tcp"}
    if MODERN:
        step("config put", client.config.set, "service-defaults", "db", {"Protocol": "tcp"})
    else:
        step("config put", client.config.put, json.dumps(entry))
    step("config get", client.config.get, "service-defaults", "db")
    step("config list", client.config.list, "service-defaults")
    step("config delete", client.config.delete, "service-defaults", "db")


def snapshots():
    if MODERN:
        saved = client.snapshot.save()
        step("snapshot", lambda: saved[:2] == b"\x1f\x8b")
        client.kv.put("app/later", "x")
        step("snapshot restore", client.snapshot.restore, saved)
        until("snapshot took it back", lambda: client.kv.get("app/later")[1], lambda found: found is None)


def operators():
    step("operator", lambda: [each["Leader"] for each in client.operator.raft_config()["Servers"]])
    step("status leader", client.status.leader)
    step("status peers", client.status.peers)


for part in (keys_and_values, waiting, catalog_and_health, services_of_the_agent, sessions_and_locks, transactions,
             events, queries, coordinates, entries, snapshots, operators):  # fmt: skip
    part()
print(json.dumps(results))
