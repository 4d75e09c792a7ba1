"""The way of docs/migrate-from-consul.md: three real servers are replaced one by one while clients write and read."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.clusters import ELECTION_S, JOINING, AnyAgent, Cluster, founders, server
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

SERVERS = 3
QUIET_S = 10.0
"""The longest time without a read: an election, and the time a client takes to try the next server."""
CONFIG = {
    "performance": {"raft_multiplier": 1, "leave_drain_time": "1s"},
    "autopilot": {"server_stabilization_time": "1s"},
}
STATE: list[tuple[str, str, Any]] = [
    ("PUT", "/v1/kv/app/config?flags=42", "a: 1"),
    ("PUT", "/v1/kv/app/empty", None),
    (
        "PUT",
        "/v1/catalog/register",
        {
            "Node": "db-host",
            "Address": "10.1.0.1",
            "NodeMeta": {"rack": "7"},
            "Service": {"ID": "db-1", "Service": "db", "Tags": ["primary"], "Port": 5432, "Meta": {"v": "13"}},
            "Check": {"CheckID": "db-alive", "Name": "alive", "Status": "passing", "ServiceID": "db-1"},
        },
    ),
    ("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "db", "Protocol": "tcp"}),
    ("POST", "/v1/query", {"Name": "near-db", "Service": {"Service": "db", "OnlyPassing": True}}),
    ("POST", "/v1/connect/intentions", {"SourceName": "web", "DestinationName": "db", "Action": "allow"}),
]
SEEN = [
    "/v1/kv/app?recurse",
    "/v1/catalog/node/db-host",
    "/v1/health/service/db",
    "/v1/config/service-defaults/db",
    "/v1/query",
    "/v1/session/node/db-host",
]


class Load:
    """A client of all servers that are named in `targets`: what one does not answer, the next one is asked."""

    def __init__(self, targets: Sequence[AnyAgent]) -> None:
        self.targets = list(targets)
        self.accepted: list[int] = []
        self.wrong: list[str] = []
        self.longest_s = {"write": 0.0, "read": 0.0}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _write(self) -> None:
        number, last = 0, time.monotonic()
        while not self._stopping.is_set():
            if self._ask("PUT", f"/v1/kv/load/{number}", str(number)) == b"true":
                self.accepted.append(number)
                number += 1
                last = self._note("write", last)
            self._stopping.wait(0.01)

    def _read(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            answer = self._ask("GET", "/v1/kv/app/config?raw")
            if answer is not None:
                if answer != b"a: 1":
                    self.wrong.append(repr(answer))
                last = self._note("read", last)
            self._stopping.wait(0.01)

    def _note(self, kind: str, last: float) -> float:
        now = time.monotonic()
        self.longest_s[kind] = max(self.longest_s[kind], now - last)
        return now

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes | None:
        """The body of the first 200; None if no server gives one."""
        for agent in list(self.targets):
            try:
                answer = agent.http(method, path, body, timeout_s=2)
            except (OSError, http.client.HTTPException):
                continue
            if answer.status == 200:
                return answer.body.strip()
        return None


def fill(agent: AnyAgent) -> str:
    """Something of every kind; the session that holds a lock."""
    for method, path, body in STATE:
        answer = agent.http(method, path, body)
        assert answer.status == 200, (path, answer)
    wanted = {"Node": "db-host", "NodeChecks": [], "ServiceChecks": [{"ID": "db-alive"}], "LockDelay": "0s"}
    session = agent.http("PUT", "/v1/session/create", wanted)
    name: str = session.json()["ID"]
    assert agent.http("PUT", f"/v1/kv/app/leader?acquire={name}", "db-1").body.strip() == b"true"
    return name


def state_of(agent: AnyAgent) -> dict[str, Any]:
    return {path: agent.http("GET", f"{path}{'&' if '?' in path else '?'}stale").json() for path in SEEN}


def voters(agent: AnyAgent) -> set[str]:
    servers = agent.http("GET", "/v1/operator/raft/configuration").json()["Servers"]
    return {one["Node"] for one in servers if one["Voter"]}


def healthy(agent: AnyAgent, count: int) -> bool:
    answer = agent.http("GET", "/v1/operator/autopilot/health")
    return answer.status == 200 and len(answer.json()["Servers"]) == count


def replace(old: AnyAgent, others: Sequence[AnyAgent], directory: Path) -> AnyAgent:
    """One step of the way: the old server leaves, ours begins at its address, and has a vote in the end."""
    left = old.cli("leave", timeout_s=60)
    assert left.returncode == 0, left
    old.wait_exit(60)
    rest = {one.node_name for one in others}
    wait_until(lambda: voters(others[0]) == rest, ELECTION_S, f"{old.node_name} to be gone")
    made = server(
        Agent,
        old.address,
        directory / f"ours-{old.node_name}",
        old.node_name,
        mode=JOINING,
        join=[one.address for one in others],
        config=CONFIG,
    )
    made.start()
    made.wait_ready()
    wait_until(lambda: voters(made) == {*rest, made.node_name}, ELECTION_S, f"a vote for {made.node_name}")
    wait_until(lambda: healthy(made, SERVERS), ELECTION_S, "health of all servers")
    return made


@pytest.mark.slow
def test_a_datacenter_moves_server_by_server(loopback: LoopbackPool, tmp_path: Path, real_consul: Path) -> None:
    real = founders(loopback, tmp_path, [partial(RealConsul, binary=real_consul)] * SERVERS, CONFIG)
    servers: list[AnyAgent] = list(real)
    ours: list[AnyAgent] = []
    try:
        with real.running():
            holder = fill(real.leader())
            before = state_of(real.leader())
            # The leader last: then everything it knows has to go over to ours by election.
            servers = [*real.followers(), real.leader()]
            with Load(servers) as load:
                for old in list(servers):
                    load.targets.remove(old)
                    ours.append(replace(old, load.targets, tmp_path))
                    load.targets.append(ours[-1])
                begun = len(load.accepted)
                wait_until(lambda: len(load.accepted) > begun + 50, what="writes after the last replacement")
            after = Cluster(ours)
            leader = after.leader()
            assert isinstance(leader, Agent)
            assert not load.wrong
            assert load.longest_s["read"] < QUIET_S
            assert len(load.accepted) > 100
            for one in ours:
                kept = {entry["Key"]: entry for entry in one.http("GET", "/v1/kv/load?recurse&consistent").json()}
                assert {f"load/{number}" for number in load.accepted} <= kept.keys()
                wait_until(lambda one=one: state_of(one) == before, what=f"the same state at {one.node_name}")  # type: ignore[misc]
            assert before["/v1/session/node/db-host"][0]["ID"] == holder
            print(json.dumps({"writes": len(load.accepted), **load.longest_s}))
    finally:
        for one in ours:
            one.destroy()
