"""The agent cache, namespaces and http_config: the same requests to the real Consul and to our agent."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.agents import wait_until
from tests.integration.differential.pairs import AnyAgent, Pair, Pairs, assert_same
from tests.integration.differential.scenarios_reads import RULED, RULES, SCENARIOS

pytestmark = pytest.mark.real_consul


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_answers(real_and_ours: Pair, name: str) -> None:
    assert_same(real_and_ours, SCENARIOS[name])


def test_rules_of_http_config(pairs: Pairs) -> None:
    with pairs.running(RULED) as pair:
        assert_same(pair, RULES)


def test_a_cached_read_that_waits_sees_the_change(real_and_ours: Pair) -> None:
    """Both wake on the change, and both have the new value for those who come later."""
    for agent in real_and_ours:
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


def _with_value(agent: AnyAgent, path: str) -> Any:
    answer = agent.http("GET", path)
    return answer if answer.json() else None
