"""The two promises made to readers, under any sequence of commands:

unchanged versions mean an unchanged answer, index included (response caches live on it);
an answer with a new value was announced by a topic of its watch (blocking queries live on it)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.state.answer import Answer
from shared.state.queries import catalog, coordinate, health, internal, kv, operator, session
from shared.state.snapshot import Snapshot
from shared.state.watch import WatchHub
from shared.structs.catalog import HealthCheck, Node, NodeService, RegisterRequest
from shared.structs.kv import DirEntry
from shared.structs.operator import AutopilotConfig, AutopilotSetConfigRequest
from shared.structs.proxy import ConnectProxyConfig, ServiceConnect
from shared.structs.session import Session
from shared.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnServiceOp, TxnSessionOp
from tests.unit.fsm.fsm_driver import N1, N2, S1, S2, Driver, driver

NODES = ["n1", "N1", "n2"]
SERVICES = ["web", "Web", "db"]
KEYS = ["a", "a/b", "b"]

QUERIES: list[Callable[[Snapshot], Answer[Any]]] = [
    *(lambda s, k=k: kv.get(s, k) for k in KEYS),
    *(lambda s, p=p: kv.tree(s, p) for p in ("", "a", "a/", "zz")),
    lambda s: kv.keys(s, "", "/"),
    catalog.nodes,
    lambda s: catalog.nodes(s, {"r": "1"}),
    lambda s: catalog.node(s, "n1"),
    lambda s: catalog.node_by_id(s, N1),
    catalog.services,
    lambda s: catalog.services(s, {"r": "1"}),
    catalog.service_list,
    *(lambda s, n=n: catalog.service_nodes(s, n) for n in SERVICES),
    lambda s: catalog.service_nodes(s, "web", ["a"], {"r": "1"}),
    lambda s: catalog.service_nodes(s, "db", connect=True),
    lambda s: catalog.service_address_nodes(s, "1.2.3.4"),
    *(lambda s, n=n: catalog.node_services(s, n) for n in ("n1", "n2", "nope", "bb")),
    lambda s: catalog.node_service_list(s, "n1"),
    lambda s: health.node_checks(s, "n1"),
    lambda s: health.service_checks(s, "web"),
    lambda s: health.service_checks(s, "web", {"r": "1"}),
    *(lambda s, state=state: health.checks_in_state(s, state) for state in ("any", "critical", "passing")),
    lambda s: health.checks_in_state(s, "critical", {"r": "1"}),
    *(lambda s, n=n: health.service_nodes(s, n) for n in SERVICES),
    lambda s: health.service_nodes(s, "db", connect=True),
    lambda s: health.service_nodes(s, "web", ["a"], {"r": "1"}),
    lambda s: session.get(s, S1),
    session.all_sessions,
    lambda s: session.node_sessions(s, "n1"),
    lambda s: internal.node_info(s, "n1"),
    internal.node_dump,
    internal.service_dump,
    lambda s: internal.service_dump(s, ""),
    lambda s: internal.service_dump(s, "connect-proxy"),
    coordinate.nodes,
    lambda s: coordinate.node(s, "n1"),
    operator.autopilot_config,
]

nodes, names, ids = st.sampled_from(NODES), st.sampled_from(SERVICES), st.sampled_from(["s1", "S1", "s2"])
metas = st.sampled_from([None, {}, {"r": "1"}])
services = st.builds(
    lambda i, name, tags, kind, address: NodeService(
        id=i,
        service=name,
        tags=tags,
        address=address,
        kind="connect-proxy" if kind == "proxy" else "",
        proxy=ConnectProxyConfig(destination_service_name="db" if kind == "proxy" else ""),
        connect=ServiceConnect(native=kind == "native"),
    ),
    ids,
    names,
    st.sampled_from([None, ["a"], ["A", "b"]]),
    st.sampled_from(["", "", "proxy", "native"]),
    st.sampled_from(["", "1.2.3.4"]),
)
checks = st.builds(
    lambda i, status, service, kind: HealthCheck(check_id=i, name=i, status=status, service_id=service, type=kind),
    st.sampled_from(["c1", "c2", "serfHealth"]),
    st.sampled_from(["passing", "warning", "critical"]),
    st.sampled_from(["", "", "s1", "s2"]),
    st.sampled_from(["", "ttl"]),
)


def registration(node: str, node_id: str, meta: Any, service: NodeService | None, found: list[HealthCheck]) -> Any:
    request = RegisterRequest("dc1", node_id, node, "10.0.0.1", None, meta, service)
    request.checks = [check.replace(node=node) for check in found]
    return lambda fsm: fsm.command(0, request)


def transaction(node: str, service: NodeService, check: HealthCheck, key: str, verb: str) -> Any:
    operations = [
        TxnOp(kv=TxnKVOp("set", DirEntry(key=key, value=b"t"))),
        TxnOp(service=TxnServiceOp(verb, node, service)),
        TxnOp(check=TxnCheckOp(verb, check.replace(node=node))),
        TxnOp(node=TxnNodeOp(verb, Node(node=node, address="10.9.9.9"))),
    ]
    return lambda fsm: fsm.txn(*operations)


def coordinates(node: str, height: float) -> Any:
    from shared.structs import wire

    raw = {"Vec": [0.0] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": height}
    return lambda fsm: fsm.command(134, wire.pack([{"Node": node, "Segment": "", "Coord": raw}]))


commands = st.one_of(
    st.builds(
        registration,
        nodes,
        st.sampled_from(["", N1, N2]),
        metas,
        st.none() | services,
        st.lists(checks, max_size=2),
    ),
    st.builds(
        lambda n, s, c: lambda fsm: fsm.deregister(n, s, c),
        nodes,
        st.sampled_from(["", "s1"]),
        st.sampled_from(["", "c1"]),
    ),
    st.builds(
        lambda op, k, v, sid: lambda fsm: fsm.kv(op, k, v, session=sid if op in ("lock", "unlock") else ""),
        st.sampled_from(["set", "delete", "delete-tree", "lock", "unlock", "cas"]),
        st.sampled_from(KEYS),
        st.sampled_from([None, b"1"]),
        st.sampled_from([S1, S2]),
    ),
    st.builds(
        lambda sid, n, c, b: lambda fsm: fsm.session(sid, n, node_checks=c, behavior=b),
        st.sampled_from([S1, S2]),
        nodes,
        st.sampled_from([None, ["c1"]]),
        st.sampled_from(["release", "delete"]),
    ),
    st.builds(lambda sid: lambda fsm: fsm.destroy(sid), st.sampled_from([S1, S2])),
    st.builds(lambda: lambda fsm: fsm.reap(fsm.index - 2)),
    st.builds(transaction, nodes, services, checks, st.sampled_from(KEYS), st.sampled_from(["set", "delete", "cas"])),
    st.builds(
        lambda sid: lambda fsm: fsm.txn(TxnOp(session=TxnSessionOp("delete", Session(id=sid)))),
        st.sampled_from([S1, S2]),
    ),
    st.builds(coordinates, nodes, st.sampled_from([1e-5, 2.0])),
    st.builds(
        lambda cas: lambda fsm: fsm.command(9, AutopilotSetConfigRequest("dc1", AutopilotConfig(), cas)), st.booleans()
    ),
)


@given(script=st.lists(commands, max_size=14))
def test_versions_and_topics_tell_of_every_change(script: list[Callable[[Driver], Any]]) -> None:
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        fsm.register("n1")
        for run in script:
            with fsm.store.snapshot() as snap:
                before = [(answer, snap.versions(answer.watch)) for answer in (query(snap) for query in QUERIES)]
            hub, woken = WatchHub(), set()
            for at, (answer, _versions) in enumerate(before):
                hub.register(answer.watch, lambda at=at, woken=woken: woken.add(at))
            run(fsm)
            hub.notify(fsm.topics)
            with fsm.store.snapshot() as snap:
                for at, query in enumerate(QUERIES):
                    old, versions = before[at]
                    new = query(snap)
                    if snap.versions(old.watch) == versions:
                        assert new == old, f"query {at}: an answer changed under unchanged versions"
                    if new.value != old.value:
                        assert at in woken, f"query {at}: a new answer was not announced: {fsm.topics}"
