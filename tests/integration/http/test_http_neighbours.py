"""The gateway while its neighbours are away: it waits for them, says what is wrong, and goes on by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from tests.agents import Agent, wait_settled, wait_until
from tests.loopback import LoopbackPool


@pytest.fixture
def agent(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    config = {"performance": {"rpc_hold_timeout": "2s"}}
    agent = Agent(loopback(), tmp_path_factory.mktemp("agent"), config=config)
    with agent.running():
        yield agent


def test_a_leaders_reads_and_writes_go_on_while_rpc_core_hangs(agent: Agent) -> None:
    wait_settled(agent)  # what rpc_core does for a new leader is done
    assert agent.http("GET", "/v1/status/peers").status == 200
    agent.kill("rpc_core", signal.SIGSTOP)
    try:
        for number in range(20):
            assert agent.http("PUT", "/v1/kv/a", str(number)).body.strip() == b"true"
            assert agent.http("GET", "/v1/kv/a?raw").body == str(number).encode()
        started = time.monotonic()
        answer = agent.http("GET", "/v1/status/peers", timeout_s=40)
        assert answer.status == 500
        assert b"rpc did not answer in time" in answer.body
        assert time.monotonic() - started < 20
    finally:
        agent.kill("rpc_core", signal.SIGCONT)
    wait_until(lambda: agent.http("GET", "/v1/status/peers").status == 200, what="its answers again")


def test_a_killed_gateway_is_back_and_serves_what_was_acknowledged(agent: Agent) -> None:
    for number in range(50):
        assert agent.http("PUT", f"/v1/kv/n{number}", str(number)).body.strip() == b"true"
    old = agent.kill("http_gateway")
    agent.wait_restarted("http_gateway", old)
    wait_until(lambda: agent.http("GET", "/v1/kv/n49?raw").body == b"49", what="its first answer")
    assert len(agent.http("GET", "/v1/kv/n?keys").json()) == 50


def test_leave_is_answered_before_the_agent_ends(agent: Agent) -> None:
    answer = agent.http("PUT", "/v1/agent/leave")
    assert (answer.status, answer.body) == (200, b"")
    assert agent.wait_exit() == 0


def test_reload_is_answered_when_it_is_done_and_says_what_is_wrong(agent: Agent) -> None:
    assert agent.http("PUT", "/v1/agent/reload").status == 200
    (agent.directory / "config.json").write_text('{"nonsense": true}')
    refused = agent.http("PUT", "/v1/agent/reload")
    assert refused.status == 500
    assert b"nonsense" in refused.body
