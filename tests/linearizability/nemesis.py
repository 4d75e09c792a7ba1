"""What goes wrong in a cluster: processes die and hang, links are cut, one thing after the other and sometimes two at
once. Every fault ends by itself, and a seed names the whole sequence."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tests.agents import COMPONENTS, Agent
from tests.linearizability.network import Network

_CALM_S = 1.0, 5.0
"""Between two faults."""


class Nemesis(threading.Thread):
    """Until `stopping` is set. `log`: what it did, with the time since it began; `failure`: what kept it from going
    on."""

    def __init__(
        self,
        agents: Sequence[Agent],
        network: Network,
        leader: Callable[[], Agent | None],
        stopping: threading.Event,
        seed: int,
    ) -> None:
        super().__init__(name="nemesis", daemon=True)
        self._agents, self._network, self._leader = list(agents), network, leader
        self._stopping = stopping
        self._rng = random.Random(f"nemesis {seed}")
        self._began = time.monotonic()
        self.log: list[str] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        faults = [
            self._kill_everything,
            self._kill_component,
            self._hang,
            self._hang_component,
            self._part,
            self._cut_one_way,
        ]
        try:
            with self._network.entered():
                while not self._stopping.is_set():
                    self._wait(*_CALM_S)
                    with contextlib.ExitStack() as stack:
                        for fault in self._rng.sample(faults, self._rng.choice([1, 1, 2])):
                            stack.enter_context(fault())
                        self._wait(0.2, 6.0)
        except BaseException as error:
            self.failure = error

    def _wait(self, shortest_s: float, longest_s: float) -> None:
        self._stopping.wait(self._rng.uniform(shortest_s, longest_s))

    def _say(self, what: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:8.2f} s  {what}")

    def _victim(self) -> Agent:
        """The leader more often than not: that is where it hurts."""
        leader = self._leader() if self._rng.random() < 0.6 else None
        return leader or self._rng.choice(self._agents)

    @contextlib.contextmanager
    def _kill_everything(self) -> Iterator[None]:
        victim = self._victim()
        self._say(f"kill -9 of {victim.node_name}")
        victim.kill_everything()
        try:
            yield
        finally:
            victim.start()
            self._say(f"start of {victim.node_name}")

    @contextlib.contextmanager
    def _kill_component(self) -> Iterator[None]:
        """The supervisor starts it again."""
        victim, component = self._victim(), self._rng.choice(COMPONENTS)
        pid = victim.pids().get(component)
        if pid is not None:
            self._say(f"kill -9 of {victim.node_name}'s {component}")
            _signal([pid], signal.SIGKILL)
        yield

    @contextlib.contextmanager
    def _hang(self) -> Iterator[None]:
        victim = self._victim()
        with self._stopped([victim.pid, *victim.children()], victim.node_name):
            yield

    @contextlib.contextmanager
    def _hang_component(self) -> Iterator[None]:
        victim, component = self._victim(), self._rng.choice(COMPONENTS)
        pid = victim.pids().get(component)
        with self._stopped([] if pid is None else [pid], f"{victim.node_name}'s {component}"):
            yield

    @contextlib.contextmanager
    def _stopped(self, pids: list[int], name: str) -> Iterator[None]:
        self._say(f"SIGSTOP of {name}")
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)
            self._say(f"SIGCONT of {name}")

    @contextlib.contextmanager
    def _part(self) -> Iterator[None]:
        """A minority, often with the leader in it, on its own."""
        count = self._rng.randint(1, (len(self._agents) - 1) // 2)
        first = self._agents.index(self._victim())
        others = [number for number in range(len(self._agents)) if number != first]
        part = {first, *self._rng.sample(others, count - 1)}
        self._say(f"cut off: {sorted(self._agents[number].node_name for number in part)}")
        self._network.part(part)
        with self._healed():
            yield

    @contextlib.contextmanager
    def _cut_one_way(self) -> Iterator[None]:
        source, target = self._rng.sample(range(len(self._agents)), 2)
        self._say(f"nothing from {self._agents[source].node_name} to {self._agents[target].node_name}")
        self._network.cut(source, target)
        with self._healed():
            yield

    @contextlib.contextmanager
    def _healed(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._network.heal()
            self._say("links are whole")


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
