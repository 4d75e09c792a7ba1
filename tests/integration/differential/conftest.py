"""Pairs of agents for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.differential.pairs import COMPARED, STILL, Pair, Pairs
from tests.loopback import LoopbackPool


@pytest.fixture(scope="module")
def pairs(real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return Pairs(real_consul, loopback, tmp_path_factory)


@pytest.fixture(scope="module", params=COMPARED)
def agents(request: pytest.FixtureRequest, pairs: Pairs) -> Iterator[Pair]:
    """The real agent first, then the one to be compared. A module's `CONFIG` is the configuration of both."""
    with pairs.running_with(request.param, getattr(request.module, "CONFIG", STILL)) as pair:
        yield pair


@pytest.fixture(scope="module")
def real_and_ours(request: pytest.FixtureRequest, pairs: Pairs) -> Iterator[tuple[RealConsul, Agent]]:
    """As `agents`, where it is known that two real ones show no difference."""
    with pairs.running(getattr(request.module, "CONFIG", STILL)) as pair:
        yield pair
