"""Nodes, services and checks: what moves which index, renames, removals. Checked against Consul 1.8.7."""

from __future__ import annotations

from typing import Any

import pytest

from services.raft_node.fsm.errors import CommandError
from shared.state.queries import catalog, health
from shared.state.records import find_node_by_id
from shared.structs.catalog import HealthCheck, Node, NodeService, RegisterRequest
from shared.structs.proxy import ConnectProxyConfig, ServiceConnect, Weights
from shared.structs.txn import TxnCheckOp, TxnNodeOp, TxnOp, TxnServiceOp
from tests.unit.fsm.fsm_driver import N1, N2, Driver


def node_index(fsm: Driver, name: str) -> int:
    node = fsm.ask(lambda snap: catalog.node(snap, name)).value
    assert node is not None
    return node.modify_index


def service_of(fsm: Driver, node: str, service_id: str) -> NodeService:
    found = fsm.ask(lambda snap: catalog.node_services(snap, node)).value
    assert found is not None
    assert found.services is not None
    return found.services[service_id]


def test_an_unchanged_registration_moves_nothing(fsm: Driver) -> None:
    fsm.register_service("n", "web", tags=["a"])
    at = fsm.index
    fsm.register_service("n", "web", tags=["a"])
    assert (fsm.row("nodes"), fsm.row("services"), fsm.row("service.web")) == (at, at, at)
    assert fsm.topics == []


def test_nil_and_empty_are_different(fsm: Driver) -> None:
    fsm.register_service("n", "web")
    fsm.register_service("n", "web", tags=[])
    assert fsm.row("service.web") == fsm.index
    fsm.register("n", node_meta={})
    assert node_index(fsm, "n") == fsm.index


def test_a_changed_node_moves_its_services_but_not_the_services_table(fsm: Driver) -> None:
    fsm.register_service("n", "web")
    at = fsm.index
    fsm.register("n", address="10.0.0.9")
    assert fsm.row("nodes") == fsm.row("service.web") == fsm.row("service_kind.typical") == fsm.index
    assert fsm.row("services") == at


def test_skip_node_update_leaves_a_known_node_alone(fsm: Driver) -> None:
    fsm.register("n", address="10.0.0.1")
    at = fsm.index
    fsm.register("n", address="10.0.0.2", skip_node_update=True, service=NodeService(id="s", service="s"))
    assert node_index(fsm, "n") == at
    assert fsm.row("service.s") == fsm.index


def test_names_match_in_any_case_and_the_last_spelling_is_kept(fsm: Driver) -> None:
    fsm.register_service("Node", "Web")
    fsm.register_service("node", "web", "WEB")
    assert [n.node for n in fsm.ask(catalog.nodes).value] == ["node"]
    for name in ("web", "WEB"):
        assert len(fsm.ask(lambda snap, name=name: catalog.service_nodes(snap, name)).value) == 1
    assert fsm.ask(lambda snap: catalog.services(snap)).value == {"web": []}


def test_a_known_id_under_a_new_name_is_a_rename(fsm: Driver) -> None:
    fsm.register("old", id=N1)
    created = fsm.index
    fsm.register_service("old", "web")
    fsm.register("old", id=N1)
    fsm.register("new", id=N1)
    assert [(n.node, n.create_index) for n in fsm.ask(catalog.nodes).value] == [("new", created)]
    assert fsm.ask(catalog.services).value == {}


def test_a_rename_onto_a_living_node_is_refused_and_leaves_no_trace(fsm: Driver) -> None:
    fsm.register("a", id=N1)
    fsm.register("b", id=N2)
    fsm.command(
        0, RegisterRequest("dc1", N2, "b", "10.0.0.1", checks=[HealthCheck("b", "serfHealth", status="passing")])
    )
    before = fsm.dump()
    refused = fsm.command(0, RegisterRequest("dc1", N1, "B", "10.0.0.7", service=NodeService(id="x", service="x")))
    assert isinstance(refused, CommandError)
    assert str(refused) == (
        f'failed inserting node: Error while renaming Node ID: "{N1}" (10.0.0.7): '
        f"Node name B is reserved by node {N2} with name b (10.0.0.1)"
    )
    assert fsm.dump() == before
    assert fsm.topics == []


