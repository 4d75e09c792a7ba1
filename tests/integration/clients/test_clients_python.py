"""The Python clients that applications use: the same session with each, against the real Consul and our agent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.clients import packages
from tests.integration.clients.session_output import assert_same, run_session

pytestmark = pytest.mark.real_consul

SCRIPT = Path(__file__).with_name("scripts") / "python_session.py"


@pytest.mark.parametrize("name", packages.PYTHON_CLIENTS)
def test_a_session_with(
    name: str, agents: tuple[RealConsul, Agent], fetched: Callable[..., Path], tmp_path: Path
) -> None:
    directory = fetched(packages.python_client, name)
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    real, ours = (run_session(command, agent, tmp_path, PYTHONPATH=str(directory)) for agent in agents)
    assert ours["kv put"] is True
    assert ours["lock"] is True
    assert ours["query execute"]["Nodes"]
    assert_same(real, ours)
