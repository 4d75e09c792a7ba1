"""Clients of servers, of either kind, and applications that use them all the time."""

from __future__ import annotations

import base64
import contextlib
import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dnslib import RCODE, DNSRecord

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.clusters import ELECTION_S, AnyAgent, Cluster, Kind, client, founders
from tests.loopback import LoopbackPool

OURS, REAL = "ours", "real"


def kind_of(name: str, real_consul: Callable[[], Path]) -> Kind:
    """real_consul: finds the real one; not called for ours."""
    return Agent if name == OURS else partial(RealConsul, binary=real_consul())


def found(agent: AnyAgent, path: str) -> Any:
    """The parsed answer, None for an error."""
    answer = agent.http("GET", path)
    return answer.json() if answer.status == 200 else None


def is_complete(agent: AnyAgent) -> bool:
    """Whether a client has said all about itself in the catalog, and the leader that it lives."""
    node = found(agent, f"/v1/catalog/node/{agent.node_name}")
    return bool(node and node["Node"]["TaggedAddresses"] and found(agent, f"/v1/health/node/{agent.node_name}"))


def wait_whole(cluster: Cluster) -> None:
    """Until all servers are in the catalog, and vote: before that the end of another may cost the quorum."""
    wait_until(lambda: len(cluster.voters()) == len(cluster.servers), 2 * ELECTION_S, "all voters")
    cluster.wait_settled(2 * ELECTION_S)


class Setup:
    """A cluster and one client of it."""

    def __init__(self, cluster: Cluster, agent: AnyAgent) -> None:
        self.cluster, self.client = cluster, agent

    def get(self, path: str) -> Any:
        """The parsed answer of the client. AssertionError for any other status than 200."""
        answer = self.client.http("GET", path)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json()

    def put(self, path: str, body: Any = b"") -> bytes:
        answer = self.client.http("PUT", path, body)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.body

    def dns(self, name: str, kind: str = "A", timeout_s: float = 10.0) -> DNSRecord:
        return ask_dns(self.client.address, name, kind, timeout_s)

    def wait_synced(self) -> None:
        """Until the client has said all about itself, and the leader that it lives."""

        wait_until(lambda: is_complete(self.client), 2 * PATIENCE_S, f"{self.client.node_name} in the catalog")


@contextlib.contextmanager
def setup(
    servers: list[Kind],
    client_kind: Kind,
    loopback: LoopbackPool,
    directory: Path,
    config: dict[str, Any] | None = None,
    servers_config: dict[str, Any] | None = None,
) -> Iterator[Setup]:
    """`n1` and so on, which found a cluster, and their client `c1`, complete in the catalog."""
    cluster = founders(loopback, directory, servers, servers_config)
    agent = client(
        client_kind,
        loopback(),
        directory / "c1",
        "c1",
        join=[one.address for one in cluster],
        config={"disable_remote_exec": False, **(config or {})},
    )
    try:
        with cluster.running():
            agent.start()
            agent.wait_ready()
            made = Setup(cluster, agent)
            made.wait_synced()
            yield made
    finally:
        agent.destroy()


def ask_dns(address: str, name: str, kind: str = "A", timeout_s: float = 10.0) -> DNSRecord:
    """One question over UDP. Raises TimeoutError."""
    question = DNSRecord.question(name, kind)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.sendto(question.pack(), (address, 8600))
        return DNSRecord.parse(sock.recv(4096))