def test_a_critical_holder_loses_its_name_but_its_services_stay(fsm: Driver) -> None:
    fsm.command(
        0,
        RegisterRequest(
            "dc1",
            N1,
            "n",
            "10.0.0.1",
            service=NodeService(id="s", service="s"),
            checks=[HealthCheck("n", "serfHealth", status="critical")],
        ),
    )
    assert fsm.register("n", id=N2) is None
    assert fsm.ask(lambda snap: find_node_by_id(snap, N1)) is None
    assert fsm.ask(lambda snap: find_node_by_id(snap, N2)) is not None
    assert fsm.ask(catalog.services).value == {"s": []}


def test_an_id_that_is_no_uuid_is_refused(fsm: Driver) -> None:
    refused = fsm.register("n", id="zz")
    assert str(refused) == (
        "failed inserting node: node lookup failed: node lookup by ID failed, wrong UUID: "
        "uuid string is wrong length for 'zz'"
    )


@pytest.mark.parametrize(
    ("meta", "problem"),
    [
        ({"a b": "x"}, "Couldn't load metadata pair ('a b', 'x'): Key contains invalid characters"),
        ({"": "x"}, "Couldn't load metadata pair ('', 'x'): Key cannot be blank"),
        ({"k" * 129: ""}, f"Couldn't load metadata pair ('{'k' * 129}', ''): Key is too long (limit: 128 characters)"),
        (
            {"k": "v" * 513},
            f"Couldn't load metadata pair ('k', '{'v' * 513}'): Value is too long (limit: 512 characters)",
        ),
        (
            {"consul-x": "y"},
            "Couldn't load metadata pair ('consul-x', 'y'): Key prefix 'consul-' is reserved for internal use",
        ),
        ({f"k{n}": "" for n in range(65)}, "Node metadata cannot contain more than 64 key/value pairs"),
    ],
)
def test_bad_service_metadata_fails_the_whole_registration(fsm: Driver, meta: dict[str, str], problem: str) -> None:
    refused = fsm.register_service("n", "web", meta=meta)
    assert str(refused) == (f"failed inserting service: Invalid Service Meta for node n and serviceID web: {problem}")
    assert fsm.ask(catalog.nodes).value == []


def test_missing_or_bad_weights_become_one_and_one(fsm: Driver) -> None:
    fsm.register_service("n", "a")
    fsm.register_service("n", "b", weights=Weights(0, 70000))
    fsm.register_service("n", "c", weights=Weights(7, 0))
    assert [service_of(fsm, "n", i).weights for i in "abc"] == [Weights(1, 1), Weights(1, 1), Weights(7, 0)]


def test_a_check_takes_name_and_tags_from_its_service(fsm: Driver) -> None:
    fsm.register_service("n", "web", "w1", tags=["x"])
    fsm.register_check("n", "c", service_id="w1", service_name="liar", service_tags=["lie"])
    (check,) = fsm.ask(lambda snap: health.node_checks(snap, "n")).value
    assert (check.service_name, check.service_tags) == ("web", ["x"])
    assert fsm.ask(lambda snap: health.service_checks(snap, "WEB")).value == [check]


def test_checks_need_their_node_and_service(fsm: Driver) -> None:
    fsm.register("n")
    assert str(fsm.register("n", checks=[HealthCheck("other", "c")])) == ('check node "other" does not match node "n"')
    assert str(fsm.register_check("n", "c", service_id="nope")) == (
        'failed inserting check: Missing service registration on node "n"'
    )


