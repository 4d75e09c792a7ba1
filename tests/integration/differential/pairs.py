"""Two agents that were started alike, the real Consul and the one to be compared with it, asked the same."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_settled
from tests.integration.differential.exchange import Answer, Request, differences, exchange
from tests.integration.differential.script import Run, Step
from tests.loopback import LoopbackPool

COMPARED = os.environ.get("PROCONSUL_DIFFERENTIAL", "consul,proconsul").split(",")
"""What is compared with the real one. Two real agents must show no difference: that proves that the masks cover what
rightly differs."""
STILL: dict[str, Any] = {"disable_coordinates": True}
"""Coordinates would come some time in the first half minute, and sort the answers to `?near=` anew."""
OUTPUTS_HELD_BACK: dict[str, Any] = {"check_update_interval": "100h"}
"""Outputs alone would be brought to the catalog some time after two and a half minutes, at another moment by either
agent."""
AnyAgent = RealConsul | Agent
Pair = tuple[RealConsul, AnyAgent]


class Pairs:
    """Starts them. Both are idle then, with their own node in the catalog."""

    def __init__(self, binary: Path, loopback: LoopbackPool, factory: pytest.TempPathFactory) -> None:
        self._binary, self._loopback, self._factory = binary, loopback, factory

    @contextlib.contextmanager
    def running(self, config: dict[str, Any]) -> Iterator[tuple[RealConsul, Agent]]:
        """The real one first, then ours."""
        real, ours = self._real(config), Agent(self._loopback(), self._factory.mktemp("ours"), config=config)
        with self._settled(real, ours):
            yield real, ours

    @contextlib.contextmanager
    def running_with(self, kind: str, config: dict[str, Any]) -> Iterator[Pair]:
        """kind: what is compared with the real one, "consul" for another real one."""
        if kind != "consul":
            with self.running(config) as pair:
                yield pair
            return
        real, other = self._real(config), self._real(config)
        with self._settled(real, other):
            yield real, other

    def _real(self, config: dict[str, Any]) -> RealConsul:
        return RealConsul(self._loopback(), self._factory.mktemp("real"), self._binary, config=config)

    @contextlib.contextmanager
    def _settled(self, *agents: AnyAgent) -> Iterator[None]:
        with all_running(*agents):
            for agent in agents:
                wait_settled(agent)
            yield


def ask(agent: AnyAgent, request: Request) -> Answer:
    return exchange(agent.address, agent.http_port, request)


def run_of(agent: AnyAgent) -> Run:
    return Run(lambda request: ask(agent, request))


def compared(expected: Answer, answer: Callable[[], Answer]) -> list[str]:
    """The differences, or why `answer` gives none that could be compared."""
    try:
        return differences(expected, answer())
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        return [f"no comparable answer: {error!r}, where Consul says {expected.status}"]


def shown(request: Request | Step | str, lines: list[str]) -> list[str]:
    """Each difference below the request that has shown it."""
    return [f"{request}\n    {line}" for line in lines]


def assert_none(found: list[str]) -> None:
    """Fails with all the differences at once."""
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)


MEASURED, MEASURED_S = "/v1/agent/metrics", 25.0
"""What nobody has measured for ten seconds is not shown there, at another moment in either agent: a whole interval in
which both are only asked for this comes within twenty."""


def settled(pair: Pair, request: Request, settles_within_s: float = 0.0) -> list[str]:
    """The differences between the answers to one request. settles_within_s: how long a look that shows some is
    repeated, where something happens by itself, at another moment in either agent."""
    real, other = pair
    if request.path.partition("?")[0] == MEASURED:
        settles_within_s = max(settles_within_s, MEASURED_S)
    repeat_until = time.monotonic() + (settles_within_s if request.method == "GET" else 0.0)
    while lines := compared(ask(real, request), lambda: ask(other, request)):
        if time.monotonic() >= repeat_until:
            break
        time.sleep(0.1)
    return lines


def assert_same(pair: Pair, requests: list[Request], *, settles_within_s: float = 0.0) -> None:
    """One after the other, each to both; see `settled`."""
    assert_none([line for request in requests for line in shown(request, settled(pair, request, settles_within_s))])
