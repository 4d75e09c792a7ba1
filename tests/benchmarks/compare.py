"""Runs the same measurements against the real Consul 1.8.7 and proconsul, in turn, on this machine.

    tests/benchmarks/compare [--seconds 3] [--only put,get] [--rounds 1] [--out docs/benchmarks.md]

Both get the same configuration: one server, data dir on disk, default consistency unless a row says otherwise. Of
several rounds the median counts. A ratio above 1 means that proconsul is better, whatever the unit.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from tests.agents import Agent, RealConsul
from tests.benchmarks import flapping, gossip_cpu, measure
from tests.benchmarks.client import measure_client
from tests.benchmarks.cluster import measure_cluster
from tests.clusters import Kind
from tests.loopback import LoopbackPool
from tests.real_consul import NotAvailableError, find_real_consul

CONFIG: Final = {
    "log_level": "WARN",
    "limits": {"http_max_conns_per_client": 12_000},
    "performance": {"raft_multiplier": 1},
}
SERVICES: Final = 100
INSTANCES: Final = 500
FILES: Final = 14_000
"""For a watcher per connection, on both ends."""
CHANGES: Final = 20
GOSSIP_GROUPS: Final = {"gossip": "", "gossip-encrypted": gossip_cpu.KEY}
"""Measured only where asked for by name: each takes five minutes per side."""
CLUSTER_GROUP: Final = "cluster"
"""Measured only where asked for by name: it takes some minutes per side."""
CLIENT_GROUP: Final = "client"
"""Measured only where asked for by name: it takes two minutes per side."""
CATALOG_GROUPS: Final = ("catalog", "dns", "register", "watch", "watchers10k")


@dataclass(slots=True)
class Row:
    """One line of the table. higher_is_better tells how the ratio is formed; goal is the ratio to reach."""

    name: str
    unit: str
    higher_is_better: bool
    goal: float | None
    values: dict[str, list[float]] = field(default_factory=lambda: {"real": [], "ours": []})

    def median(self, side: str) -> float:
        return statistics.median(self.values[side]) if self.values[side] else float("nan")

    @property
    def ratio(self) -> float:
        real, ours = self.median("real"), self.median("ours")
        return ours / real if self.higher_is_better else real / max(ours, 1e-9)


class Comparison:
    """The rows measured so far and the way to add to them."""

    def __init__(self, seconds: float, only: list[str], watchers: int) -> None:
        self.seconds = seconds
        self.watchers = watchers
        self._only = only
        self.rows: dict[str, Row] = {}

    def wanted(self, group: str) -> bool:
        return not self._only or group in self._only

    def asked_for(self, group: str) -> bool:
        return group in self._only

    def add(
        self, side: str, name: str, unit: str, value: float, *, higher: bool = True, goal: float | None = None
    ) -> None:
        row = self.rows.setdefault(name, Row(name, unit, higher, goal))
        row.values[side].append(value)
        print(f"  {side:5} {name:58} {value:12,.2f} {unit}", flush=True)

    def table(self) -> str:
        lines = [
            "| measurement | unit | Consul 1.8.7 | proconsul | ratio | goal |",
            "| --- | --- | ---: | ---: | ---: | ---: |",
        ]
        for row in self.rows.values():
            goal = "" if row.goal is None else f"{row.goal:g}"
            lines.append(
                f"| {row.name} | {row.unit} | {row.median('real'):,.2f} | {row.median('ours'):,.2f} "
                f"| {row.ratio:.2f} | {goal} |"
            )
        return "\n".join(lines)


def processes(agent: Agent | RealConsul) -> list[int]:
    return [agent.pid, *agent.children()]


def measure_boot(comparison: Comparison, side: str, agent: Agent | RealConsul) -> None:
    started = time.perf_counter()
    agent.start()
    deadline = started + 60
    while True:
        try:
            if agent.http("PUT", "/v1/kv/boot", b"1", timeout_s=5).status == 200:
                break
        except OSError:
            pass
        if time.perf_counter() > deadline:
            raise AssertionError(f"no write was accepted within 60 s\n{agent.output()}")
        time.sleep(0.005)
    comparison.add(side, "boot to first accepted write", "s", time.perf_counter() - started, higher=False)


def measure_idle(comparison: Comparison, side: str, agent: Agent | RealConsul) -> None:
    time.sleep(3)  # start-up work is over by then
    pids = processes(agent)
    comparison.add(side, "memory idle (PSS, all processes)", "MiB", measure.pss_mb(pids), higher=False)
    seconds = max(20.0, comparison.seconds)
    before = measure.cpu_s(pids)
    time.sleep(seconds)
    used = (measure.cpu_s(pids) - before) / seconds * 100
    comparison.add(side, "CPU idle", "% of a core", used, higher=False)


def measure_kv(comparison: Comparison, side: str, agent: Agent | RealConsul) -> None:
    base, seconds = f"http://{agent.address}:8500", comparison.seconds
    if comparison.wanted("put"):
        for connections, goal in ((1, 0.8), (16, 1.5), (64, 2.0), (256, 2.0)):
            rate, _ = measure.put(base, connections, seconds)
            comparison.add(side, f"PUT kv durable, {connections} connections", "1/s", rate, goal=goal)
    agent.http("PUT", "/v1/kv/bench/7", b"value-7")
    if comparison.wanted("get"):
        key = f"{base}/v1/kv/bench/7"
        for connections, goal in ((1, 1.0), (16, 1.5), (64, 1.5)):
            rate, _ = measure.wrk(key, connections, seconds)
            comparison.add(side, f"GET kv default, {connections} connections", "1/s", rate, goal=goal)
        rate, _ = measure.wrk(f"{key}?stale", 16, seconds)
        comparison.add(side, "GET kv stale, 16 connections", "1/s", rate, goal=1.5)
        rate, _ = measure.wrk(f"{key}?consistent", 16, seconds)
        comparison.add(side, "GET kv consistent, 16 connections", "1/s", rate, goal=1.5)


def fill_catalog(agent: Agent | RealConsul) -> None:
    """INSTANCES instances of SERVICES services on 50 nodes."""
    for number in range(INSTANCES):
        answer = agent.http(
            "PUT",
            "/v1/catalog/register",
            {
                "Node": f"web-{number % 50}",
                "Address": f"10.0.0.{number % 50}",
                "Service": {"ID": f"s{number}", "Service": f"svc-{number % SERVICES}", "Port": 1000 + number},
                "Check": {"CheckID": f"c{number}", "Name": "c", "Status": "passing", "ServiceID": f"s{number}"},
            },
        )
        assert answer.status == 200, answer


def measure_catalog(comparison: Comparison, side: str, agent: Agent | RealConsul) -> None:
    base, seconds = f"http://{agent.address}:8500", comparison.seconds
    fill_catalog(agent)
    if comparison.wanted("catalog"):
        rate, _ = measure.wrk(f"{base}/v1/health/service/svc-7", 16, seconds)
        comparison.add(side, "health/service, 5 of 500 instances, 16 connections", "1/s", rate, goal=4)
        rate, _ = measure.wrk(f"{base}/v1/catalog/services", 16, seconds)
        comparison.add(side, "catalog/services, 100 services, 16 connections", "1/s", rate, goal=4)
    if comparison.wanted("dns"):
        names = [f"svc-{number}.service.consul" for number in range(SERVICES)]
        rate = measure.dnsperf(agent.address, [f"{name} A" for name in names], seconds)
        comparison.add(side, "DNS A of 100 services, 16 clients", "1/s", rate, goal=5)
        rate = measure.dnsperf(agent.address, [f"{name} SRV" for name in names], seconds)
        comparison.add(side, "DNS SRV of 100 services, 16 clients", "1/s", rate, goal=5)
    if comparison.wanted("register"):
        for connections in (16, 64):
            rate, _ = measure.register(base, connections, seconds)
            comparison.add(side, f"catalog/register, {connections} connections", "1/s", rate, goal=2)
    if comparison.wanted("watch"):
        _, last_ms = measure.watchers(agent.address, 1000)
        comparison.add(side, "1,000 watchers of one key, last answered", "ms", last_ms, higher=False)
    if comparison.wanted("watchers10k"):
        measure_flapping(comparison, side, agent)


def measure_flapping(comparison: Comparison, side: str, agent: Agent | RealConsul) -> None:
    """One instance of one of the services flaps, of which every watcher watches one."""
    body: dict[str, object] = {
        "Node": "web-7",
        "Address": "10.0.0.7",
        "Service": {"ID": "s7", "Service": "svc-7", "Port": 1007},
    }
    pids = processes(agent)
    services = [f"svc-{number}" for number in range(SERVICES)]
    watchers = flapping.Watchers(agent.address, comparison.watchers, services)
    try:
        outcome = flapping.flap(watchers, agent.address, "svc-7", body, CHANGES, lambda: measure.cpu_s(pids))
        name = f"{comparison.watchers:,} watchers of {SERVICES} services, one instance flaps"
        comparison.add(side, f"{name}: last answered", "ms", outcome.last_ms, higher=False)
        comparison.add(side, f"{name}: CPU per change", "ms", outcome.cpu_ms, higher=False)
        comparison.add(side, f"{name}: memory (PSS)", "MiB", measure.pss_mb(pids), higher=False)
        if outcome.woken:
            print(f"  {side:5} {outcome.woken} answers to watchers of other services in {CHANGES} changes", flush=True)
    finally:
        watchers.close()


def measure_agent(comparison: Comparison, side: str, agent: Agent | RealConsul) -> None:
    try:
        measure_boot(comparison, side, agent)
        agent.wait_ready()
        if comparison.wanted("idle"):
            measure_idle(comparison, side, agent)
        measure_kv(comparison, side, agent)
        if any(comparison.wanted(group) for group in CATALOG_GROUPS):
            measure_catalog(comparison, side, agent)
        if comparison.wanted("idle"):
            comparison.add(
                side, "memory loaded (PSS, all processes)", "MiB", measure.pss_mb(processes(agent)), higher=False
            )
    finally:
        agent.destroy()


def measure_gossip(comparison: Comparison, side: str, agent: Agent | RealConsul, peers: str, key: str) -> None:
    """peers: the address of the simulated members. The goal holds for our gossip process beside the real agent."""

    def add(name: str, unit: str, value: float) -> None:
        goal = 0.5 if name.endswith("CPU of gossip") else None
        comparison.add(side, name, unit, value, higher=False, goal=goal)

    gossip_cpu.measure(agent, peers, key, add)


def main() -> int:
    parser = argparse.ArgumentParser(prog="compare", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=3, help="length of one load measurement")
    parser.add_argument("--rounds", type=int, default=1, help="how often to measure both sides; the median counts")
    parser.add_argument(
        "--only",
        default="",
        help="comma-separated groups: put get catalog dns register watch watchers10k idle; and only if named: "
        + " ".join((CLUSTER_GROUP, CLIENT_GROUP, *GOSSIP_GROUPS)),
    )
    parser.add_argument("--watchers", type=int, default=10_000, help="connections of the group watchers10k")
    parser.add_argument("--side", choices=("both", "ours", "real"), default="both")
    parser.add_argument("--directory", type=Path, help="where data dirs are made (a real disk, not tmpfs)")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    missing = [tool for tool in ("wrk", "dnsperf") if shutil.which(tool) is None]
    if missing:
        print(f"compare: install {' and '.join(missing)} first (Debian packages of that name)", file=sys.stderr)
        return 1
    try:
        binary = find_real_consul() if options.side != "ours" else Path("/nonexistent")
    except NotAvailableError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    try:
        flapping.allow_files(FILES)
    except ValueError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    comparison = Comparison(options.seconds, [group for group in options.only.split(",") if group], options.watchers)
    pool = LoopbackPool()

    def make(side: str, directory: Path, **config: str) -> Agent | RealConsul:
        if side == "real":
            return RealConsul(pool(), directory, binary, dev=False, config={**CONFIG, **config})
        return Agent(pool(), directory, dev=False, config={**CONFIG, **config})

    try:
        for number in range(options.rounds):
            for side in ("real", "ours"):
                if options.side not in ("both", side):
                    continue
                print(f"round {number + 1} of {options.rounds}: {side}", flush=True)
                with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                    measure_agent(comparison, side, make(side, Path(directory)))
                for group, key in GOSSIP_GROUPS.items():
                    if comparison.asked_for(group):
                        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                            agent = make(side, Path(directory), **({"encrypt": key} if key else {}))
                            measure_gossip(comparison, side, agent, pool(), key)
                kind: Kind = Agent if side == "ours" else partial(RealConsul, binary=binary)
                if comparison.asked_for(CLIENT_GROUP):
                    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                        path, add = Path(directory), partial(comparison.add, side)
                        server = make(side, path / "server")
                        measure_client(add, kind, server, dict(CONFIG), path, pool, comparison.seconds)
                if comparison.asked_for(CLUSTER_GROUP):
                    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
                        add = partial(comparison.add, side)
                        measure_cluster(add, kind, dict(CONFIG), Path(directory), pool, comparison.seconds)
    finally:
        pool.close()
    table = comparison.table()
    print("\n" + table)
    if options.out is not None:
        about = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        text = f"# Benchmarks\n\nMade by `tests/benchmarks/compare` ({about}; {options.rounds} rounds of "
        text += f"{options.seconds:g} s; medians). A ratio above 1: proconsul is better.\n\n{table}\n"
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