def test_registering_an_unchanged_check_moves_only_the_checks_table(fsm: Driver) -> None:
    fsm.register_service("n", "web")
    fsm.register_check("n", "c", service_id="web")
    at = fsm.index
    fsm.register_check("n", "c", service_id="web")
    assert fsm.row("checks") == fsm.index
    assert fsm.row("service.web") == at
    (check,) = fsm.ask(lambda snap: health.node_checks(snap, "n")).value
    assert check.modify_index == at
    assert ["node-checks", "n"] in fsm.topics
    assert ["service", "web"] not in fsm.topics


def test_a_node_check_concerns_all_services_of_the_node(fsm: Driver) -> None:
    fsm.register_service("n", "web")
    fsm.register_service("n", "db")
    fsm.register_check("n", "node-check", status="")
    assert fsm.row("service.web") == fsm.row("service.db") == fsm.index
    (instance,) = fsm.ask(lambda snap: health.service_nodes(snap, "web")).value
    assert [check.status for check in instance.checks or ()] == ["critical"]


def test_a_changed_status_moves_between_states(fsm: Driver) -> None:
    fsm.register_check("n", "c", "passing")
    fsm.register_check("n", "c", "warning")
    states = {s: fsm.ask(lambda snap, s=s: health.checks_in_state(snap, s)).value for s in ("passing", "warning")}
    assert states["passing"] == []
    assert len(states["warning"]) == 1
    assert ["state-checks", "passing"] in fsm.topics
    assert ["state-checks", "warning"] in fsm.topics


def test_the_last_instance_takes_the_service_index_with_it(fsm: Driver) -> None:
    fsm.register_service("n", "web", "w1")
    fsm.register_service("n", "web", "w2")
    fsm.deregister("n", "w1")
    assert fsm.row("service.web") == fsm.index
    assert fsm.row("service_last_extinction") is None
    fsm.deregister("n", "w2")
    gone_at = fsm.index
    assert fsm.row("service.web") is None
    fsm.register_service("n", "db")
    for name in ("web", "never-was"):
        assert fsm.ask(lambda snap, name=name: catalog.service_nodes(snap, name)).index == gone_at


def test_without_any_extinction_an_absent_service_has_the_index_of_the_tables(fsm: Driver) -> None:
    fsm.register("n")
    fsm.register_check("n", "c")
    nodes_at = fsm.row("nodes")
    assert fsm.ask(lambda snap: catalog.service_nodes(snap, "x")).index == nodes_at
    assert fsm.ask(lambda snap: health.service_nodes(snap, "x")).index == fsm.index


def test_a_node_goes_with_everything_on_it(fsm: Driver) -> None:
    fsm.register_service("n", "web")
    fsm.register_check("n", "c", service_id="web")
    fsm.register_check("n", "serfHealth")
    fsm.deregister("n")
    assert fsm.ask(catalog.nodes).value == []
    assert fsm.ask(catalog.services).value == {}
    assert fsm.ask(lambda snap: health.checks_in_state(snap, "any")).value == []
    assert fsm.row("service_last_extinction") == fsm.row("nodes") == fsm.index
    with fsm.store.snapshot() as snap:
        left = {name for name in snap.tables.__slots__ if snap.count(getattr(snap.tables, name))}
    assert left == {"meta", "index", "versions"}


def test_unknown_targets_are_no_error(fsm: Driver) -> None:
    assert fsm.deregister("n") is fsm.deregister("n", "s") is fsm.deregister("n", "", "c") is None
    assert fsm.topics == []


def test_connect_finds_proxies_and_native_services(fsm: Driver) -> None:
    proxy = ConnectProxyConfig(destination_service_name="Web")
    fsm.register_service("n", "web-proxy", kind="connect-proxy", proxy=proxy)
    fsm.register_service("n", "web", connect=ServiceConnect(native=True))
    fsm.register_service("n", "db")
    found = fsm.ask(lambda snap: catalog.service_nodes(snap, "web", connect=True))
    assert sorted(instance.service_id for instance in found.value) == ["web", "web-proxy"]
    fsm.register_service("n", "web-proxy")
    found = fsm.ask(lambda snap: catalog.service_nodes(snap, "web", connect=True))
    assert [instance.service_id for instance in found.value] == ["web"]


