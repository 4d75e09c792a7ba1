"""Components die at random while clients register: what was acknowledged is there afterwards, and in the catalog."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import threading
import time
from pathlib import Path

from tests.agents import Agent, wait_until
from tests.loopback import LoopbackPool
from tests.seeds import seed_of

CLIENTS, KILLS = 3, 6
SYNC_S = 130.0
"""The longest wait for a full sync."""


class Client(threading.Thread):
    """Registers its own services again and again. possible: the ports that each may have."""

    def __init__(self, agent: Agent, number: int, seed: int, stop: threading.Event) -> None:
        super().__init__()
        self._agent, self._number, self._stop_wanted = agent, number, stop
        self._rng = random.Random(f"{seed}-{number}")
        self.possible: dict[str, set[int | None]] = {}

    def run(self) -> None:
        while not self._stop_wanted.is_set():
            service_id, port = f"s{self._number}-{self._rng.randrange(8)}", self._rng.randrange(1, 60000)
            body = {"Name": service_id, "Port": port, "Check": {"TTL": "1h"}}
            done = False
            with contextlib.suppress(OSError, http.client.HTTPException):
                done = self._agent.http("PUT", "/v1/agent/service/register", body, timeout_s=70).status == 200
            before = set() if done else self.possible.get(service_id, {None})
            self.possible[service_id] = before | {port}


def test_what_was_acknowledged_survives_every_kill(loopback: LoopbackPool, tmp_path: Path) -> None:
    seed = int(os.environ.get("PROCONSUL_SEED") or seed_of("kills"))
    print(f"replay: PROCONSUL_SEED={seed}")
    rng = random.Random(seed)
    agent = Agent(loopback(), tmp_path, dev=False, config={"disable_coordinates": True})
    with agent.running():
        stop = threading.Event()
        clients = [Client(agent, number, seed, stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for _ in range(KILLS):
                time.sleep(rng.uniform(0.2, 1.0))  # the clients work meanwhile
                component = rng.choice(["rpc_core", "rpc_core", "raft_node", "http_gateway"])
                agent.wait_restarted(component, agent.kill(component))
        finally:
            stop.set()
            for client in clients:
                client.join(90)
        possible = {key: ports for client in clients for key, ports in client.possible.items()}

        def ports_here() -> dict[str, int]:
            return {key: each["Port"] for key, each in agent.http("GET", "/v1/agent/services").json().items()}

        def ports_in_catalog() -> dict[str, int]:
            found = agent.http("GET", "/v1/catalog/node/node1").json()["Services"]
            return {key: each["Port"] for key, each in found.items() if key != "consul"}

        wait_until(lambda: agent.http("GET", "/v1/agent/services").status == 200, what="the agent")
        here = ports_here()
        assert {key: here.get(key) for key, ports in possible.items() if here.get(key) not in ports} == {}
        assert here.keys() <= possible.keys()
        wait_until(lambda: ports_in_catalog() == ports_here(), SYNC_S, "the catalog")
