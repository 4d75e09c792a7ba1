"""CPU of an agent in a LAN pool of 1,000 members: joining it, telling about those that joined, a storm
of rumours, and life as usual.

The other members are one process, tests/benchmarks/gossip_load.py, which sends both kinds of agents the same. The
time of our gossip process is set against that of the whole real agent, which has no such process."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.agents import Agent, RealConsul, wait_settled, wait_until

MEMBERS = 1000
KEY = base64.b64encode(b"0123456789abcdef").decode()
STORM = 20.0
TIME_S = 40.0
PATIENCE_S = 120.0
_BYTES_PER_S_QUIET = 10_000

Add = Callable[[str, str, float], None]
"""Name of a row, its unit, the value."""


class Peers:
    """The process that stands for the other members."""

    def __init__(self, address: str, key: str) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.gossip_load", "--address", address]
        self._process = subprocess.Popen(
            [*command, "--members", str(MEMBERS), "--key", key], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.join_address = f"{address}:{int(self._line())}"

    def tell(self, command: str) -> dict[str, int]:
        """What was sent and received since the last start. Raises AssertionError if the process is gone."""
        self._pipe(self._process.stdin).write(f"{command}\n".encode())
        self._pipe(self._process.stdin).flush()
        stats: dict[str, int] = json.loads(self._line())
        return stats

    def close(self) -> None:
        self._pipe(self._process.stdin).close()
        self._process.wait(20)

    def _line(self) -> bytes:
        line = self._pipe(self._process.stdout).readline()
        assert line, "the simulated members are gone"
        return line

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def cpu_s(pids: list[int]) -> float:
    """CPU seconds so far, to the microsecond: of the processes with all their threads, past ones included."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def context_switches(pid: int) -> int:
    """How often the process went to sleep and was woken, all threads together."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        total += int(fields["voluntary_ctxt_switches"])
    return total


class Meter:
    """CPU of the gossip process and of the whole agent, as rows."""

    def __init__(self, agent: Agent | RealConsul, kind: str, add: Add) -> None:
        self._everyone = [agent.pid, *agent.children()]
        self._gossip = [agent.pids()["gossip"]] if isinstance(agent, Agent) else self._everyone
        self._kind = kind
        self._add = add

    def seconds(self, name: str, work: Callable[[], None]) -> None:
        """What the work costs in all."""
        for whose, used_s, _ in self._spent(work):
            self._add(f"{name} {self._kind}: CPU of {whose}", "s", used_s)

    def share(self, name: str, work: Callable[[], None]) -> None:
        """What it takes of a core while it lasts."""
        for whose, used_s, passed_s in self._spent(work):
            self._add(f"{name} {self._kind}: CPU of {whose}", "% of a core", used_s / passed_s * 100)

    def _spent(self, work: Callable[[], None]) -> list[tuple[str, float, float]]:
        gossip_s, everyone_s, started = cpu_s(self._gossip), cpu_s(self._everyone), time.monotonic()
        work()
        passed_s = time.monotonic() - started
        return [
            ("gossip", cpu_s(self._gossip) - gossip_s, passed_s),
            ("the agent", cpu_s(self._everyone) - everyone_s, passed_s),
        ]


def measure(agent: Agent | RealConsul, peers_address: str, key: str, add: Add) -> None:
    """Rows for one agent that was not started yet. key: "" for an unencrypted pool."""
    with agent.running():
        wait_settled(agent)
        peers = Peers(peers_address, key)
        try:
            meter = Meter(agent, f"{MEMBERS:,} members, encrypted" if key else f"{MEMBERS:,} members", add)
            meter.seconds("joining", lambda: _join(agent, peers))
            wait_until(lambda: _in_catalog(agent) > MEMBERS, PATIENCE_S, "all members in the catalog")
            _live(agent, peers, 1.0)
            meter.share("just after joining", lambda: _pass(peers, TIME_S))
            _stop(peers)
            _live(agent, peers, STORM)
            meter.share(f"rumours x{STORM:g} among", lambda: _pass(peers, TIME_S / 2))
            _stop(peers)
            _live(agent, peers, 1.0)
            _wait_for_quiet(peers)
            _live(agent, peers, 1.0)
            meter.share("life among", lambda: _pass(peers, TIME_S))
            _stop(peers)
        finally:
            peers.close()


def _join(agent: Agent | RealConsul, peers: Peers) -> None:
    answer = agent.http("PUT", f"/v1/agent/join/{peers.join_address}")
    assert answer.status == 200, answer
    wait_until(lambda: len(agent.http("GET", "/v1/agent/members").json()) > MEMBERS, PATIENCE_S, "all members")


def _in_catalog(agent: Agent | RealConsul) -> int:
    time.sleep(0.2)
    return len(agent.http("GET", "/v1/catalog/nodes").json())


def _live(agent: Agent | RealConsul, peers: Peers, speed: float) -> None:
    peers.tell(f"start {agent.address}:8301 {agent.node_name} {speed:g}")
    time.sleep(3)  # the first rumours are on their way by then


def _pass(peers: Peers, seconds: float) -> None:
    """Time, with one state exchange on the way: a pool of that size has about one in three minutes."""
    time.sleep(seconds / 2)
    peers.tell("push_pull")
    time.sleep(seconds / 2)


def _wait_for_quiet(peers: Peers) -> None:
    """A thousand new members are a thousand rumours, each sent 16 times: that takes two minutes."""

    def quiet() -> bool:
        before = peers.tell("stats")["bytes received"]
        time.sleep(2)
        return peers.tell("stats")["bytes received"] - before < 2 * _BYTES_PER_S_QUIET

    wait_until(quiet, 3 * PATIENCE_S, "the end of the rumours about those that joined")


def _stop(peers: Peers) -> None:
    """The agent must have taken part: it answered what it was asked, and passed rumours on."""
    stats = peers.tell("stop")
    print(f"        {json.dumps(stats)}", flush=True)
    assert stats.get("unreadable", 0) == 0, stats
    assert stats["Ack received"] >= 0.9 * stats["pings sent"], stats
    assert stats["Suspect received"] > 0, stats
    assert stats["nodes in the last answer"] == MEMBERS + 1, stats
