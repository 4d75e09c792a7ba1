"""The agent cache, namespaces and http_config: the same requests to the real Consul and to our agent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_settled, wait_until
from tests.integration.differential.exchange import Request, differences, exchange
from tests.integration.differential.scenarios_reads import RULED, RULES, SCENARIOS
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

Pair = tuple[RealConsul, Agent]


@contextlib.contextmanager
def running_pair(
    real_consul: Path, loopback: LoopbackPool, factory: pytest.TempPathFactory, config: dict[str, Any]
) -> Iterator[Pair]:
    real = RealConsul(loopback(), factory.mktemp("real"), real_consul, config=config)
    ours = Agent(loopback(), factory.mktemp("ours"), config=config)
    with contextlib.ExitStack() as stack:
        for agent in (real, ours):
            stack.enter_context(agent.running())
        yield real, ours


@pytest.fixture(scope="module")
def agents(real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(real_consul, loopback, tmp_path_factory, {"disable_coordinates": True}) as pair:
        for agent in pair:
            wait_settled(agent)
        yield pair


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_answers(agents: Pair, name: str) -> None:
    _compare(agents, SCENARIOS[name])


def test_rules_of_http_config(
    real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_pair(real_consul, loopback, tmp_path_factory, RULED) as pair:
        for agent in pair:
            wait_settled(agent)
        _compare(pair, RULES)


def test_a_cached_read_that_waits_sees_the_change(agents: Pair) -> None:
    """Both wake on the change, and both have the new value for those who come later."""
    for agent in agents:
        path = "/v1/health/service/waited?cached"
        first = agent.http("GET", path)
        assert (first.headers["x-cache"], first.json()) == ("MISS", [])
        index = agent.http("GET", path).headers["x-consul-index"]
        with contextlib.ExitStack() as stack:
            from concurrent.futures import ThreadPoolExecutor

            pool = stack.enter_context(ThreadPoolExecutor(8))
            waiting = [pool.submit(agent.http, "GET", f"{path}&index={index}") for _ in range(8)]
            body = {"Node": "w", "Address": "10.0.0.9", "Service": {"Service": "waited"}}
            assert agent.http("PUT", "/v1/catalog/register", body).status == 200
            answers = [each.result() for each in waiting]
        assert all(int(answer.headers["x-consul-index"]) > int(index) for answer in answers)
        assert all(len(answer.json()) == 1 for answer in answers)
        later = wait_until(lambda agent=agent, path=path: _with_value(agent, path), what="the new value")  # type: ignore[misc]
        assert (later.headers["x-cache"], later.headers["age"]) == ("HIT", "0")


def _with_value(agent: RealConsul | Agent, path: str) -> Any:
    answer = agent.http("GET", path)
    return answer if answer.json() else None


def _compare(pair: Pair, requests: list[Request]) -> None:
    found = []
    for request in requests:
        expected, answer = (exchange(agent.address, agent.http_port, request) for agent in pair)
        found += [f"{request}\n    {line}" for line in differences(expected, answer)]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)