class Applications:
    """Reads, waits, looks names up, keeps a session, registers services and writes through one agent until it is left;
    `problems` says what went wrong.

    Writers are patient: a write that failed is done again. `acknowledged` is what the cluster has to know for ever."""

    def __init__(self, agent: AnyAgent, session_ttl: str = "20s") -> None:
        self._agent, self._session_ttl = agent, session_ttl
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._began = time.monotonic()
        self.problems: list[str] = []
        self.failed_writes: list[str] = []
        self.acknowledged: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.slowest_s: dict[str, float] = {}
        self._prefix = f"application/of-{agent.node_name}/"
        self._session = ""
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Applications:
        assert self._agent.http("PUT", "/v1/kv/application/known", b"1").body == b"true"
        self._session = self._agent.http("PUT", "/v1/session/create", {"TTL": self._session_ttl}).json()["ID"]
        for job in self.jobs():
            thread = threading.Thread(target=self._repeat, args=(job,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def jobs(self) -> list[Callable[[], None]]:
        """What is done all the time, each in a thread of its own."""
        reads = [self._read, self._read_stale, self._read_cached, self._look_up, self._wait]
        return [*reads, self._renew, self._register, self._write]

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    def all_go_on(self, more: int = 5) -> None:
        """Wait until each has done `more` of its work after now."""
        before = dict(self.counts)
        wait_until(
            lambda: (
                len(self.counts) == len(self._threads)
                and all(self.counts[name] >= before.get(name, 0) + more for name in self.counts)
            ),
            2 * PATIENCE_S,
            f"work of everybody: {self.counts} after {before}; {self.problems}",
        )

    def _repeat(self, job: Callable[[], None]) -> None:
        name = job.__name__.strip("_")
        while not self._end.is_set():
            started = time.monotonic()
            try:
                job()
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                at_s, took_s = started - self._began, time.monotonic() - started
                self.problems.append(f"{at_s:.1f} s: {name} after {took_s:.1f} s: {error!r}")
            took_s = time.monotonic() - started
            self.counts[name] = self.counts.get(name, 0) + 1
            self.slowest_s[name] = max(self.slowest_s.get(name, 0.0), took_s)
            self._end.wait(0.02)

    def _get(self, path: str) -> Any:
        answer = self._agent.http("GET", path, timeout_s=2 * PATIENCE_S)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer

    def _read(self) -> None:
        assert base64.b64decode(self._get("/v1/kv/application/known").json()[0]["Value"]) == b"1"

    def _read_stale(self) -> None:
        assert self._get("/v1/catalog/nodes?stale").json()

    def _read_cached(self) -> None:
        assert self._get("/v1/health/service/consul?cached").json()

    def _renew(self) -> None:
        answer = self._agent.http("PUT", f"/v1/session/renew/{self._session}", timeout_s=2 * PATIENCE_S)
        assert answer.status == 200, (answer.status, answer.body)
        self._end.wait(0.2)

    def _register(self) -> None:
        number = self.counts.get("register", 0)
        name = f"app{number % 4}"
        self._ports[name] = 1 + number % 60_000
        service = {"Name": name, "Port": self._ports[name]}
        answer = self._agent.http("PUT", "/v1/agent/service/register", service, timeout_s=2 * PATIENCE_S)
        assert answer.status == 200, (answer.status, answer.body)
        self._end.wait(0.2)

    def _look_up(self) -> None:
        answer = ask_dns(self._agent.address, f"{self._agent.node_name}.node.consul", timeout_s=2 * PATIENCE_S)
        assert answer.header.rcode == RCODE.NOERROR, str(answer)
        assert answer.rr, str(answer)

    def _wait(self) -> None:
        index = self._get(f"/v1/kv/{self._prefix}?keys").headers["x-consul-index"] if self.acknowledged else 1
        self._get(f"/v1/kv/application?recurse&index={index}&wait=2s")

    def _write(self) -> None:
        number = len(self.acknowledged)
        value = f"{number}-{random.getrandbits(32)}"
        answer = self._agent.http("PUT", f"/v1/kv/{self._prefix}{number}", value, timeout_s=2 * PATIENCE_S)
        if answer.body == b"true":
            self.acknowledged[f"{self._prefix}{number}"] = value
        else:
            self.failed_writes.append(f"{answer.status} {answer.body!r}")

    def nothing_is_lost(self, agent: AnyAgent) -> None:
        """Every acknowledged write is there, and the catalog has what the agent has."""

        def catalog() -> dict[str, int]:
            services = agent.http("GET", f"/v1/catalog/node/{agent.node_name}").json()["Services"]
            return {name: one["Port"] for name, one in services.items() if name.startswith("app")}

        wait_until(lambda: catalog() == self._ports, 3 * PATIENCE_S, "the services in the catalog")
        rows = agent.http("GET", f"/v1/kv/{self._prefix}?recurse").json()
        found = {row["Key"]: base64.b64decode(row["Value"]).decode() for row in rows}
        assert {key: found.get(key) for key in self.acknowledged} == self.acknowledged
