"""Reload: the same new configuration for the real Consul and for our agent; what is answered, and what has changed."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_until

pytestmark = pytest.mark.real_consul

CONFIG = BASE = {"disable_coordinates": True, "log_level": "INFO", "node_meta": {"a": "1"}}
REFUSED: dict[str, Any] = {
    "unknown key": {**BASE, "nope": 1},
    "wrong type": {**BASE, "log_level": 5},
    "no JSON": "{",
    "certificate that is not there": {**BASE, "cert_file": "/nonexistent/a", "key_file": "/nonexistent/b"},
    "ca that is not there": {**BASE, "ca_file": "/nonexistent/ca"},
    "verify without ca": {**BASE, "verify_incoming": True},
    "rate of nothing": {**BASE, "cache": {"entry_fetch_rate": -5.0}},
    "bootstrap in dev mode": {**BASE, "bootstrap_expect": 3},
    "reserved meta": {**BASE, "node_meta": {"consul-x": "y"}},
    "long meta": {**BASE, "node_meta": {"x": "y" * 600}},
    "bad duration": {**BASE, "dns_config": {"node_ttl": "5x"}},
    "bad datacenter": {**BASE, "datacenter": "a b"},
    "negative udp limit": {**BASE, "dns_config": {"udp_answer_limit": -1}},
}
TAKEN: dict[str, Any] = {
    "the same": BASE,
    "negative limit": {**BASE, "limits": {"http_max_conns_per_client": -1}},
    "bad node name": {**BASE, "node_name": ""},
    "empty file": "",
    "unknown level": {**BASE, "log_level": "LOUD"},
    "node meta": {**BASE, "node_meta": {"b": "2"}},
    "other identity": {**BASE, "node_name": "other", "datacenter": "dc9", "domain": "example"},
    "other ports": {**BASE, "ports": {"http": 9500, "dns": -1}},
    "http rules": {**BASE, "http_config": {"block_endpoints": ["/v1/kv"], "response_headers": {"x-a": "b"}}},
    "no server": {**BASE, "server": False},
    "max stale": {**BASE, "discovery_max_stale": "5s"},
    "recursors": {**BASE, "recursors": ["127.255.255.254"]},
    "value size": {**BASE, "limits": {"kv_max_value_size": 5}},
}
LOOKS = ["/v1/agent/self", "/v1/kv/x", "/v1/catalog/datacenters", "/v1/health/checks/consul"]
"""Not the node's entry in the catalog: Consul brings new metadata there with the next full sync, we at once."""


def reload(agent: RealConsul | Agent, config: Any) -> tuple[int, str]:
    """Status and text of the answer, without what differs between the two."""
    text = config if isinstance(config, str) else json.dumps(config)
    (agent.directory / "config.json").write_text(text)
    answer = agent.http("PUT", "/v1/agent/reload")
    return answer.status, answer.body.decode().replace(str(agent.directory), "DIR").replace(agent.address, "ADDRESS")


def look(agent: RealConsul | Agent, path: str) -> Any:
    answer = agent.http("GET", path)
    if path == "/v1/agent/self":
        shown = answer.json()
        return shown["Config"]["NodeName"], shown["Config"]["Datacenter"], shown["Config"]["Server"], shown["Meta"]
    body = answer.body.decode().replace(agent.address, "ADDRESS")
    masked = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|Index\": \d+", "MASKED", body)
    headers = {name for name in answer.headers if name.startswith("x-")}
    return answer.status, masked, headers


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_in_the_same_words(real_and_ours: tuple[RealConsul, Agent], name: str) -> None:
    real, ours = real_and_ours
    expected = reload(real, REFUSED[name])
    assert reload(ours, REFUSED[name]) == expected
    assert expected[0] == 500


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_over_changes_the_same(real_and_ours: tuple[RealConsul, Agent], name: str) -> None:
    real, ours = real_and_ours
    expected = reload(real, TAKEN[name])
    assert reload(ours, TAKEN[name]) == expected
    assert expected[0] == 200

    def equal() -> bool:
        return all(look(ours, path) == look(real, path) for path in LOOKS)

    try:
        wait_until(equal, what="equal answers")
    except AssertionError:
        assert [look(ours, path) for path in LOOKS] == [look(real, path) for path in LOOKS]


def test_a_signal_reloads_and_the_reason_of_a_refusal_is_logged_alike(real_and_ours: tuple[RealConsul, Agent]) -> None:
    def refusals(agent: RealConsul | Agent) -> list[str]:
        lines = agent.output().splitlines()
        found = [line.partition("agent: ")[2] for line in lines if "Reload config failed" in line]
        return [line.replace(str(agent.directory), "DIR") for line in found]

    for agent in real_and_ours:
        (agent.directory / "config.json").write_text(json.dumps(REFUSED["unknown key"]))
        agent.signal(signal.SIGHUP)
        wait_until(lambda agent=agent: refusals(agent), what="the reason")  # type: ignore[misc]
    assert refusals(real_and_ours[0]) == refusals(real_and_ours[1])


def test_the_limit_of_connections_changes_for_new_ones(real_and_ours: tuple[RealConsul, Agent]) -> None:
    for agent in real_and_ours:
        agent.wait_quiet(agent.http_port)
        assert reload(agent, {**BASE, "limits": {"http_max_conns_per_client": 3}})[0] == 200
        agent.wait_quiet(agent.http_port)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                wait_until(lambda agent=agent, stack=stack: _held(agent, stack), what="a connection that is served")  # type: ignore[misc]
            with _connection(agent) as refused, pytest.raises((OSError, http.client.HTTPException)):
                _ask(refused)
        agent.wait_quiet(agent.http_port)
        assert reload(agent, BASE)[0] == 200
        agent.wait_quiet(agent.http_port)
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                _ask(stack.enter_context(_connection(agent)))


@contextlib.contextmanager
def _connection(agent: RealConsul | Agent) -> Iterator[Callable[[], int]]:
    with socket.create_connection((agent.address, agent.http_port), timeout=20) as sock:

        def ask() -> int:
            sock.sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n\r\n")
            response = http.client.HTTPResponse(sock)
            response.begin()
            response.read()
            return response.status

        yield ask


def _held(agent: RealConsul | Agent, stack: contextlib.ExitStack) -> bool:
    """One that is served and stays open. Fails while an earlier one still counts, a moment after its end is seen."""
    with contextlib.ExitStack() as attempt:
        _ask(attempt.enter_context(_connection(agent)))
        stack.push(attempt.pop_all())
    return True


def _ask(connection: Callable[[], int]) -> None:
    assert connection() == 200
