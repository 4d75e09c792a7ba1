"""Sessions and transactions: the same scripts to the real Consul and to our agent, equal answers at every step."""

from __future__ import annotations

import contextlib
import http.client
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.integration.differential import scenarios_session, scenarios_txn
from tests.integration.differential.exchange import Answer, Request, differences, exchange
from tests.integration.differential.script import Run, Step
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

COMPARED = os.environ.get("PROCONSUL_DIFFERENTIAL", "consul,proconsul").split(",")
SCRIPTS = {**scenarios_session.SCRIPTS, **scenarios_txn.SCRIPTS}
KNOWN_DIFFERENCES: dict[str, str] = {}
"""Requests that our agent answers differently, and why. They are shown as warnings, not hidden."""


@pytest.fixture(scope="module", params=COMPARED)
def agents(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RealConsul, RealConsul | Agent]]:
    """The real agent first, then the one to be compared."""
    still = {"disable_coordinates": True}
    real = RealConsul(loopback(), tmp_path_factory.mktemp("real"), real_consul, config=still)
    other: RealConsul | Agent
    if request.param == "consul":
        other = RealConsul(loopback(), tmp_path_factory.mktemp("other"), real_consul, config=still)
    else:
        other = Agent(loopback(), tmp_path_factory.mktemp("ours"), config=still)
    with contextlib.ExitStack() as stack:
        for agent in (real, other):
            stack.enter_context(agent.running())
        for agent in (real, other):
            wait_settled(agent)
        yield real, other


def _run(agent: RealConsul | Agent) -> Run:
    return Run(lambda request: exchange(agent.address, agent.http_port, request))


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_answers(agents: tuple[RealConsul, RealConsul | Agent], name: str) -> None:
    real, other = agents
    known, tried = _run(real), _run(other)
    found = []
    for step in SCRIPTS[name]:
        try:
            expected = known.take(step)
        except (OSError, http.client.HTTPException, LookupError, TypeError) as error:
            raise AssertionError(f"Consul itself failed at {step}: {error!r}") from error
        lines = _compare(expected, step, tried)
        if lines and isinstance(other, Agent) and str(step) in KNOWN_DIFFERENCES:
            warnings.warn(f"{step}: {KNOWN_DIFFERENCES[str(step)]}", stacklevel=1)
            continue
        found += [f"{step}\n    {line}" for line in lines]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)


def _compare(expected: Answer, step: Step | Request, run: Run) -> list[str]:
    try:
        return differences(expected, run.take(step))
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        return [f"no comparable answer: {error!r}, where Consul says {expected.status}"]
