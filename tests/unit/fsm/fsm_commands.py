"""Commands of every family as hypothesis draws them, and the questions whose answers must stay right.

A command is a function of a Driver (or of a Recorder, which notes what is sent instead of applying it)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from services.raft_node.fsm.machine import Entry
from shared.state.answer import Answer
from shared.state.queries import (
    catalog,
    coordinate,
    health,
    internal,
    kv,
    operator,
    session,
)
from shared.state.queries import (
    config_entry as config_entries,
)
from shared.state.queries import (
    prepared_query as prepared_queries,
)
from shared.state.snapshot import Snapshot
from shared.structs import wire
from shared.structs.catalog import HealthCheck, Node, NodeService, RegisterRequest
from shared.structs.config_entry import (
    KINDS,
    ConfigEntry,
    IngressGateway,
    IngressListener,
    IngressService,
    LinkedService,
    ProxyDefaults,
    ResolverRedirect,
    RouteDestination,
    ServiceDefaults,
    ServiceResolver,
    ServiceRoute,
    ServiceRouter,
    ServiceSplit,
    ServiceSplitter,
    TerminatingGateway,
)
from shared.structs.config_entry_rules import normalize
from shared.structs.config_entry_wire import (
    ConfigEntryRequest,
    ServiceConfigRequest,
)
from shared.structs.kv import DirEntry
from shared.structs.operator import AutopilotConfig, AutopilotSetConfigRequest
from shared.structs.prepared_query import (
    PreparedQuery,
    PreparedQueryRequest,
    QueryTemplateOptions,
    ServiceQuery,
)
from shared.structs.proxy import ConnectProxyConfig, ServiceConnect
from shared.structs.session import Session
from shared.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnServiceOp, TxnSessionOp
from tests.unit.fsm.fsm_driver import N1, N2, S1, S2, Driver

Command = Callable[[Driver], Any]

NODES = ["n1", "N1", "n2"]
SERVICES = ["web", "Web", "db"]
KEYS = ["a", "a/b", "b"]
Q1, Q2 = "abcdabcd-0000-0000-0000-000000000001", "abcdabcd-0000-0000-0000-000000000002"

QUERIES: list[Callable[[Snapshot], Answer[Any]]] = [
    *(lambda s, k=k: kv.get(s, k) for k in KEYS),
    *(lambda s, p=p: kv.tree(s, p) for p in ("", "a", "a/", "zz")),
    lambda s: kv.keys(s, "", "/"),
    catalog.nodes,
    lambda s: catalog.nodes(s, {"r": "1"}),
    lambda s: catalog.node(s, "n1"),
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
    *(lambda s, q=q: prepared_queries.get(s, q) for q in (Q1, Q2)),
    prepared_queries.queries,
    config_entries.entries,
    lambda s: config_entries.entries(s, "service-defaults"),
    *(lambda s, n=n: config_entries.get(s, "service-defaults", n) for n in SERVICES),
    lambda s: config_entries.get(s, "proxy-defaults", "global"),
    lambda s: config_entries.service_config(s, ServiceConfigRequest(name="web", upstreams=["db"])),
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


# Transactions -----------------------------------------------------------------------------------------------

VERBS = ["get", "set", "cas", "delete", "delete-cas", "odd"]
KV_READS = ["get", "get-tree", "check-index", "check-session", "check-not-exists"]
KV_VERBS = ["set", "cas", "delete", "delete-cas", "delete-tree", "lock", "unlock", "odd", *KV_READS]
guesses = st.integers(0, 30)
"""Indexes to compare with: sometimes right, since tests begin at 11."""
kv_operations = st.builds(
    lambda verb, key, value, sid, index: TxnOp(
        kv=TxnKVOp(verb, DirEntry(key=key, value=value, session=sid, modify_index=index))
    ),
    st.sampled_from(KV_VERBS),
    st.sampled_from(KEYS),
    st.sampled_from([None, b"1", b"2"]),
    st.sampled_from(["", S1, S2]),
    guesses,
)
catalog_operations = st.one_of(
    st.builds(
        lambda verb, name, node_id, address, index: TxnOp(
            node=TxnNodeOp(verb, Node(node=name, id=node_id, address=address, modify_index=index))
        ),
        st.sampled_from(VERBS),
        nodes,
        st.sampled_from(["", N1]),
        st.sampled_from(["10.0.0.1", "10.9.9.9"]),
        guesses,
    ),
    st.builds(
        lambda verb, on, service, index: TxnOp(service=TxnServiceOp(verb, on, service.replace(modify_index=index))),
        st.sampled_from(VERBS),
        nodes,
        services,
        guesses,
    ),
    st.builds(
        lambda verb, on, check, index: TxnOp(check=TxnCheckOp(verb, check.replace(node=on, modify_index=index))),
        st.sampled_from(VERBS),
        nodes,
        checks,
        guesses,
    ),
    st.builds(
        lambda verb, sid: TxnOp(session=TxnSessionOp(verb, Session(id=sid))),
        st.sampled_from(["delete", "odd"]),
        st.sampled_from([S1, S2]),
    ),
)
operations = st.lists(kv_operations | catalog_operations, min_size=1, max_size=3)
transactions = st.builds(lambda made: lambda fsm: fsm.txn(*made), operations)
commands = commands | transactions


# Families that are stored but not served --------------------------------------------------------------------

MANY = {17: ("Tokens", "SecretID"), 19: ("Policies", "ID"), 23: ("Roles", "ID"), 25: ("BindingRules", "ID")}
MANY[27] = ("AuthMethods", "Name")
"""Message type -> field of the records to set, and the field that names each of them."""
UNSET = {17: "TokenIDs", 19: "PolicyIDs", 23: "RoleIDs", 25: "BindingRuleIDs", 27: "AuthMethodNames"}
"""Message type -> field of the names to delete, in the type that follows it."""


def set_many(kind: int, names: list[str], cas: bool, index: int) -> Command:
    field, name_field = MANY[kind]
    made = [{name_field: name, "AccessorID": f"accessor of {name}", "ModifyIndex": index} for name in names]
    return lambda fsm: fsm.command(kind, wire.pack({field: made, "CAS": cas}))


def delete_many(kind: int, names: list[str]) -> Command:
    wanted = [f"accessor of {name}" for name in names] if kind == 17 else names
    return lambda fsm: fsm.command(kind + 1, wire.pack({UNSET[kind]: wanted}))


def one_record(kind: int, field: str, op: str, name: str, session_id: str) -> Command:
    record = {"ID": name, "Name": name, "Session": session_id}
    return lambda fsm: fsm.command(kind, wire.pack({"Op": op, field: record}))


def federation_state(op: str, name: str) -> Command:
    return lambda fsm: fsm.command(30, wire.pack({"Op": op, "State": {"Datacenter": name}}))


def connect_ca(op: str, name: str, active: bool, compare: bool) -> Command:
    def run(fsm: Driver) -> Any:
        index = fsm.index if compare else 0
        roots = [{"ID": name, "Active": active}, {"ID": f"old {name}", "Active": False}]
        config = {"ClusterID": name, "ModifyIndex": 0}
        request = {"Op": op, "Roots": roots, "Index": index, "Config": config, "ProviderState": {"ID": name}}
        return fsm.command(13, wire.pack(request))

    return run


CA_OPERATIONS = ["set-config", "set-roots", "set-roots-config", "set-provider-state", "delete-provider-state"]
CA_OPERATIONS += ["increment-provider-serial", "odd"]
labels = st.sampled_from(["x", "X", "y"])
small = st.sampled_from([0, 11, 12, 13])
opaque_commands = st.one_of(
    st.builds(set_many, st.sampled_from(sorted(MANY)), st.lists(labels, max_size=2), st.booleans(), small),
    st.builds(delete_many, st.sampled_from(sorted(MANY)), st.lists(labels, max_size=2)),
    st.builds(
        one_record, st.just(12), st.just("Intention"), st.sampled_from(["create", "delete"]), labels, st.just("")
    ),
    st.builds(federation_state, st.sampled_from(["upsert", "delete", "odd"]), labels),
    st.builds(
        connect_ca,
        st.sampled_from(CA_OPERATIONS),
        labels,
        st.booleans(),
        st.booleans(),
    ),
)


# Prepared queries and config entries ------------------------------------------------------------------------

PROTOCOLS = ["", "tcp", "http", "grpc"]
ENTRY_NAMES = ["web", "Web", "db"]


def entry(kind: str, name: str, other: str, protocol: str) -> ConfigEntry:
    """An entry that leads to another service, or has a protocol; normalised."""
    made: ConfigEntry
    if kind == "service-router":
        made = ServiceRouter(name=name, routes=[ServiceRoute(destination=RouteDestination(service=other))])
    elif kind == "service-splitter":
        made = ServiceSplitter(name=name, splits=[ServiceSplit(33.33), ServiceSplit(66.67, service=other)])
    elif kind == "service-resolver":
        made = ServiceResolver(name=name, connect_timeout=5, redirect=ResolverRedirect(service=other))
    elif kind == "ingress-gateway":
        listener = IngressListener(port=1, protocol=protocol, services=[IngressService(name=other)])
        made = IngressGateway(name=name, listeners=[listener])
    elif kind == "terminating-gateway":
        made = TerminatingGateway(name=name, services=[LinkedService(name=other)])
    elif kind == "proxy-defaults":
        made = ProxyDefaults(config={"protocol": protocol, "ratio": 0.5})
    else:
        made = ServiceDefaults(name=name, protocol=protocol)
    normalize(made)
    return made


def config_entry(op: str, made: ConfigEntry, index: int = 0) -> Command:
    def run(fsm: Driver) -> Any:
        made.modify_index = index
        return fsm.command(22, ConfigEntryRequest(op, made, "dc1", "t").to_command()[1:])

    return run


def prepared_query(op: str, query_id: str, name: str = "", session_id: str = "", template: str = "") -> Command:
    query = PreparedQuery(
        id=query_id,
        name=name,
        session=session_id,
        template=QueryTemplateOptions(type=template),
        service=ServiceQuery(service="${name.full}" if template else "web"),
    )
    return lambda fsm: fsm.command(7, PreparedQueryRequest("dc1", op, query))


query_commands = st.builds(
    prepared_query,
    st.sampled_from(["create", "update", "delete", "odd"]),
    st.sampled_from([Q1, Q2, "odd"]),
    st.sampled_from(["", "q", "Q", Q1]),
    st.sampled_from(["", S1]),
    st.sampled_from(["", "name_prefix_match", "odd"]),
)
entry_commands = st.builds(
    config_entry,
    st.sampled_from(["upsert", "upsert-cas", "delete", "odd"]),
    st.builds(entry, st.sampled_from(sorted(KINDS)), st.sampled_from(ENTRY_NAMES), names, st.sampled_from(PROTOCOLS)),
    small,
)
all_commands = commands | opaque_commands | query_commands | entry_commands


class Recorder(Driver):
    """Takes commands like a Driver and applies none: `entries` are what a log would hold."""

    def __init__(self, start: int) -> None:
        self.index, self.entries = start, list[Entry]()

    def command(self, kind: int, payload: Any) -> Any:
        data = payload if isinstance(payload, bytes) else wire.pack(payload.to_wire())
        self.index += 1
        self.entries.append(Entry(self.index, 1, bytes((kind,)) + data))