def test_a_service_id_that_changes_its_name_leaves_the_old_one(fsm: Driver) -> None:
    fsm.register_service("n", "old", "id")
    fsm.register_service("n", "new", "id")
    assert fsm.ask(lambda snap: catalog.service_nodes(snap, "old")).value == []
    assert ["service", "old"] in fsm.topics


def test_nodes_are_found_by_a_unique_beginning_of_their_id(fsm: Driver) -> None:
    fsm.register("a", id=N1)
    fsm.register("b", id=N2)

    def name_of(text: str) -> Any:
        found = fsm.ask(lambda snap: catalog.node_services(snap, text)).value
        return found and found.node and found.node.node

    assert name_of("aa") == name_of("aaaaaaaa-0000-") == name_of(N1) == "a"
    assert name_of("aaa") == "a"  # an odd character at the end is dropped
    assert name_of("aaaaaaaa-0000") is None  # which here leaves an odd number of digits
    assert name_of("x") is name_of("zz") is name_of("a-a-a-a-a-a") is name_of("") is None
    fsm.register("c", id="aaaaaaab-0000-0000-0000-000000000000")
    assert name_of("aaaaaaa") is None
    assert name_of("aaaaaaab") == "c"


def test_an_unknown_node_has_index_one(fsm: Driver) -> None:
    fsm.register("n")
    assert fsm.ask(lambda snap: catalog.node_services(snap, "nope")).index == 1
    assert fsm.ask(lambda snap: catalog.node_service_list(snap, "nope")).index == 1


def test_very_long_and_odd_names_are_kept_apart(fsm: Driver) -> None:
    names = ["n" * 300, "n" * 300 + "x", "a\0b", "a", "\udcff", "a\1b"]
    for name in names:
        fsm.register_service(name, "web")
    assert sorted(n.node for n in fsm.ask(catalog.nodes).value) == sorted(names)
    for name in names:
        fsm.deregister(name)
    assert fsm.ask(catalog.services).value == {}


@pytest.mark.parametrize("service_id", ["", "web"])
def test_a_new_check_type_shows_in_services_though_no_index_says_so(fsm: Driver, service_id: str) -> None:
    fsm.register_service("n", "web")
    fsm.register_check("n", "c", service_id=service_id)
    with fsm.store.snapshot() as snap:
        before = health.service_nodes(snap, "web")
        versions = snap.versions(before.watch)
    fsm.register_check("n", "c", service_id=service_id, type="ttl")
    with fsm.store.snapshot() as snap:
        after = health.service_nodes(snap, "web")
        assert after.index == before.index
        assert [check.type for instance in after.value for check in instance.checks] == ["ttl"]
        assert snap.versions(before.watch) != versions
    assert ["service", "web"] in fsm.topics


@pytest.mark.parametrize(
    ("operation", "what"),
    [
        (TxnOp(node=TxnNodeOp("set", Node(node="", address="10.0.0.1"))), "node"),
        (TxnOp(service=TxnServiceOp("set", "n", NodeService(id="", service="web"))), "service"),
        (TxnOp(check=TxnCheckOp("set", HealthCheck(node="n", check_id="", name="c"))), "check"),
    ],
    ids=["node", "service", "check"],
)
def test_what_has_no_name_is_refused(fsm: Driver, operation: TxnOp, what: str) -> None:
    fsm.register("n")
    before = fsm.dump()
    errors = fsm.txn(operation)["Errors"]
    assert [error["What"] for error in errors] == [f"failed inserting {what}: object missing primary index"]
    assert fsm.dump() == before
