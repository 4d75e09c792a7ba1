"""Watches without I/O: parameters and their refusals, requests, what is read out of answers, when a handler is due."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.rpc_core.local.watches.plans import compile_plans
from shared.config.runtime import RuntimeConfig
from shared.config.sections import Addresses
from shared.watch_plan import Answer, Progress, WatchError, parse


def answer(value: Any, index: int = 5, status: int = 200, **headers: str) -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer(status, {"x-consul-index": str(index), **headers}, body)


@pytest.mark.parametrize(
    ("parameters", "path", "query"),
    [
        ({"type": "key", "key": "/a/b"}, "/v1/kv/a/b", {}),
        ({"type": "keyprefix", "prefix": "p/", "stale": True}, "/v1/kv/p/", {"stale": "", "recurse": ""}),
        ({"type": "services", "datacenter": "dc2"}, "/v1/catalog/services", {"dc": "dc2"}),
        ({"type": "nodes"}, "/v1/catalog/nodes", {}),
        (
            {"type": "service", "service": "web", "tag": ["a", "b"], "passingonly": True},
            "/v1/health/service/web",
            {"tag": ["a", "b"], "passing": "1"},
        ),
        ({"type": "service", "service": "web", "tag": "a"}, "/v1/health/service/web", {"tag": ["a"]}),
        ({"type": "checks"}, "/v1/health/state/any", {}),
        ({"type": "checks", "state": "critical"}, "/v1/health/state/critical", {}),
        ({"type": "checks", "service": "web"}, "/v1/health/checks/web", {}),
        ({"type": "event", "name": "deploy"}, "/v1/event/list", {"name": "deploy"}),
        ({"type": "connect_roots"}, "/v1/agent/connect/ca/roots", {}),
        ({"type": "connect_leaf", "service": "web"}, "/v1/agent/connect/ca/leaf/web", {}),
        ({"type": "agent_service", "service_id": "web-1"}, "/v1/agent/service/web-1", {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_type_asks_its_endpoint(parameters: dict[str, Any], path: str, query: dict[str, Any]) -> None:
    request = parse(parameters).request(None)
    assert (request.path, request.parameters) == (path, query)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "Watch type must be specified"),
        ({"type": ""}, "Watch type must be specified"),
        ({"type": 1}, "Expecting type to be a string"),
        ({"type": "nope"}, "Unsupported watch type: nope"),
        ({"type": "key"}, "Must specify a single key to watch"),
        ({"type": "key", "key": 1}, "Expecting key to be a string"),
        ({"type": "keyprefix"}, "Must specify a single prefix to watch"),
        ({"type": "service"}, "Must specify a single service to watch"),
        ({"type": "service", "service": "a", "tag": 1}, "Expecting tag to be a string or []string"),
        ({"type": "service", "service": "a", "tag": ["a", 1]}, "Index 1 of tag expected to be string"),
        ({"type": "service", "service": "a", "passingonly": "y"}, "Expecting passingonly to be a boolean"),
        ({"type": "nodes", "stale": 1}, "Expecting stale to be a boolean"),
        ({"type": "checks", "service": "a", "state": "b"}, "Cannot specify service and state"),
        ({"type": "nodes", "b": 1, "a": 2}, "Invalid parameters: [a b]"),
        (
            {"type": "nodes", "handler_type": "http"},
            "Handler type 'http' requires 'http_handler_config' to be set",
        ),
        (
            {"type": "nodes", "handler_type": "http", "http_handler_config": {}},
            "Failed to parse 'http_handler_config': Requires 'path' to be set",
        ),
        (
            {"type": "nodes", "handler_type": "http", "http_handler_config": 5},
            "Failed to parse 'http_handler_config': '' expected a map, got 'int'",
        ),
        (
            {"type": "nodes", "handler_type": "http", "http_handler_config": {"path": "x", "timeout": "x"}},
            "Failed to parse 'http_handler_config': Failed to parse timeout: time: invalid duration \"x\"",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_parameters_are_refused_in_consuls_words(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(WatchError) as caught:
        parse(parameters)
    assert str(caught.value) == text


def test_an_http_handler_has_its_defaults() -> None:
    plan = parse({"type": "nodes", "handler_type": "http", "http_handler_config": {"path": "http://a/"}})
    handler = plan.exempt["http_handler_config"]
    assert (handler.url, handler.method, handler.timeout_s) == ("http://a/", "POST", 10.0)
    assert not handler.tls_skip_verify


def test_a_state_that_does_not_exist_is_refused_at_each_request() -> None:
    progress = Progress(parse({"type": "checks", "state": "odd"}))
    with pytest.raises(WatchError, match="Unsupported state: odd"):
        progress.request()
    assert [progress.fail() for _ in range(7)] == [5, 20, 45, 80, 125, 180, 180]


def test_the_handler_is_called_first_and_then_when_data_has_changed() -> None:
    progress = Progress(parse({"type": "services"}))
    assert "index" not in progress.request().parameters
    assert progress.take(answer({"b": ["x"], "a": []}, 5)) == (5, {"a": [], "b": ["x"]})
    assert progress.request().parameters == {"index": "5"}
    assert progress.take(answer({"b": ["x"], "a": []}, 5)) is None  # the wait was over
    assert progress.take(answer({"b": ["x"], "a": []}, 6)) is None  # something else has changed
    assert progress.request().parameters == {"index": "6"}
    assert progress.take(answer({"b": []}, 7)) == (7, {"b": []})


def test_after_a_failure_everything_is_told_again() -> None:
    progress = Progress(parse({"type": "services"}))
    assert progress.take(answer({"a": []})) is not None
    with pytest.raises(WatchError, match=r"Unexpected response code: 500 \(No cluster leader\)"):
        progress.take(answer(b"No cluster leader", status=500))
    assert progress.fail() == 5
    assert progress.request().parameters == {}
    assert progress.take(answer({"a": []})) == (5, {"a": []})


def test_a_key_that_does_not_exist_is_an_answer() -> None:
    progress = Progress(parse({"type": "key", "key": "a"}))
    assert progress.take(answer(b"", 3, 404)) == (3, None)
    pair = {"LockIndex": 1, "Key": "a", "Flags": 2, "Value": "eA==", "CreateIndex": 3, "ModifyIndex": 4}
    change = progress.take(answer([pair], 4))
    assert change is not None
    assert list(change[1]) == ["Key", "CreateIndex", "ModifyIndex", "LockIndex", "Flags", "Value", "Session"]
    with pytest.raises(WatchError, match=r"^Unexpected response code: 403$"):
        progress.take(answer(b"Permission denied", 0, 403))


def test_only_new_events_are_told() -> None:
    ids = ["00000000-0000-0001-0000-000000000000", "00000000-0000-0002-0000-000000000000"]
    events = [{"ID": each, "Name": "x", "Payload": None, "Version": 1, "LTime": n} for n, each in enumerate(ids)]
    progress = Progress(parse({"type": "event"}))
    first = progress.take(answer(events[:1], 1))
    assert first is not None
    assert [event["ID"] for event in first[1]] == ids[:1]
    second = progress.take(answer(events, 2))
    assert second is not None
    assert [event["ID"] for event in second[1]] == ids[1:]


def test_a_service_of_the_agent_is_watched_by_its_hash() -> None:
    progress = Progress(parse({"type": "agent_service", "service_id": "web"}))
    change = progress.take(answer({"ID": "web", "Service": "web", "ContentHash": "abc"}))
    assert change is not None
    assert change[0] == 0
    assert progress.request().parameters == {"hash": "abc"}


def test_what_the_client_does_not_know_is_gone_and_what_it_misses_is_zero() -> None:
    progress = Progress(parse({"type": "checks"}))
    definition = {"Interval": "90s", "Header": {"b": ["1"], "a": None}}
    given = {"Node": "n", "CheckID": "c", "Definition": definition, "New": 1}
    change = progress.take(answer([given]))
    assert change is not None
    (check,) = change[1]
    assert "New" not in check
    assert check["ServiceTags"] is None
    assert list(check["Definition"].items())[:4] == [
        ("Interval", "1m30s"),
        ("Timeout", "0s"),
        ("DeregisterCriticalServiceAfter", "0s"),
        ("HTTP", ""),
    ]
    assert check["Definition"]["Header"] == {"a": None, "b": ["1"]}


@pytest.mark.parametrize(
    ("watch", "text"),
    [
        ({"type": "key", "key": "a"}, "Must define a watch handler"),
        ({"type": "key"}, "Failed to parse watch (map[string]interface {}{}): Must specify a single key to watch"),
        (
            {"type": "nope", "args": ["a", "b"], "n": 1},
            'Failed to parse watch (map[string]interface {}{"args":[]interface {}{"a", "b"}, "n":1}): '
            "Unsupported watch type: nope",
        ),
        ({"type": "key", "key": "a", "handler": 1}, "Watch handler must be a string"),
        ({"type": "key", "key": "a", "args": [1, "a"]}, "Watch args must be a list of strings"),
        ({"type": "key", "key": "a", "args": "a", "handler": "b"}, "Only one watch handler allowed"),
        ({"type": "connect_roots", "args": "a"}, "Watch type connect_roots is not allowed in agent config"),
        ({"type": "key", "key": "a", "handler_type": "mail"}, "Handler type 'mail' not recognized"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_watches_of_a_configuration_that_cannot_be(watch: dict[str, Any], text: str) -> None:
    with pytest.raises(WatchError) as caught:
        compile_plans(_configured(watch))
    assert str(caught.value) == text


def test_without_an_http_listener_there_are_no_watches() -> None:
    config = RuntimeConfig(node_name="a", node_id="b", watches=({"type": "nodes", "args": "a"},))
    with pytest.raises(WatchError, match="watch plans require an HTTP or HTTPS endpoint"):
        compile_plans(config)


def test_compiling_leaves_the_configuration_as_it_is() -> None:
    watch = {"type": "key", "key": "a", "args": ["a", "b"]}
    config = _configured(watch)
    assert [plan.exempt for plan in compile_plans(config)] == [{"args": ["a", "b"]}]
    assert config.watches == (watch,)


def _configured(watch: dict[str, Any]) -> RuntimeConfig:
    return RuntimeConfig(node_name="a", node_id="b", watches=(watch,), addresses=Addresses(http=("127.0.0.1:8500",)))
