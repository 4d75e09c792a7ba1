"""Telemetry of whole agents: Prometheus' page and statsd's packets, beside those of the real agent."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.agents import PATIENCE_S, Agent, RealConsul, all_running, wait_settled, wait_until
from tests.loopback import LoopbackPool

AnyAgent = Agent | RealConsul
TELEMETRY = {"telemetry": {"prometheus_retention_time": "1h"}}
"""Nothing is forgotten while a test waits."""
PAGE = "/v1/agent/metrics?format=prometheus"

FAMILIES = {
    "consul_raft_apply", "consul_kvs_apply", "consul_HOST_session_ttl_active", "consul_HOST_runtime_alloc_bytes",
    "consul_catalog_register", "consul_client_rpc", "consul_memberlist_msg_alive", "consul_serf_member_join",
    "process_cpu_seconds", "process_resident_memory_bytes",
}  # fmt: skip


def families(agent: AnyAgent) -> dict[str, Any]:
    page = agent.http("GET", PAGE)
    assert page.status == 200
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    host = re.sub(r"[ .=\-/]", "_", f"_{socket.gethostname()}_")
    found = text_string_to_metric_families(page.body.decode())
    return {family.name.replace(host, "_HOST_"): family for family in found}


def use(agent: AnyAgent) -> None:
    """A little of everything."""
    for method, path, body in (
        ("PUT", "/v1/kv/a", b"x"), ("GET", "/v1/kv/a", b""), ("GET", "/v1/kv/a?consistent", b""),
        ("DELETE", "/v1/kv/a", b""), ("GET", "/v1/catalog/services", b""), ("GET", "/v1/catalog/nodes", b""),
        ("PUT", "/v1/catalog/register", b'{"Node":"n2","Address":"1.2.3.4","Service":{"Service":"web"}}'),
        ("GET", "/v1/catalog/service/web", b""), ("GET", "/v1/health/service/web?tag=x", b""),
        ("PUT", "/v1/catalog/deregister", b'{"Node":"n2"}'), ("PUT", "/v1/session/create", b"{}"),
        ("PUT", "/v1/txn", json.dumps([{"KV": {"Verb": "get-tree", "Key": "a"}}]).encode()),
        ("GET", "/v1/status/leader", b""), ("GET", "/v1/agent/self", b""),
    ):  # fmt: skip
        answer = agent.http(method, path, body)
        assert answer.status in (200, 404), (method, path, answer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_S)
        asking.sendto(b"\0\1\1\0\0\1\0\0\0\0\0\0\x05node1\x04node\x06consul\0\0\1\0\1", (agent.address, 8600))
        asking.recv(1000)


def _all_there(agent: AnyAgent) -> bool:
    return families(agent).keys() >= FAMILIES


@contextlib.contextmanager
def running(*agents: AnyAgent) -> Iterator[None]:
    """All of them start at the same time."""
    with all_running(*agents):
        for agent in agents:
            wait_settled(agent)
        yield


@pytest.mark.real_consul
def test_the_families_are_those_of_the_real_agent(real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> None:
    agents: list[AnyAgent] = [
        Agent(loopback(), tmp_path / "ours", config=TELEMETRY),
        RealConsul(loopback(), tmp_path / "real", real_consul, config=TELEMETRY),
    ]
    with running(*agents):
        for agent in agents:
            use(agent)
        for agent in agents:
            wait_until(partial(_all_there, agent), what="the metrics that are taken now and then")
        ours, real = ({name: family.type for name, family in families(agent).items()} for agent in agents)
    both = ours.keys() & real.keys()
    assert {name: ours[name] for name in both} == {name: real[name] for name in both}
    mine = ("consul_http_", "consul_client_")
    missing = {name for name in real.keys() - ours.keys() if name.startswith(mine) and "_error" not in name}
    assert missing == set()


LOOKUPS = ("consul_catalog_", "consul_health_", "consul_client_api_")


def lookups(agent: AnyAgent) -> dict[str, float]:
    """Counters of look-ups with their labels, nodes made alike."""
    return {
        f"{sample.name} {sorted((k, v) for k, v in sample.labels.items() if k != 'node')}": sample.value
        for family in families(agent).values()
        if family.name.startswith(LOOKUPS) and family.type == "counter"
        for sample in family.samples
    }


@pytest.mark.real_consul
def test_look_ups_are_counted_like_the_real_agents_however_often_they_are_repeated(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path
) -> None:
    agents: list[AnyAgent] = [
        Agent(loopback(), tmp_path / "ours", config=TELEMETRY),
        RealConsul(loopback(), tmp_path / "real", real_consul, config=TELEMETRY),
    ]
    paths = ["/v1/health/service/web", "/v1/health/service/web?tag=a&tag=b", "/v1/health/service/none?passing"]
    paths += ["/v1/catalog/service/web?tag=a", "/v1/catalog/service/none", "/v1/catalog/services", "/v1/catalog/nodes"]
    paths += ["/v1/health/service/web?stale", "/v1/catalog/connect/web", "/v1/health/connect/web"]
    befores = []
    with running(*agents):
        for agent in agents:
            agent.http("PUT", "/v1/catalog/register", b'{"Node":"n2","Address":"1.2.3.4","Service":{"Service":"web"}}')
            befores.append(lookups(agent))
            connection = http.client.HTTPConnection(agent.address, agent.http_port, timeout=PATIENCE_S)
            with contextlib.closing(connection):
                for path in paths:
                    for _ in range(5):
                        connection.request("GET", path)
                        assert connection.getresponse().read()
            agent.http("GET", "/v1/health/service/web?index=1")

        def counted() -> list[dict[str, float]]:
            afters = [lookups(agent) for agent in agents]
            return [
                {name: value - before.get(name, 0) for name, value in after.items()}
                for before, after in zip(befores, afters, strict=True)
            ]

        with contextlib.suppress(AssertionError):
            wait_until(lambda: len({str(sorted(each.items())) for each in counted()}) == 1, what="equal counts")
        assert counted()[0] == counted()[1]


def test_counters_do_not_fall_when_a_component_is_killed(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = Agent(loopback(), tmp_path, config=TELEMETRY)

    def transactions() -> float:
        family = families(agent).get("consul_txn_apply")
        return sum(s.value for s in family.samples if s.name.endswith("_count")) if family is not None else 0.0

    body = b'[{"KV": {"Verb": "set", "Key": "a", "Value": ""}}]'
    with running(agent):
        assert agent.http("PUT", "/v1/txn", body).status == 200
        before = transactions()
        assert before >= 1
        agent.kill("rpc_core")
        wait_until(lambda: agent.http("PUT", "/v1/txn", body).status == 200, what="a write after the kill")
        wait_until(lambda: transactions() > before, what="a transaction more than before the kill")


@pytest.mark.real_consul
def test_without_a_retention_time_there_is_no_page(real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> None:
    agents = [Agent(loopback(), tmp_path / "ours"), RealConsul(loopback(), tmp_path / "real", real_consul)]
    with running(*agents):
        pages = [agent.http("GET", PAGE) for agent in agents]
    answers = [(page.status, page.headers["content-type"], page.body) for page in pages]
    assert answers[0] == answers[1]
    assert answers[0][0] == 415


@pytest.mark.real_consul
def test_statsd_and_dogstatsd_are_sent_what_the_real_agent_sends(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path
) -> None:
    wanted = {
        "statsd": (b"consul.kvs.apply:", b"|ms"),
        "statsd gauge": (b"consul.host.session_ttl.active:0.000000|g\n", b""),
        "statsd counter": (b"consul.client.api.catalog_nodes.node1:", b".000000|c\n"),
    }
    tagged = {
        "counter": (b"consul.client.api.catalog_nodes:", b"|c|#env:test,node:node1"),
        "gauge": (b"consul.session_ttl.active:0.000000|g|#env:test", b""),
    }
    host = socket.gethostname().encode()
    with contextlib.ExitStack() as stack:
        agents: list[AnyAgent] = []
        receivers: list[list[socket.socket]] = []
        for kind in ("ours", "real"):
            address = loopback()
            sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)]
            for receiver in sockets:
                receiver.bind((address, 0))
                receiver.setblocking(False)
            receivers.append(sockets)
            statsd, dogstatsd = (f"{address}:{receiver.getsockname()[1]}" for receiver in sockets)
            telemetry = {"statsd_address": statsd, "dogstatsd_addr": dogstatsd, "dogstatsd_tags": ["env:test"]}
            config = {"telemetry": telemetry, "server": True, "bootstrap_expect": 1}
            if kind == "ours":
                agents.append(Agent(loopback(), tmp_path / kind, config=config, dev=False))
            else:
                agents.append(RealConsul(loopback(), tmp_path / kind, real_consul, config=config, dev=False))
        stack.enter_context(running(*agents))
        for agent, sockets in zip(agents, receivers, strict=True):
            received = [bytearray(), bytearray()]

            def complete(agent: AnyAgent = agent, sockets: list[Any] = sockets, received: list[Any] = received) -> bool:
                agent.http("PUT", "/v1/kv/a", b"x")
                agent.http("GET", "/v1/catalog/nodes")
                for number, receiver in enumerate(sockets):
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            received[number] += receiver.recv(65536) + b"\n"
                plain = bytes(received[0]).replace(b"." + host + b".", b".host.")
                return all(_has(plain, *pair) for pair in wanted.values()) and all(
                    _has(bytes(received[1]), *pair) for pair in tagged.values()
                )

            wait_until(complete, what=f"all lines of {agent.directory.name}")


def _has(data: bytes, start: bytes, end: bytes) -> bool:
    """Whether there is a line that begins with `start` and holds `end`."""
    return any(line.startswith(start) and end.strip() in line for line in data.splitlines(keepends=True))


@pytest.mark.real_consul
def test_a_signal_prints_what_was_measured(real_consul: Path, loopback: LoopbackPool, tmp_path: Path) -> None:
    """The lines have one form; only when a series was measured last is said by the real agent alone."""
    line = re.compile(rb"^\[[0-9: +-]+ UTC\]\[C\] 'consul\.raft\.apply': Count: \d+ (Min|Sum): \d", re.MULTILINE)
    gauge = re.compile(rb"^\[[0-9: +-]+ UTC\]\[G\] 'consul\.runtime\.alloc_bytes': \d+\.000$", re.MULTILINE)
    agents = [Agent(loopback(), tmp_path / "ours"), RealConsul(loopback(), tmp_path / "real", real_consul)]

    def printed() -> bool:
        for agent in agents:
            agent.http("PUT", "/v1/kv/a", b"x")
            agent.signal(signal.SIGUSR1)
        time.sleep(0.5)  # nobody asks more often than that
        outputs = [agent.output_path.read_bytes() for agent in agents]
        return all(line.search(output) and gauge.search(output) for output in outputs)

    with running(*agents):
        wait_until(printed, 2 * PATIENCE_S, "the measurements of a finished interval")
        assert all(agent.http("GET", "/v1/status/leader").status == 200 for agent in agents)
