"""Clients through half an hour of everything that servers and links can do to them: applications notice what they are
promised, and nothing grows.

PROCONSUL_SOAK_S is how long it lasts, PROCONSUL_SOAK_SEED replays its disturbances."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from dnslib import RCODE

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.clusters import AnyAgent, client
from tests.integration.client_mode.disturbances import Disturber, Rubbish
from tests.integration.client_mode.setups import Applications, ask_dns, is_complete
from tests.integration.cluster.test_cluster_linearizability import HostAgent, made_of
from tests.linearizability.network import Network, why_not
from tests.seeds import seed_of

SOAK_S = float(os.environ.get("PROCONSUL_SOAK_S", "1800"))
MEASURE_EVERY_S = min(60.0, SOAK_S / 10)
SERVERS = 3
CLIENTS: list[dict[str, object]] = [{}, {"dns_config": {"use_cache": True}}]
"""What is special about each client."""
KEYS = 200
ANSWER_WITHIN_S = 60.0
"""A half-open connection is noticed after at most 40 s; then the servers have the hold timeout."""
RESOLVER_TIMEOUT_S = 12.0
SYNC_WITHIN_S = 200.0
"""A registration that got lost on its way is made again by the next full synchronisation: one to two minutes."""
WRITES_LOST_PER_DEATH = 2
GROWTH_MAX = 1.05
SPARE_KB, SPARE_FDS, SPARE_TASKS = 3072, 8, 12
"""What the last third of the time may have above the first without being called growth."""
TASKS_AT_REST, FDS_AT_REST = 80, 170


class Everything(Applications):
    """And checks, look-ups of services, queries that nobody waits for to the end. Writes go round `KEYS` keys."""

    def __init__(self, agent: AnyAgent) -> None:
        super().__init__(agent, session_ttl="60s")
        self._written = self.asked_again = 0
        self.failed_look_ups: list[str] = []
        self._lost: dict[str, set[str]] = {}
        self._rng = random.Random(agent.address)
        check = {"TTL": "60s", "CheckID": "alive", "Status": "passing"}
        script = {"Args": ["sh", "-c", "echo $$"], "Interval": "1s", "CheckID": "script"}
        service = {"Name": f"of-{agent.node_name}", "Port": 1, "Checks": [check, script]}
        assert agent.http("PUT", "/v1/agent/service/register", service).status == 200
        assert agent.http("PUT", f"/v1/kv/{self._prefix}7", b"1").body == b"true"
        self._service = f"of-{agent.node_name}.service.consul"
        wait_until(lambda: ask_dns(agent.address, self._service).rr, what="the service with passing checks")

    def jobs(self) -> list[Callable[[], None]]:
        return [*super().jobs(), self._pass, self._look_up_service, self._let_go]

    def _look_up(self) -> None:
        self._resolve(f"{self._agent.node_name}.node.consul")

    def _look_up_service(self) -> None:
        self._resolve(self._service)

    def _resolve(self, name: str) -> None:
        """As resolvers do: again where nothing comes back (slow links lose datagrams), or a failure (a cluster that has
        no leader for longer than calls are held, or a client that reaches none of several servers)."""
        give_up_at = time.monotonic() + ANSWER_WITHIN_S
        while True:
            try:
                answer = ask_dns(self._agent.address, name, timeout_s=RESOLVER_TIMEOUT_S)
            except TimeoutError:
                answer = None
            if answer is not None and answer.header.rcode == RCODE.NOERROR and answer.rr:
                return
            assert time.monotonic() < give_up_at, str(answer)
            assert answer is None or answer.header.rcode == RCODE.SERVFAIL, str(answer)
            self.asked_again += 1
            if answer is not None:
                self.failed_look_ups.append(f"{time.monotonic() - self._began:.1f} s: {name}")

    def _pass(self) -> None:
        answer = self._agent.http("PUT", "/v1/agent/check/pass/alive", timeout_s=ANSWER_WITHIN_S)
        assert answer.status == 200, (answer.status, answer.body)
        self._end.wait(0.5)

    def _let_go(self) -> None:
        """Asks for something that does not come, and leaves. The query holds its connection to its end, as Consul's."""
        with socket.create_connection((self._agent.address, 8500), timeout=ANSWER_WITHIN_S) as sock:
            path = f"/v1/kv/never-{self._rng.randrange(20)}?index={1 << 40}&wait=5s"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            self._end.wait(self._rng.random() / 2)

    def _write(self) -> None:
        """A write whose outcome is unknown may take place at any time: while a link that was cut still holds it."""
        key = f"{self._prefix}{self._written % KEYS}"
        value = f"{self._written}-{self._rng.getrandbits(32)}"
        answer = self._agent.http("PUT", f"/v1/kv/{key}", value, timeout_s=ANSWER_WITHIN_S)
        if answer.body == b"true":
            self.acknowledged[key] = value
        else:
            self._lost.setdefault(key, set()).add(value)
            self.failed_writes.append(f"{time.monotonic() - self._began:.1f} s: {answer.status} {answer.body!r}")
        self._written += 1

    def _wait(self) -> None:
        index = self._get(f"/v1/kv/{self._prefix}7").headers["x-consul-index"]
        self._get(f"/v1/kv/{self._prefix}7?index={index}&wait=2s")

    def nothing_is_lost(self, agent: AnyAgent) -> None:
        def catalog() -> dict[str, int]:
            services = agent.http("GET", f"/v1/catalog/node/{agent.node_name}").json()["Services"]
            return {name: one["Port"] for name, one in services.items() if name.startswith("app")}

        wait_until(lambda: catalog() == self._ports, SYNC_WITHIN_S, "the services in the catalog")
        rows = agent.http("GET", f"/v1/kv/{self._prefix}?recurse").json()
        found = {row["Key"]: base64.b64decode(row["Value"]).decode() for row in rows}
        for key, value in self.acknowledged.items():
            assert found.get(key) in {value, *self._lost.get(key, ())}, key


