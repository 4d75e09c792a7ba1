"""Generated requests to the real Consul and to our agent: status, headers and bodies must be equal.

Which requests: PROCONSUL_SEED (any text) and PROCONSUL_GENERATED (how many to each endpoint) choose others than CI
sends. All differences of an endpoint are shown at once, with the seed."""

from __future__ import annotations

import http.client
import os
import re
import secrets
import warnings
from dataclasses import dataclass

import pytest

from tests.agents import Agent
from tests.integration.differential.exchange import Request, differences
from tests.integration.differential.generated import ENDPOINTS, Endpoint, World, requests
from tests.integration.differential.generated.known import KNOWN
from tests.integration.differential.pairs import AnyAgent, Pair, run_of
from tests.integration.differential.script import Run

pytestmark = pytest.mark.real_consul

SEED = os.environ.get("PROCONSUL_SEED", "1")
COUNT = int(os.environ.get("PROCONSUL_GENERATED", "24"))


@dataclass
class Side:
    """One of the two: the agent, what it holds, and the way to ask it with its own ids filled in."""

    agent: AnyAgent
    world: World
    run: Run

    @classmethod
    def of(cls, agent: AnyAgent) -> Side:
        world = World(agent)
        run = run_of(agent)
        run.values = world.values
        return cls(agent, world, run)


@pytest.fixture(scope="module")
def sides(agents: Pair) -> tuple[Side, Side]:
    both = Side.of(agents[0]), Side.of(agents[1])
    for side in both:
        side.world.restore()
    return both


def _name(endpoint: Endpoint) -> str:
    return f"{'-'.join(endpoint.methods)} {endpoint.path}{(endpoint.parts or ('',))[0]}"


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_name)
def test_same_answers(sides: tuple[Side, Side], endpoint: Endpoint) -> None:
    _compare(sides, endpoint, SEED, COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=_name)
def test_same_answers_to_many(sides: tuple[Side, Side], endpoint: Endpoint) -> None:
    _compare(sides, endpoint, os.environ.get("PROCONSUL_SEED") or secrets.token_hex(4), 200)


def test_the_same_seed_gives_the_same_requests() -> None:
    made = [requests(endpoint, "x", 30) for endpoint in ENDPOINTS]
    assert made == [requests(endpoint, "x", 30) for endpoint in ENDPOINTS]
    assert made != [requests(endpoint, "y", 30) for endpoint in ENDPOINTS]
    assert sum(map(len, made)) >= 1000


def _compare(sides: tuple[Side, Side], endpoint: Endpoint, seed: str, count: int) -> None:
    real, other = sides
    if endpoint.writes:
        for side in sides:
            side.world.restore()
    found = []
    try:
        for request in requests(endpoint, seed, count):
            lines = _differences(real, other, request)
            reason = _known(request) if lines and isinstance(other.agent, Agent) else None
            if reason is not None:
                warnings.warn(f"{request}: {reason}", stacklevel=1)
                continue
            if lines:
                found.append("\n    ".join((f"{request} {request.body!r}", *lines)))
    finally:
        if endpoint.writes:
            for side in sides:
                side.world.restore()
    text = "\n".join(found)
    assert not found, f"{len(found)} differences (PROCONSUL_SEED={seed}), Consul's answer first:\n{text}"


def _differences(real: Side, other: Side, request: Request) -> list[str]:
    try:
        expected = real.run.take(request)
    except http.client.RemoteDisconnected:
        expected = None  # its handler panicked, which nobody relies on: ours only has to survive
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AssertionError(f"Consul itself failed at {request}: {error!r}") from error
    try:
        answer = other.run.take(request)
        return differences(expected, answer) if expected is not None else []
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expected is None and isinstance(error, http.client.RemoteDisconnected):
            return []
        says = f"{expected.status} {expected.body[:200]!r}" if expected is not None else "nothing"
        return [f"no comparable answer: {error!r}, where Consul says {says}"]


def _known(request: Request) -> str | None:
    text = f"{request.method} {request.path} {request.body.decode('utf-8', 'replace')}"
    return next((reason for pattern, reason in KNOWN.items() if re.search(pattern, text)), None)
