"""A cluster under a nemesis: what its clients saw of every key has an order that explains it.

PROCONSUL_NEMESIS_S is how long the long form lasts (an hour), PROCONSUL_NEMESIS_SEED replays the faults of a run."""

from __future__ import annotations

import http.client
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, wait_until
from tests.clusters import ELECTION_S, Cluster, expecting, server
from tests.linearizability.checker import explain
from tests.linearizability.clients import (
    EPOCH_S,
    REQUEST_ENDS_WITHIN_S,
    Client,
    Record,
    epoch_of,
    make_sessions,
    working,
)
from tests.linearizability.history import Operation
from tests.linearizability.nemesis import Nemesis
from tests.linearizability.network import Network, why_not
from tests.linearizability.register import ABSENT, step
from tests.on_hosts import HostAgent
from tests.seeds import seed_of

SHORT_S = 20.0
LONG_S = float(os.environ.get("PROCONSUL_NEMESIS_S", "3600"))
CLIENTS_EACH = 2


@pytest.fixture(scope="module")
def reason() -> str:
    return why_not()


def made_of(network: Network, directory: Path, count: int) -> tuple[Cluster, list[Agent]]:
    addresses = [network.address(number) for number in range(count)]
    agents: list[Agent] = []
    for number, address in enumerate(addresses):
        prefix = network.command(number)

        def kind(*arguments: Any, prefix: list[str] = prefix, **settings: Any) -> HostAgent:
            return HostAgent(*arguments, prefix=prefix, **settings)

        name = f"n{number + 1}"
        made = server(kind, address, directory / name, name, mode=expecting(count), join=addresses)
        assert isinstance(made, Agent)
        agents.append(made)
    return Cluster(agents), agents


def leader_of(agents: list[Agent]) -> Agent | None:
    """Whom the first that answers takes for the leader."""
    for agent in agents:
        try:
            said = agent.http("GET", "/v1/status/leader", timeout_s=1).json()
        except (OSError, http.client.HTTPException, ValueError):
            continue
        for other in agents:
            if isinstance(said, str) and said.startswith(f"{other.address}:"):
                return other
    return None


def judge(record: Record, before_epoch: int) -> tuple[int, list[str]]:
    """Operations checked, and the histories without an explanation."""
    checked, wrong = 0, []
    for key, operations in record.take_before(before_epoch).items():
        checked += len(operations)
        if explain(operations, ABSENT, step) is None:
            wrong.append("\n".join([f"{key}:", *map(str, sorted(operations, key=_begin))]))
    return checked, wrong


def _begin(operation: Operation) -> float:
    return operation.invoked_s


def run(directory: Path, servers: int, duration_s: float, seed: int) -> str:
    """A line of figures. Raises AssertionError with the history of a key that no order explains."""
    network = Network(servers)
    record, stopping, calm = Record(), threading.Event(), threading.Event()
    checked, wrong = 0, list[str]()
    try:
        with network.entered():
            cluster, agents = made_of(network, directory, servers)
            with cluster.running():

                def ask(method: str, path: str, body: Any) -> Any:
                    """Until there is an answer: it may be done twice, which does no harm."""
                    return wait_until(lambda: cluster.leader().http(method, path, body).json(), ELECTION_S, path)

                sessions = make_sessions(ask, CLIENTS_EACH * servers)
                clients = [
                    Client(number, agents[number % servers].address, session, record, stopping, seed, network.entered)
                    for number, session in enumerate(sessions)
                ]
                nemesis = Nemesis(agents, network, lambda: leader_of(agents), calm, seed)
                with working(clients, stopping):
                    nemesis.start()
                    end = time.monotonic() + duration_s
                    while time.monotonic() < end and not wrong and nemesis.failure is None:
                        stopping.wait(min(EPOCH_S, max(0.0, end - time.monotonic())))
                        done, wrong = judge(record, epoch_of(time.monotonic() - REQUEST_ENDS_WITHIN_S))
                        checked += done
                    calm.set()
                    nemesis.join(60)
                assert nemesis.failure is None, nemesis.failure
                cluster.leader(2 * ELECTION_S)
                wait_until(lambda: len(cluster.alive()) == servers, what="all servers")
                for agent in agents:
                    wait_until(
                        lambda agent=agent: agent.http("PUT", "/v1/kv/after", b"all").body == b"true",  # type: ignore[misc]
                        ELECTION_S,
                        f"{agent.node_name} to take writes again",
                    )
    finally:
        network.close()
    done, more = judge(record, 1 << 62)
    faults = "\n".join(nemesis.log)
    assert not wrong + more, f"seed {seed}\n{faults}\n\n" + "\n\n".join(wrong + more)
    return f"{checked + done} operations, {record.lost} of unknown outcome; {len(nemesis.log)} faults and their ends"


def seed() -> int:
    return int(os.environ.get("PROCONSUL_NEMESIS_SEED", "0")) or seed_of(__name__) or random.getrandbits(32)


@pytest.mark.parametrize("servers", [3])
def test_no_read_is_wrong_whatever_fails(tmp_path: Path, reason: str, servers: int) -> None:
    if reason:
        pytest.skip(reason)
    print(run(tmp_path, servers, SHORT_S, seed()))


@pytest.mark.slow
@pytest.mark.timeout(LONG_S + 900)
@pytest.mark.parametrize("servers", [3, 5])
def test_no_read_is_wrong_for_an_hour(tmp_path: Path, reason: str, servers: int) -> None:
    if reason:
        pytest.skip(reason)
    print(run(tmp_path, servers, LONG_S, seed()))
