"""The npm client `consul`: the same session against the real Consul and our agent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.clients import packages
from tests.integration.clients.session_output import assert_same, run_session

pytestmark = pytest.mark.real_consul

SCRIPT = Path(__file__).with_name("scripts") / "node_session.js"


def test_a_session_with_the_npm_client(
    agents: tuple[RealConsul, Agent], fetched: Callable[..., Path], tmp_path: Path
) -> None:
    command = ["node", str(SCRIPT), str(fetched(packages.npm_client))]
    real, ours = (run_session(command, agent, tmp_path) for agent in agents)
    assert ours["kv set"] is True
    assert ours["watch saw 3"] == ["1", "2", None]
    assert ours["lock"] is True
    assert_same(real, ours)
