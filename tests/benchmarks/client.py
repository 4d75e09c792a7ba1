"""A server and a client agent of one kind on this machine: rates through the client, and what many clients cost a
server.

The machine is shared by both agents and the load, so that rates depend on all of it; the CPU time per request of both
agents together does so less."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.agents import wait_until
from tests.benchmarks import measure
from tests.benchmarks.agents_load import measure_load, percentile
from tests.clusters import AnyAgent, Kind, client
from tests.loopback import LoopbackPool

NAMES: Final = 1000
AGENTS: Final = 50
CONNECTIONS: Final = (1, 16, 64)
LOAD_S: Final = 10.0
WARM_S: Final = 3.0
"""What is asked for the first time fills the cache; that is not measured."""
_PATIENCE_S: Final = 60.0

Add = Callable[..., None]
"""add(name, unit, value, higher=..., goal=...)"""


def measure_client(
    add: Add,
    kind: Kind,
    server: AnyAgent,
    config: dict[str, Any],
    directory: Path,
    pool: LoopbackPool,
    seconds: float,
) -> None:
    """Adds all rows of one side. server: not started yet."""
    agents: list[AnyAgent] = [server]

    def start_client(name: str, **more: Any) -> AnyAgent:
        agent = client(kind, pool(), directory / name, name, join=[server.address], config={**config, **more})
        agents.append(agent)
        agent.start()
        agent.wait_ready()
        return agent

    try:
        server.start()
        server.wait_ready()
        _fill(server)
        through = start_client("through")
        _rates(add, server, through, seconds)
        _names(add, "not cached", server, through, seconds)
        through.destroy()
        caching = start_client("caching", dns_config={"use_cache": True})
        measure.dnsperf(caching.address, _questions(), WARM_S)
        _names(add, "cached", server, caching, seconds)
        caching.destroy()
        _load(add, server)
    finally:
        for agent in agents:
            agent.destroy()


def _pids(*agents: AnyAgent) -> list[int]:
    return [pid for agent in agents for pid in (agent.pid, *agent.children())]


def _fill(server: AnyAgent) -> None:
    """NAMES services with an instance each, and one with five."""
    for number in range(NAMES + 5):
        service = f"name-{number}" if number < NAMES else "five"
        body = {
            "Node": f"node-{number % 50}",
            "Address": f"10.0.0.{number % 50}",
            "SkipNodeUpdate": number >= 50,
            "Service": {"ID": f"s{number}", "Service": service, "Port": 8000},
            "Check": {"CheckID": f"c{number}", "Name": "c", "Status": "passing", "ServiceID": f"s{number}"},
        }
        answer = server.http("PUT", "/v1/catalog/register", body)
        assert answer.status == 200, answer
    assert server.http("PUT", "/v1/kv/bench/7", b"value-7").status == 200


def _rates(add: Add, server: AnyAgent, through: AnyAgent, seconds: float) -> None:
    base, pids = f"http://{through.address}:8500", _pids(server, through)
    wait_until(lambda: through.http("GET", "/v1/kv/bench/7").status == 200, _PATIENCE_S, "an answer of the client")

    def row(name: str, connections: int, goal: float | None, run: Callable[[], tuple[float, float]]) -> None:
        before, started = measure.cpu_s(pids), time.perf_counter()
        rate, _ = run()
        requests = rate * (time.perf_counter() - started)
        name = f"client: {name}, {connections} connections"
        add(name, "1/s", rate, goal=goal)
        add(f"{name}: CPU of both agents", "us", (measure.cpu_s(pids) - before) / requests * 1e6, higher=False)

    for name, path in (("GET kv", "/v1/kv/bench/7"), ("health/service, 5 instances", "/v1/health/service/five")):
        for connections in CONNECTIONS:
            goal = 2.0 if connections >= 16 else None
            row(name, connections, goal, lambda: measure.wrk(base + path, connections, seconds))  # noqa: B023
    for connections in CONNECTIONS:
        row("PUT kv durable", connections, 1.0, lambda: measure.put(base, connections, seconds))  # noqa: B023


def _questions() -> list[str]:
    return [f"name-{number}.service.consul A" for number in range(NAMES)]


def _names(add: Add, how: str, server: AnyAgent, asked: AnyAgent, seconds: float) -> None:
    pids = _pids(server, asked)
    before, started = measure.cpu_s(pids), time.perf_counter()
    rate = measure.dnsperf(asked.address, _questions(), seconds)
    questions = rate * (time.perf_counter() - started)
    name = f"client: DNS A of {NAMES:,} services, {how}"
    add(name, "1/s", rate, goal=2.0)
    add(f"{name}: CPU of both agents", "us", (measure.cpu_s(pids) - before) / questions * 1e6, higher=False)


def _load(add: Add, server: AnyAgent) -> None:
    pids = _pids(server)
    outcome = measure_load(f"{server.address}:8300", AGENTS, LOAD_S, lambda: measure.cpu_s(pids))
    name = f"{AGENTS} client agents at a server"
    add(f"{name}: answers", "1/s", outcome.calls)
    add(f"{name}: CPU of the server", "% of a core", outcome.cpu_percent, higher=False)
    for what, values in (
        ("a registration", outcome.registered_ms),
        ("a change until a watcher knows", outcome.woken_ms),
    ):
        for share in (0.5, 0.99):
            value = percentile(values, share)
            add(f"{name}: {what}, p{share * 100:.0f}", "ms", value, higher=False)