SHOWN = 200
"""Failures, at most."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one agent, all its processes together; tasks: those of rpc_core."""

    fds: int
    threads: int
    anonymous_kb: int
    tasks: int
    connections: int
    """To any server's RPC port."""

    def __str__(self) -> str:
        memory = f"{self.anonymous_kb / 1024:.1f} MB"
        return f"{self.fds} fds, {self.threads} threads, {self.tasks} tasks, {self.connections} to 8300, {memory}"


def figures_of(agent: Agent) -> Figures | None:
    """None while not all of it lives."""
    try:
        pids = [agent.pid, *agent.pids().values()]
        told = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
        rows = [line.split() for line in Path(f"/proc/{pids[0]}/net/tcp").read_text().splitlines()[1:]]
        return Figures(
            fds=sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
            threads=sum(_field(text, "Threads") for text in told),
            anonymous_kb=sum(_field(text, "RssAnon") for text in told),
            tasks=tasks_of(agent),
            connections=sum(row[2].endswith(f":{8300:04X}") and row[3] == "01" for row in rows),
        )
    except (OSError, http.client.HTTPException, IndexError):
        return None


def _field(status: str, name: str) -> int:
    return int(next(line for line in status.splitlines() if line.startswith(f"{name}:")).split()[1])


def tasks_of(agent: Agent) -> int:
    answer = agent.http("GET", "/v1/agent/self", timeout_s=5)
    return int(answer.json()["Stats"]["runtime"]["goroutines"])


