"""Local state: what is registered, what still has to reach the catalog, and who is told of changes."""

from __future__ import annotations

import random

import pytest

from services.rpc_core.local.state import LocalState
from shared.structs.catalog import SERF_CHECK_ID, HealthCheck, NodeService
from shared.structs.errors import RefusedError


@pytest.fixture
def changes() -> list[str]:
    return []


@pytest.fixture
def state(changes: list[str]) -> LocalState:
    return LocalState("n1", random.Random(1), check_update_interval_s=300.0, on_change=lambda: changes.append("change"))


def web(**fields: object) -> NodeService:
    return NodeService(**{"id": "web", "service": "web", **fields})


def check(**fields: object) -> HealthCheck:
    return HealthCheck(**{"check_id": "c", "name": "c", "status": "passing", **fields})


def in_sync(state: LocalState) -> None:
    for service in state.services.values():
        service.in_sync = True
    for each in state.checks.values():
        each.in_sync = True


def test_a_removed_service_stays_until_the_catalog_has_forgotten_it(state: LocalState, changes: list[str]) -> None:
    state.add_service(web(), "")
    state.remove_service("web")
    assert state.service("web") is None
    assert state.live_services() == {}
    assert state.services["web"].deleted
    assert changes == ["change", "change"]
    with pytest.raises(RefusedError, match='Service "web" does not exist'):
        state.remove_service("web")


def test_a_check_of_an_unknown_service_is_refused(state: LocalState) -> None:
    with pytest.raises(RefusedError, match='Check "c" refers to non-existent service "nope"'):
        state.add_check(check(service_id="nope"), "")


def test_checks_belong_to_this_node_and_drop_their_output_on_request(state: LocalState) -> None:
    state.discard_check_output = True
    state.add_check(check(node="elsewhere", output="x"), "")
    state.update_check("c", "critical", "y", 0.0)
    shown = state.check("c")
    assert shown is not None
    assert (shown.node, shown.status, shown.output) == ("n1", "critical", "")


def test_a_new_status_is_to_be_sent_at_once(state: LocalState, changes: list[str]) -> None:
    state.add_check(check(), "")
    in_sync(state)
    changes.clear()
    state.update_check("c", "warning", "out", 10.0)
    assert not state.checks["c"].in_sync
    assert changes == ["change"]
    assert state.deadline is None


def test_a_new_output_waits_between_half_and_one_and_a_half_intervals(state: LocalState, changes: list[str]) -> None:
    state.add_check(check(), "")
    in_sync(state)
    changes.clear()
    nearer: list[None] = []
    state.on_deadline = lambda: nearer.append(None)
    state.update_check("c", "passing", "one", 10.0)
    state.update_check("c", "passing", "two", 11.0)  # the time stays that of the first
    deadline = state.deadline
    assert deadline is not None
    assert 10 + 150 <= deadline <= 10 + 450
    assert len(nearer) == 1
    state.end_deferral(deadline - 1)
    assert state.checks["c"].in_sync
    assert not changes
    state.end_deferral(deadline)
    assert not state.checks["c"].in_sync
    assert changes == ["change"]
    assert state.deadline is None
    shown = state.check("c")
    assert shown is not None
    assert shown.output == "two"


def test_the_same_word_again_changes_nothing(state: LocalState, changes: list[str]) -> None:
    state.add_check(check(output="x"), "")
    changes.clear()
    entry = state.checks["c"]
    state.update_check("c", "passing", "x", 1.0)
    state.update_check("unknown", "passing", "x", 1.0)
    assert state.checks["c"] is entry
    assert not changes


def test_time_in_critical_counts_from_the_first_critical_word(state: LocalState) -> None:
    state.add_check(check(), "")
    state.update_check("c", "critical", "a", 5.0)
    state.update_check("c", "critical", "b", 9.0)
    assert state.critical_for_s(15.0) == {"c": 10.0}
    state.update_check("c", "warning", "", 16.0)
    assert state.critical_for_s(20.0) == {}


def test_a_service_is_watched_once_until_it_is_replaced_or_removed(state: LocalState) -> None:
    told: list[str] = []
    state.add_service(web(), "")
    state.watch_service("web", lambda: told.append("replaced"))
    end = state.watch_service("web", lambda: told.append("never"))
    end()
    state.add_service(web(port=1), "")
    state.watch_service("web", lambda: told.append("removed"))
    state.remove_service("web")
    assert told == ["replaced", "removed"]


def test_aliases_hear_of_the_service_of_its_checks_and_of_the_nodes_checks(state: LocalState) -> None:
    told: list[int] = []
    end = state.watch_alias("web", lambda: told.append(len(told)))
    state.add_service(web(), "")
    state.add_check(check(service_id="web"), "")
    state.update_check("c", "critical", "", 1.0)
    state.add_check(check(check_id="node"), "")
    state.remove_check("c")
    state.remove_service("web")
    assert len(told) == 6
    end()
    state.add_service(web(), "")
    assert len(told) == 6


def test_the_catalogs_other_services_and_checks_are_marked_for_removal(state: LocalState) -> None:
    skipped = state.compare(
        True,
        [NodeService(id="consul"), NodeService(id="foreign")],
        [HealthCheck(check_id=SERF_CHECK_ID), HealthCheck(check_id="foreign")],
    )
    assert list(state.services) == ["foreign"]
    assert state.services["foreign"].deleted
    assert list(state.checks) == ["foreign"]
    assert state.checks["foreign"].deleted
    assert skipped == [SERF_CHECK_ID]
    assert state.live_services() == {}


def test_what_the_catalog_lacks_or_says_otherwise_is_out_of_sync(state: LocalState) -> None:
    for name in ("same", "other", "missing"):
        state.add_service(web(id=name, service=name, tags=[name], meta={}), "")
    in_sync(state)
    state.compare(
        True,
        [web(id="same", service="same", tags=["same"]), web(id="other", service="other", tags=["changed"])],
        [],
    )
    assert {key: entry.in_sync for key, entry in state.services.items()} == {
        "same": True,
        "other": False,
        "missing": False,
    }


def test_tags_may_be_taken_over_from_the_catalog(state: LocalState) -> None:
    state.add_service(web(tags=["ours"], enable_tag_override=True), "")
    state.compare(True, [web(tags=["theirs"], enable_tag_override=True)], [])
    service = state.service("web")
    assert service is not None
    assert service.tags == ["theirs"]
    assert state.services["web"].in_sync


def test_an_output_that_waits_for_its_time_is_not_a_difference(state: LocalState) -> None:
    state.add_check(check(output="old"), "")
    in_sync(state)
    state.update_check("c", "passing", "new", 0.0)
    remote = check(node="n1", output="old")
    state.compare(True, [], [remote])
    assert state.checks["c"].in_sync
    state.end_deferral(1000.0)
    state.compare(True, [], [remote])
    assert not state.checks["c"].in_sync


def test_a_wrong_node_entry_is_to_be_sent(state: LocalState) -> None:
    state.node_in_sync = True
    state.compare(True, [], [])
    assert state.node_in_sync
    state.compare(False, [], [])
    assert not state.node_in_sync
