"""retry_join: an agent keeps trying until somebody is there, or until its attempts are used up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.loopback import LoopbackPool


@pytest.fixture
def make_agent(loopback: LoopbackPool, tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    agents: list[Agent] = []

    def make(name: str, address: str = "", **config: object) -> Agent:
        agents.append(Agent(address or loopback(), tmp_path / name, node_name=name, config=config))
        return agents[-1]

    yield make
    for agent in agents:
        agent.destroy()


def members(agent: Agent) -> set[str]:
    return {member["Name"] for member in json.loads(agent.http("GET", "/v1/agent/members").body)}


def test_retries_until_somebody_is_there(make_agent: Callable[..., Agent], loopback: LoopbackPool) -> None:
    elsewhere = loopback()
    early = make_agent("early", retry_join=[elsewhere], retry_interval="1s")
    early.start()
    early.wait_ready()
    early.wait_output("agent: Join cluster failed, will retry: cluster=LAN retry_interval=1s error=")
    late = make_agent("late", elsewhere)
    late.start()
    late.wait_ready()
    early.wait_output("agent: Join cluster completed. Synced with initial agents: cluster=LAN num_agents=1")
    wait_until(lambda: members(early) == members(late) == {"early", "late"}, PATIENCE_S, "both to know both")


def test_gives_up_after_the_attempts_it_was_given(make_agent: Callable[..., Agent], loopback: LoopbackPool) -> None:
    cloud = "provider=aws tag_key=role"
    agent = make_agent("alone", retry_join=[loopback(), cloud], retry_interval="1s", retry_max=1)
    agent.start()
    assert agent.wait_exit() == 1
    assert f'Cannot discover address: cluster=LAN address="{cloud}"' in agent.output()
    text = 'agent: Retry join failed: error="agent: max join LAN retry exhausted, exiting"'
    assert text in agent.output()
