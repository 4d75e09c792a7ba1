"""Cached reads of a whole agent: kept fresh, given out without asking, and right again after rpc_core has died."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.agents import Agent, Response, wait_settled, wait_until
from tests.loopback import LoopbackPool

PATH = "/v1/health/service/web?cached"


@pytest.fixture(scope="module")
def agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    made = Agent(loopback(), tmp_path_factory.mktemp("cached"), config={"disable_coordinates": True})
    with made.running():
        wait_settled(made)
        yield made


def register(agent: Agent, node: str) -> None:
    body = {"Node": node, "Address": "10.0.0.1", "Service": {"Service": "web"}}
    assert agent.http("PUT", "/v1/catalog/register", body).status == 200


def nodes(answer: Response) -> set[str]:
    assert answer.status == 200, answer.body
    return {each["Node"]["Node"] for each in answer.json()}


def test_every_change_reaches_those_who_read_from_the_cache(agent: Agent) -> None:
    known = nodes(agent.http("GET", PATH))
    for number in range(5):
        for _ in range(3):
            assert agent.http("GET", PATH).headers["x-cache"] == "HIT"
        known.add(f"n{number}")
        register(agent, f"n{number}")
        wait_until(lambda: nodes(agent.http("GET", PATH)) == known, what="the new node")
    body = {"Node": "n0"}
    assert agent.http("PUT", "/v1/catalog/deregister", body).status == 200
    wait_until(lambda: "n0" not in nodes(agent.http("GET", PATH)), what="the end of a node")


def test_gzip_and_pretty_are_answered_as_they_were_asked_for(agent: Agent) -> None:
    register(agent, "again")
    wait_until(lambda: "again" in nodes(agent.http("GET", PATH)), what="the node")
    for _ in range(3):
        plain = agent.http("GET", PATH)
        assert agent.http("GET", PATH, headers={"Accept-Encoding": "gzip"}).headers.get("content-encoding") == "gzip"
        assert agent.http("GET", f"{PATH}&pretty").body == plain.body  # a dev agent is always pretty


def test_many_that_wait_are_woken_by_one_change(agent: Agent) -> None:
    agent.http("GET", PATH)
    index = agent.http("GET", PATH).headers["x-consul-index"]
    with ThreadPoolExecutor(32) as pool:
        waiting = [pool.submit(agent.http, "GET", f"{PATH}&index={index}&wait=60s") for _ in range(32)]
        register(agent, "woken")
        assert all("woken" in nodes(each.result()) for each in waiting)


def test_after_the_death_of_rpc_core_nothing_old_is_given_out(agent: Agent) -> None:
    for _ in range(3):
        agent.http("GET", PATH)
    old = agent.kill("rpc_core")
    agent.wait_restarted("rpc_core", old)
    body = {"Node": "later", "Address": "10.0.0.1", "Service": {"Service": "web"}}
    wait_until(lambda: agent.http("PUT", "/v1/catalog/register", body).status == 200, what="a registration")
    wait_until(lambda: "later" in nodes(agent.http("GET", PATH)), what="the new node")
    wait_until(lambda: agent.http("GET", PATH).headers["x-cache"] == "HIT", what="a hit")
