"""What many client agents ask of one server, over the wire: registrations, full comparisons, blocking queries,
coordinates.

    outcome = measure_load("127.0.0.1:8300", clients=50, seconds=10, cpu_s=lambda: ...)

The agents are tasks of this process, each with a yamux connection of its own and the requests that a Consul client
sends. What a real one does in minutes they do in seconds, so that a server's work can be told from its rest."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import trio

from shared.config.runtime import split_host_port
from shared.server_rpc.connection import ServerConnection
from shared.server_rpc.errors import ServerCallError
from shared.structs.catalog import HealthCheck, NodeService, RegisterRequest
from shared.structs.coordinate import CoordinateUpdateRequest, Vivaldi
from shared.structs.query import NodeSpecificRequest, ServiceSpecificRequest
from shared.wire import rpc

DATACENTER: Final = "dc1"
SERVICES: Final = 25
"""Of which each agent has one instance, and watches WATCHED."""
WATCHED: Final = 10
CHANGE_EVERY_S: Final = 2.0
"""A check of each agent turns so often: that is registered, and wakes those who watch the service."""
COMPARE_EVERY_S: Final = 5.0
"""Anti-entropy in full (a minute and more in a real pool of this size), and a coordinate."""
WAIT_NS: Final = 600 * 1_000_000_000
SETTLE_S: Final = 3.0


@dataclass(slots=True)
class Outcome:
    """cpu_percent: of the server, of one core. Milliseconds: from a registration's request to its answer, and to the
    answer of a query that waited for it. calls: answers per second."""

    cpu_percent: float
    calls: float
    registered_ms: list[float]
    woken_ms: list[float]


@dataclass(slots=True)
class _Tally:
    """counting: whether the measurement is on. changed_at: of each service, its newest change."""

    counting: bool = False
    calls: int = 0
    registered_ms: list[float] = field(default_factory=list)
    woken_ms: list[float] = field(default_factory=list)
    changed_at: dict[str, float] = field(default_factory=dict)


def percentile(values: list[float], share: float) -> float:
    """share: 0 to 1. Not a number without values."""
    if not values:
        return math.nan
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, max(0, round(share * 1000) - 1))]


class _LoadAgent:
    """One client agent: what it has is its node, a service and a check."""

    def __init__(self, number: int, connection: ServerConnection, tally: _Tally, rng: random.Random) -> None:
        self._number, self._connection, self._tally, self._rng = number, connection, tally, rng
        self._node = f"load-{number}"
        self._service = f"load-{number % SERVICES}"
        self._passing = True

    async def _call(self, method: str, body: dict[str, Any]) -> Any:
        done = trio.Event()
        outcome: list[tuple[Any, ServerCallError | None]] = []

        def on_reply(value: Any, error: ServerCallError | None) -> None:
            outcome.append((value, error))
            done.set()

        self._connection.post(method, rpc.pack(body), on_reply)
        await done.wait()
        value, error = outcome[0]
        if error is not None:
            raise error
        self._tally.calls += self._tally.counting
        return value

    async def register(self) -> None:
        """The check has turned."""
        tally = self._tally
        self._passing = not self._passing
        request = RegisterRequest(
            datacenter=DATACENTER,
            node=self._node,
            address=f"10.2.0.{self._number}",
            service=NodeService(id=self._service, service=self._service, port=8000),
            check=HealthCheck(
                node=self._node,
                check_id="turning",
                name="turning",
                status="passing" if self._passing else "warning",
                service_id=self._service,
                service_name=self._service,
            ),
            skip_node_update=True,
        )
        started = time.perf_counter()
        tally.changed_at[self._service] = started
        await self._call("Catalog.Register", request.to_wire())
        if tally.counting:
            tally.registered_ms.append((time.perf_counter() - started) * 1000)

    async def turn(self) -> None:
        await trio.sleep(self._rng.random() * CHANGE_EVERY_S)
        while True:
            await self.register()
            await trio.sleep(CHANGE_EVERY_S * (0.75 + self._rng.random() / 2))

    async def compare(self) -> None:
        of_node = NodeSpecificRequest(datacenter=DATACENTER, node=self._node, allow_stale=True).to_wire()
        coordinate = Vivaldi(vec=[0.0] * 8, error=1.5, adjustment=0.0, height=1e-5)
        update = CoordinateUpdateRequest(datacenter=DATACENTER, node=self._node, coord=coordinate).to_wire()
        await trio.sleep(self._rng.random() * COMPARE_EVERY_S)
        while True:
            await self._call("Catalog.NodeServiceList", of_node)
            await self._call("Health.NodeChecks", of_node)
            await self._call("Coordinate.Update", update)
            await trio.sleep(COMPARE_EVERY_S)

    async def watch(self, service: str) -> None:
        """As the cache of an agent does, for ever."""
        tally, index = self._tally, 0
        while True:
            request = ServiceSpecificRequest(
                datacenter=DATACENTER,
                service_name=service,
                min_query_index=index,
                max_query_time=WAIT_NS,
                allow_stale=True,
            )
            reply = await self._call("Health.ServiceNodes", request.to_wire())
            if index and tally.counting:
                tally.woken_ms.append((time.perf_counter() - tally.changed_at[service]) * 1000)
            index = reply["Index"]


async def _run(address: str, clients: int, seconds: float, cpu_s: Callable[[], float]) -> Outcome:
    host, port = split_host_port(address)
    tally, rng = _Tally(), random.Random(7)
    async with trio.open_nursery() as nursery:
        agents = []
        for number in range(clients):
            connection = ServerConnection(await trio.open_tcp_stream(host, port))
            nursery.start_soon(connection.run)
            agents.append(_LoadAgent(number, connection, tally, rng))
        for agent in agents:
            await agent.register()
        for number, agent in enumerate(agents):
            nursery.start_soon(agent.turn)
            nursery.start_soon(agent.compare)
            for offset in range(WATCHED):
                nursery.start_soon(agent.watch, f"load-{(number + offset) % SERVICES}")
        await trio.sleep(SETTLE_S)
        started, before = time.perf_counter(), cpu_s()
        tally.counting = True
        await trio.sleep(seconds)
        tally.counting = False
        took = time.perf_counter() - started
        outcome = Outcome((cpu_s() - before) / took * 100, tally.calls / took, tally.registered_ms, tally.woken_ms)
        nursery.cancel_scope.cancel()
    return outcome


def measure_load(address: str, clients: int, seconds: float, cpu_s: Callable[[], float]) -> Outcome:
    """address: the server's RPC port, as ip:port. cpu_s: what the server has used so far."""
    return trio.run(partial(_run, address, clients, seconds, cpu_s))
