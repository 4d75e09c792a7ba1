"""Prometheus finds services through the Consul discovery, follows changes, and scrapes our agent found that way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, all_running, wait_settled, wait_until
from tests.integration.clients import packages
from tests.integration.clients.prometheus import Prometheus, discovered, job
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

CONFIG = {"telemetry": {"prometheus_retention_time": "1h"}}
CATALOG: list[dict[str, Any]] = [
    {
        "Node": "db1",
        "Address": "10.1.1.1",
        "NodeMeta": {"rack": "r1"},
        "TaggedAddresses": {"lan": "10.1.1.1", "wan": "1.2.3.4"},
        "Service": {"ID": "db-1", "Service": "db", "Tags": ["main", "v2"], "Port": 1, "Meta": {"team": "x y"}},
        "Check": {"Name": "alive", "CheckID": "db", "Status": "warning", "ServiceID": "db-1"},
    },
    {
        "Node": "db2",
        "Address": "127.0.0.1",
        "Service": {"ID": "db-2", "Service": "db", "Address": "127.0.0.1", "Port": 2},
    },
]


@pytest.fixture
def agents(real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> Iterator[tuple[RealConsul, Agent]]:
    real = RealConsul(loopback(), tmp_path / "real", real_consul, config=CONFIG)
    ours = Agent(loopback(), tmp_path / "ours", config=CONFIG)
    with all_running(real, ours):
        for agent in (real, ours):
            wait_settled(agent)
            for registration in CATALOG:
                assert agent.http("PUT", "/v1/catalog/register", registration).status == 200
            itself = {"Name": "itself", "Address": agent.address, "Port": agent.http_port, "Tags": ["v2"]}
            assert agent.http("PUT", "/v1/agent/service/register", itself).status == 200
        yield real, ours


def test_targets_are_found_and_followed(
    agents: tuple[RealConsul, Agent], fetched: Callable[..., Path], loopback: LoopbackPool, tmp_path: Path
) -> None:
    binary = fetched(packages.debian_program, "prometheus", "usr/bin/prometheus")
    jobs = []
    for name, agent in zip(("real", "ours"), agents, strict=True):
        jobs.append(job(f"{name} all", agent))
        jobs.append(job(f"{name} tagged", agent, tags=["v2"], services=["db", "itself"], allow_stale=False))
        jobs.append(job(f"{name} by rack", agent, node_meta={"rack": "r1"}))
    prometheus = Prometheus(binary, loopback(), tmp_path, jobs)
    with prometheus.running():
        groups = {"all": {"db-1", "db-2", "itself", "consul"}, "tagged": {"db-1", "itself"}, "by rack": {"db-1"}}
        targets = prometheus.wait_services(_of_both(groups))
        for group, services in groups.items():
            for service in services:
                real, ours = (
                    discovered(targets[f"{name} {group}"][service], agent)
                    for name, agent in zip(("real", "ours"), agents, strict=True)
                )
                assert ours == real, (group, service)
        wait_until(lambda: prometheus.value('up{job="ours+tagged",instance=~".*8500"}') == "1", 60, "a scrape")

        for agent in agents:
            gone = {"Node": "db1", "ServiceID": "db-1"}
            assert agent.http("PUT", "/v1/catalog/deregister", gone).status == 200
            new = {"Node": "db2", "Address": "127.0.0.1", "Service": {"Service": "new", "Port": 3, "Tags": ["v2"]}}
            assert agent.http("PUT", "/v1/catalog/register", new).status == 200
        groups = {"all": {"db-2", "new", "itself", "consul"}, "tagged": {"itself"}, "by rack": set()}
        prometheus.wait_services(_of_both(groups))


def _of_both(groups: dict[str, set[str]]) -> dict[str, set[str]]:
    return {f"{name} {group}": services for name in ("real", "ours") for group, services in groups.items()}
