"""What servers and links do to the clients of a cluster, one thing after the other, and who talks rubbish to its ports
meanwhile. Every disturbance ends by itself and is followed by a pause in which the cluster is whole."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tests.agents import Agent
from tests.clusters import Cluster
from tests.integration.client_mode.setups import wait_whole
from tests.linearizability.network import Network

_CALM_S = 3.0
_LINK_S = 3.0, 50.0
"""How long a link is disturbed: a peer that says nothing is given up after 30 to 40 s."""
_AWAY_S = 0.5, 5.0
_HANG_S = 1.0, 15.0
_COMPONENTS = ("raft_node", "gossip", "rpc_core")
SLOW_RATE = "400kbit"
SILENCE_MAX_S = 7.0
RUBBISH_PAUSE_S = 0.2


class Disturber(threading.Thread):
    """Until `stopping` is set. clients: numbers of their hosts; the servers' hosts are 0 and so on, in their order.
    `log`: what it did, with the time since it began; `failure`: what kept it from going on."""

    def __init__(
        self, cluster: Cluster, clients: Sequence[int], network: Network, stopping: threading.Event, seed: int
    ) -> None:
        super().__init__(name="disturber", daemon=True)
        self._cluster, self._clients, self._network = cluster, list(clients), network
        self._stopping = stopping
        self._rng = random.Random(f"disturber {seed}")
        self._began = time.monotonic()
        self.log: list[str] = []
        self.failure: BaseException | None = None
        self.deaths = 0
        """Ends of servers, links and processes that writes may have been under way to."""

    def run(self) -> None:
        kinds: list[Callable[[], None]] = []
        try:
            with self._network.entered():
                while not self._stopping.is_set():
                    if not kinds:  # each once, then each once again in another order
                        kinds = [
                            self._kill_the_leader,
                            self._kill_a_component,
                            self._restart_all,
                            self._leave_and_return,
                            self._hang,
                            self._cut,
                            self._cut_one_way,
                            self._cut_one_way,
                            self._slow,
                        ]
                        self._rng.shuffle(kinds)
                    self._stopping.wait(_CALM_S)
                    kinds.pop()()
                    wait_whole(self._cluster)
        except BaseException as error:
            self.failure = error

    def _wait(self, between_s: tuple[float, float]) -> None:
        self._stopping.wait(self._rng.uniform(*between_s))

    def _say(self, what: str, deaths: int = 1) -> None:
        self.deaths += deaths
        self.log.append(f"{time.monotonic() - self._began:8.2f} s  {what}")

    def _any(self) -> Agent:
        return _ours(self._rng.choice(self._cluster.servers))

    # -- servers -------------------------------------------------------------------------------------

    def _kill_the_leader(self) -> None:
        leader = _ours(self._cluster.leader())
        self._say(f"kill -9 of {leader.node_name}, which leads")
        leader.kill_everything()
        self._wait(_AWAY_S)
        self._start(leader)

    def _kill_a_component(self) -> None:
        victim, component = self._any(), self._rng.choice(_COMPONENTS)
        self._say(f"kill -9 of {victim.node_name}'s {component}")
        victim.wait_restarted(component, victim.kill(component))

    def _restart_all(self) -> None:
        for one in self._cluster:
            self._say(f"restart of {one.node_name}")
            assert one.stop() >= 0
            self._start(_ours(one))
            wait_whole(self._cluster)

    def _leave_and_return(self) -> None:
        victim = self._any()
        self._say(f"{victim.node_name} leaves")
        assert victim.cli("leave").returncode == 0
        assert victim.wait_exit() == 0
        self._wait(_AWAY_S)
        self._start(victim)

    def _hang(self) -> None:
        victim = self._any()
        pids = [victim.pid, *victim.children()]
        self._say(f"SIGSTOP of {victim.node_name}")
        _signal(pids, signal.SIGSTOP)
        try:
            self._wait(_HANG_S)
        finally:
            _signal(reversed(pids), signal.SIGCONT)

    def _start(self, agent: Agent) -> None:
        agent.start()
        agent.wait_ready()

    # -- links ---------------------------------------------------------------------------------------

    def _cut(self) -> None:
        client, server = self._rng.choice(self._clients), self._rng.randrange(len(self._cluster.servers))
        self._say(f"nothing between host {client} and host {server}")
        self._network.cut(client, server)
        self._network.cut(server, client)
        self._wait_and_heal()

    def _cut_one_way(self) -> None:
        """One side still hears the other, which cannot know."""
        link = [self._rng.choice(self._clients), self._rng.randrange(len(self._cluster.servers))]
        self._rng.shuffle(link)
        self._say(f"nothing from host {link[0]} to host {link[1]}")
        self._network.cut(*link)
        self._wait_and_heal()

    def _wait_and_heal(self) -> None:
        try:
            self._wait(_LINK_S)
        finally:
            self._network.heal()

    def _slow(self) -> None:
        client = self._rng.choice(self._clients)
        self._say(f"{SLOW_RATE} to host {client}", deaths=0)
        with self._network.slowed(client, SLOW_RATE):
            self._wait(_LINK_S)


class Rubbish(threading.Thread):
    """Connections to `targets`, "ip", port 8300, that say what no agent says, until `stopping` is set."""

    def __init__(
        self,
        targets: Sequence[str],
        entered: Callable[[], contextlib.AbstractContextManager[None]],
        stopping: threading.Event,
        seed: int,
    ) -> None:
        super().__init__(name="rubbish", daemon=True)
        self._targets, self._entered, self._stopping = list(targets), entered, stopping
        self._rng = random.Random(f"rubbish {seed}")
        self.connections = 0

    def run(self) -> None:
        with self._entered(), contextlib.ExitStack() as silent:
            ends: list[tuple[float, socket.socket]] = []
            while not self._stopping.wait(RUBBISH_PAUSE_S):
                with contextlib.suppress(OSError):
                    sock = socket.create_connection((self._rng.choice(self._targets), 8300), timeout=1)
                    silent.enter_context(sock)
                    self.connections += 1
                    ends.append((time.monotonic() + self._rng.uniform(0, SILENCE_MAX_S), sock))
                    sock.sendall(rubbish(self._rng))
                while ends and ends[0][0] < time.monotonic():
                    ends.pop(0)[1].close()


def rubbish(rng: random.Random) -> bytes:
    """What some connection begins with: nothing, noise behind a type byte, a TLS hello, frames of absurd lengths."""
    yamux_frames = b"".join(
        bytes([0, rng.randrange(5)]) + rng.randbytes(2) + rng.randbytes(4) + rng.choice([bytes(4), rng.randbytes(4)])
        for _ in range(5)
    )
    open_stream = b"\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00"
    half_a_call = b"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x14\x82\xa3Seq\x01\xadServiceMethod"[:32]
    return rng.choice(
        [
            b"",
            bytes([rng.randrange(256)]),
            bytes([rng.randrange(8)]) + rng.randbytes(300),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(505),
            b"\x03\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(505),
            b"\x04" + yamux_frames,
            b"\x04" + open_stream,
            b"\x04" + open_stream + half_a_call,
            b"\x00\xdd\xff\xff\xff\xff",
            b"\x05\xdf\xff\xff\xff\xff",
        ]
    )


def _ours(agent: object) -> Agent:
    assert isinstance(agent, Agent)
    return agent


def _signal(pids: Sequence[int] | Iterator[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
