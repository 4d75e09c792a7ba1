"""Pushes: which requests bring the catalog up to date, and what their outcomes mean."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from services.rpc_core.local.pushes import Kind, Outcome, Push, Pushes
from services.rpc_core.local.state import LocalState
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import DeregisterRequest, HealthCheck, NodeService, RegisterRequest


@pytest.fixture
def state() -> LocalState:
    return LocalState("n1", random.Random(1), check_update_interval_s=0.0)


@pytest.fixture
def pushes(state: LocalState, tmp_path: Path) -> Pushes:
    return Pushes(state, RuntimeConfig.dev(tmp_path, node_name="n1", bind_addr="10.0.0.1"))


def run(pushes: Pushes, outcome: Outcome = Outcome.DONE) -> list[Push]:
    made = []
    for push in pushes.pending():
        made.append(push)
        pushes.done(push, outcome)
    return made


def web(state: LocalState, token: str = "") -> None:
    state.add_service(NodeService(id="web", service="web"), token)


def check(state: LocalState, check_id: str, token: str = "", service_id: str = "") -> None:
    state.add_check(HealthCheck(check_id=check_id, name=check_id, status="passing", service_id=service_id), token)


def kinds(made: list[Push]) -> list[tuple[Kind, str]]:
    return [(push.kind, push.key) for push in made]


def test_the_node_comes_first_and_nothing_is_sent_twice(state: LocalState, pushes: Pushes) -> None:
    web(state)
    check(state, "node-check")
    assert kinds(run(pushes)) == [(Kind.NODE, "n1"), (Kind.SERVICE, "web"), (Kind.CHECK, "node-check")]
    assert run(pushes) == []


def test_a_service_takes_its_checks_along_if_they_have_its_token(state: LocalState, pushes: Pushes) -> None:
    state.node_in_sync = True
    web(state, "t1")
    check(state, "a", "t1", "web")
    check(state, "b", "t1", "web")
    check(state, "c", "t2", "web")
    check(state, "other")
    made = run(pushes)
    assert kinds(made) == [(Kind.SERVICE, "web"), (Kind.CHECK, "c"), (Kind.CHECK, "other")]
    first, second = made[0].request, made[1].request
    assert isinstance(first, RegisterRequest)
    assert isinstance(second, RegisterRequest)
    assert [each.check_id for each in first.checks or ()] == ["a", "b"]
    assert first.check is None
    assert first.token == "t1"
    assert first.skip_node_update
    assert second.check is not None
    assert second.token == "t2"
    assert second.service is not None
    assert second.service.id == "web"


def test_a_single_check_goes_in_the_field_of_its_own(state: LocalState, pushes: Pushes) -> None:
    web(state)
    check(state, "a", service_id="web")
    request = run(pushes)[1].request
    assert isinstance(request, RegisterRequest)
    assert request.check is not None
    assert request.checks is None


def test_a_service_that_goes_takes_its_checks_with_it(state: LocalState, pushes: Pushes) -> None:
    web(state)
    check(state, "a", service_id="web")
    run(pushes)
    state.remove_service("web")
    state.remove_check("a")
    made = run(pushes)
    assert kinds(made) == [(Kind.SERVICE_REMOVAL, "web")]
    request = made[0].request
    assert isinstance(request, DeregisterRequest)
    assert (request.node, request.service_id, request.check_id) == ("n1", "web", "")
    assert state.services == {}
    assert state.checks == {}


def test_what_changes_while_its_request_is_under_way_is_sent_again(state: LocalState, pushes: Pushes) -> None:
    state.node_in_sync = True
    web(state)
    (push,) = pushes.pending()
    state.add_service(NodeService(id="web", service="web", port=1), "")
    pushes.done(push, Outcome.DONE)
    assert kinds(run(pushes)) == [(Kind.SERVICE, "web")]


def test_what_comes_back_while_its_removal_is_under_way_stays(state: LocalState, pushes: Pushes) -> None:
    web(state)
    run(pushes)
    state.remove_service("web")
    (push,) = pushes.pending()
    web(state)
    pushes.done(push, Outcome.DONE)
    assert state.service("web") is not None
    assert kinds(run(pushes)) == [(Kind.SERVICE, "web")]


def test_metadata_that_changes_while_it_is_sent_is_sent_again(state: LocalState, pushes: Pushes) -> None:
    pending = pushes.pending()
    push = next(pending)
    state.node_changed()
    pushes.done(push, Outcome.DONE)
    assert kinds(run(pushes)) == [(Kind.NODE, "n1")]


def test_what_the_token_may_not_do_is_not_tried_again(state: LocalState, pushes: Pushes) -> None:
    web(state)
    check(state, "a", service_id="web")
    run(pushes, Outcome.BLOCKED)
    assert run(pushes) == []


def test_what_is_not_ours_is_removed(state: LocalState, pushes: Pushes) -> None:
    state.node_in_sync = True
    state.compare(True, [NodeService(id="foreign")], [HealthCheck(check_id="odd")])
    assert kinds(run(pushes)) == [(Kind.SERVICE_REMOVAL, "foreign"), (Kind.CHECK_REMOVAL, "odd")]
    assert state.services == {}
    assert state.checks == {}


def test_a_push_that_failed_stays_to_be_done(state: LocalState, pushes: Pushes) -> None:
    state.node_in_sync = True
    web(state)
    (push,) = pushes.pending()
    pushes.failed(push, "No cluster leader")
    assert kinds(run(pushes)) == [(Kind.SERVICE, "web")]
