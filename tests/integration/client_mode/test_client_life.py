"""A client agent through the deaths and returns of its servers: applications that use it notice next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.clusters import AnyAgent
from tests.integration.client_mode.setups import OURS, REAL, Applications, Setup, kind_of, setup, wait_whole
from tests.loopback import LoopbackPool

COMBINATIONS = [(OURS, OURS), (OURS, REAL), (REAL, OURS)]
"""Client, servers."""
PATIENT: dict[str, Any] = {"performance": {"raft_multiplier": 1, "rpc_hold_timeout": "30s"}}
"""Calls are held for the time of an election, which takes longer where the processors are busy."""
TASKS_MAX = 60
"""Of rpc_core at rest there are about forty, with connections to three servers."""
FDS_MAX = 150


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(one, id=f"{one[0]} on {one[1]}", marks=() if REAL not in one else pytest.mark.slow)
        for one in COMBINATIONS
    ],
)
def made(
    request: pytest.FixtureRequest, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Setup]:
    def real() -> Path:
        path: Path = request.getfixturevalue("real_consul")
        return path

    client_kind, server_kind = (kind_of(name, real) for name in request.param)
    directory = tmp_path_factory.mktemp("life")
    with setup([server_kind] * 3, client_kind, loopback, directory, PATIENT, PATIENT) as one:
        yield one


def at_rest(agent: Agent) -> None:
    """No task and no connection is left behind by what went wrong."""

    def tasks() -> int:
        return int(agent.http("GET", "/v1/agent/self").json()["Stats"]["runtime"]["goroutines"])

    def connections() -> int:
        pids = agent.pids().values()
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)

    wait_until(lambda: tasks() <= TASKS_MAX, what=f"no more than {TASKS_MAX} tasks in rpc_core")
    wait_until(lambda: connections() <= FDS_MAX, what=f"no more than {FDS_MAX} descriptors")


def kill(agent: AnyAgent) -> None:
    """At once, all of it."""
    if isinstance(agent, Agent):
        agent.kill_everything()
    else:
        assert agent.process is not None
        agent.process.kill()
        agent.process.wait(PATIENCE_S)


def judge(made: Setup, applications: Applications, deaths: int) -> None:
    """What the real client lets through is not its test's business; that nothing is lost is everybody's.

    Writes that were on their way to a server that died have an unknown outcome: one for each death, and some more
    where machines are slow."""
    print(applications.counts, applications.slowest_s, applications.failed_writes)
    if isinstance(made.client, Agent):
        assert not applications.problems
        assert len(applications.failed_writes) <= 4 * deaths, applications.failed_writes
        at_rest(made.client)
    applications.nothing_is_lost(made.client)


def test_reads_and_lookups_go_on_when_the_leader_dies(made: Setup) -> None:
    with Applications(made.client) as applications:
        applications.all_go_on()
        old = made.cluster.leader()
        kill(old)
        applications.all_go_on()
        made.cluster.leader()
        old.start()
        old.wait_ready()
        wait_whole(made.cluster)
        applications.all_go_on()
    judge(made, applications, deaths=1)


def test_servers_are_restarted_one_after_the_other(made: Setup) -> None:
    with Applications(made.client) as applications:
        for one in made.cluster:
            applications.all_go_on(more=2)
            one.stop()
            one.start()
            one.wait_ready()
            wait_whole(made.cluster)
        applications.all_go_on()
    judge(made, applications, deaths=3)