def grown(series: list[Figures]) -> list[str]:
    """What the last third has more of than the first, in words."""
    third = max(1, len(series) // 3)
    found = []
    for name, spare in (
        ("fds", SPARE_FDS),
        ("threads", 4),
        ("tasks", SPARE_TASKS),
        ("anonymous_kb", SPARE_KB),
        ("connections", SERVERS),
    ):
        first, last = (
            statistics.median(getattr(one, name) for one in part) for part in (series[:third], series[-third:])
        )
        if last > first * GROWTH_MAX + spare:
            found.append(f"{name}: {first} to {last}")
    return found


@pytest.mark.slow
@pytest.mark.timeout(SOAK_S + 900)
def test_nothing_grows_and_nobody_is_told_more_than_is_promised(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    seed = int(os.environ.get("PROCONSUL_SOAK_SEED", "0")) or seed_of(__name__)
    network = Network(SERVERS + len(CLIENTS))
    try:
        with network.entered():
            soak(network, tmp_path, seed)
    finally:
        network.close()


def soak(network: Network, directory: Path, seed: int) -> None:
    cluster, servers = made_of(network, directory, SERVERS)
    clients = []
    for number, config in enumerate(CLIENTS):
        host = SERVERS + number

        def kind(*arguments: object, host: int = host, **settings: object) -> HostAgent:
            return HostAgent(*arguments, prefix=network.command(host), **settings)

        name = f"c{number + 1}"
        join = [one.address for one in servers]
        config = {**config, "enable_script_checks": True}
        made = client(kind, network.address(host), directory / name, name, join=join, config=config)
        assert isinstance(made, Agent)
        clients.append(made)
    stopping = threading.Event()
    hosts = [SERVERS + number for number in range(len(CLIENTS))]
    disturber = Disturber(cluster, hosts, network, stopping, seed)
    rubbish = Rubbish([one.address for one in servers], network.entered, stopping, seed)
    series: dict[str, list[Figures]] = {}
    try:
        with cluster.running(), contextlib.ExitStack() as stack:
            for one in clients:
                one.start()
            for one in clients:
                one.wait_ready()
                wait_until(lambda one=one: is_complete(one), 2 * PATIENCE_S, "it in the catalog")  # type: ignore[misc]
            applications = [Everything(one) for one in clients]
            for used in applications:
                stack.enter_context(used)
            for used in applications:
                used.all_go_on()
            rubbish.start()
            disturber.start()
            measure([*clients, *servers], series, disturber)
            stopping.set()
            disturber.join(5 * PATIENCE_S)
            rubbish.join(PATIENCE_S)
            for used in applications:
                used.all_go_on()
            stack.close()
            judge(clients, servers, applications, disturber, series, seed)
            print(f"{rubbish.connections} connections with rubbish")
    finally:
        stopping.set()
        for one in clients:
            one.destroy()


def measure(agents: list[Agent], series: dict[str, list[Figures]], disturber: Disturber) -> None:
    """Once every minute, until the time is over or a disturbance went wrong."""
    began = time.monotonic()
    next_at = began + MEASURE_EVERY_S
    while next_at <= began + SOAK_S and disturber.failure is None:
        time.sleep(max(0.0, next_at - time.monotonic()))
        next_at += MEASURE_EVERY_S
        for agent in agents:
            if (figures := figures_of(agent)) is not None:
                series.setdefault(agent.node_name, []).append(figures)
                print(f"{time.monotonic() - began:7.0f} s  {agent.node_name}: {figures}", flush=True)


def judge(
    clients: list[Agent],
    servers: list[Agent],
    applications: Sequence[Everything],
    disturber: Disturber,
    series: dict[str, list[Figures]],
    seed: int,
) -> None:
    history = "\n".join([f"seed {seed}", *disturber.log])
    for used in applications:
        print(used.counts, {name: round(took_s, 1) for name, took_s in used.slowest_s.items()})
        print(len(used.failed_writes), "writes failed:", *used.failed_writes[:SHOWN], sep="\n  ")
        print(used.asked_again, "look-ups had to be asked again; failed:", *used.failed_look_ups[:SHOWN])
        print(len(used.problems), "problems:", *used.problems[:SHOWN], sep="\n  ")
    print(history)
    assert disturber.failure is None, f"{disturber.failure!r}\n{history}"
    for agent in (*clients, *servers):
        rests(agent)
    for one, used in zip(clients, applications, strict=True):
        assert not used.problems, history
        assert len(used.failed_writes) <= WRITES_LOST_PER_DEATH * disturber.deaths, history
        assert max(used.slowest_s.values()) < ANSWER_WITHIN_S, used.slowest_s
        used.nothing_is_lost(one)
        assert not grown(series[one.node_name]), (one.node_name, grown(series[one.node_name]))


def rests(agent: Agent) -> None:
    """No task and no connection is left behind."""

    def at_rest() -> bool:
        figures = figures_of(agent)
        return figures is not None and figures.tasks <= TASKS_AT_REST and figures.fds <= FDS_AT_REST

    try:
        wait_until(at_rest, 2 * PATIENCE_S, "rest")
    finally:
        print(f"{agent.node_name} at rest: {figures_of(agent)}")
