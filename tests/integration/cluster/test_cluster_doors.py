"""Three servers of ours and a client, whose gateways call the raft_nodes of others: without what lies in between, and
while the leadership changes.

A process that is stopped cannot help anybody: what is answered meanwhile goes past it. Gateways are not patient with
their short ways, so that a busy machine makes them take the long ones; then the same is tried again."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.clusters import CALM, ELECTION_S, Cluster, client, founders
from tests.integration.client_mode.setups import wait_whole
from tests.loopback import LoopbackPool

STOPPED_S = 1.0
"""For how long an answer is waited for while processes are stopped: the leader is to keep its office."""
_numbers = itertools.count(1)
"""Nothing is written twice: what was given up may still happen."""


class Setting:
    """The cluster and its client."""

    def __init__(self, cluster: Cluster, agent: Agent) -> None:
        self.cluster, self.client = cluster, agent

    def servers(self) -> list[Agent]:
        """The leader first."""
        leader = self.cluster.leader()
        found = [leader, *(one for one in self.cluster if one is not leader)]
        assert all(isinstance(one, Agent) for one in found)
        return found  # type: ignore[return-value]

    def transfer(self) -> tuple[Agent, Agent]:
        """Another server leads: the one from before, and the new one."""
        old = self.servers()[0]
        assert old.http("POST", "/v1/operator/raft/transfer-leader").status == 200
        wait_until(lambda: self.cluster.leader() is not old, ELECTION_S, "another leader")
        return old, self.servers()[0]


@pytest.fixture(scope="module")
def made(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    directory = tmp_path_factory.mktemp("doors")
    cluster = founders(loopback, directory, [Agent, Agent, Agent], CALM)
    join = [one.address for one in cluster]
    agent = client(Agent, loopback(), directory / "c1", "c1", join=join, config=CALM)
    assert isinstance(agent, Agent)
    try:
        agent.start()
        with cluster.running():
            agent.wait_ready()
            wait_whole(cluster)
            yield Setting(cluster, agent)
    finally:
        agent.destroy()


def put(agent: Agent, key: str, value: bytes, timeout_s: float = PATIENCE_S) -> None:
    answer = agent.http("PUT", f"/v1/kv/{key}", value, timeout_s=timeout_s)
    assert (answer.status, answer.body.strip()) == (200, b"true"), (agent.node_name, answer)


def read(agent: Agent, key: str, timeout_s: float = PATIENCE_S) -> bytes:
    """As a consistent read shows it."""
    answer = agent.http("GET", f"/v1/kv/{key}?consistent", timeout_s=timeout_s)
    assert answer.status == 200, (agent.node_name, answer)
    return base64.b64decode(answer.json()[0]["Value"])


def wait_applied(agent: Agent, key: str, value: bytes) -> None:
    """Until the server has this in its own state. One that has heard of a write, but not yet of its commit, passes
    reads on. Raises TimeoutError."""
    try:
        wait_until(lambda: agent.http("GET", f"/v1/kv/{key}?stale&raw", timeout_s=STOPPED_S).body == value, STOPPED_S)
    except AssertionError as error:
        raise TimeoutError(str(error)) from None


def has_line(agent: Agent, to: Agent) -> bool:
    """Whether the gateway has a connection of its own to the server port of `to`, as the system counts them."""
    (address,) = struct.unpack("=I", socket.inet_aton(to.address))
    pid, inodes = agent.pids()["http_gateway"], set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2:4] == [f"{address:08X}:{8300:04X}", "01"] and f"socket:[{row[9]}]" in inodes for row in rows)


@contextlib.contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def without(pids: Sequence[int], before: Callable[[str], None], steps: Callable[[str], None], what: str) -> None:
    """`steps` while these processes are stopped, each of them answered within STOPPED_S; `before` makes all the
    connections. Both are given a key that is new."""

    def done() -> bool:
        key = f"doors/{next(_numbers)}"
        before(key)
        with stopped(pids):
            steps(key)
        return True

    wait_until(done, what=what)


# -- without the processes in between ----------------------------------------------------------------


def test_consistent_reads_at_the_leader_go_from_its_gateway_to_a_follower(made: Setting) -> None:
    leader, *followers = made.servers()
    pids = [leader.pids()[component] for component in ("raft_node", "rpc_core")]

    def before(key: str) -> None:
        for agent in (*made.servers(), made.client):
            put(agent, key, agent.node_name.encode())
            assert read(leader, key) == agent.node_name.encode()
        wait_until(lambda: read(leader, key) and any(has_line(leader, one) for one in followers), what="a line")

    def steps(key: str) -> None:
        for _ in range(5):
            assert read(leader, key, STOPPED_S) == b"c1"

    without(pids, before, steps, "answers of the leader's gateway alone")
    assert made.servers()[0] is leader


def test_consistent_reads_at_the_leader_are_not_answered_without_the_others(made: Setting) -> None:
    """Whatever its own page says: nobody has confirmed that nobody else leads."""
    leader, *_ = made.servers()
    put(leader, "doors/alone", b"1")
    assert read(leader, "doors/alone") == b"1"
    with stopped([one.pids()["raft_node"] for one in made.servers()]), pytest.raises(TimeoutError):
        read(leader, "doors/alone", STOPPED_S / 2)
    assert read(leader, "doors/alone") == b"1"


def test_a_follower_and_a_client_need_no_rpc_core_to_reach_the_leader(made: Setting) -> None:
    leader, follower, _ = made.servers()
    pids = [one.pids()["rpc_core"] for one in (leader, follower, made.client)]

    def before(key: str) -> None:
        for agent in (follower, made.client):

            def reaches(agent: Agent = agent) -> bool:
                put(agent, key, b"before")
                # A read in default mode shows a client whether its server is one of ours.
                assert agent.http("GET", f"/v1/kv/{key}?raw").body == b"before"
                return has_line(agent, leader)

            wait_until(reaches, what=f"a line of {agent.node_name}")
        assert read(follower, key) == b"before"

    def steps(key: str) -> None:
        for number in range(3):
            for agent in (follower, made.client):
                value = f"{agent.node_name} {number}".encode()
                put(agent, key, value, STOPPED_S)
                wait_applied(follower, key, value)
                assert read(follower, key, STOPPED_S) == value

    without(pids, before, steps, "answers without rpc_core")
    assert made.servers()[0] is leader


def test_a_client_that_only_writes_finds_the_door(made: Setting) -> None:
    """Nobody reads by it in the way that shows which servers are ours."""
    leader, agent = made.servers()[0], made.client
    for component in ("rpc_core", "http_gateway"):
        agent.wait_restarted(component, agent.kill(component))

    def has_found_it() -> bool:
        put(agent, "doors/only-written", str(next(_numbers)).encode())
        return has_line(agent, leader)

    wait_until(has_found_it, what="a line to the leader")


# -- while the leadership changes --------------------------------------------------------------------


class Counter:
    """A key that is only counted up. acknowledged: what some agent has said to be written."""

    def __init__(self, key: str) -> None:
        self._key, self.acknowledged = key, 0

    def count(self, agent: Agent) -> None:
        """By one writer at a time."""
        put(agent, self._key, str(self.acknowledged + 1).encode(), 2 * PATIENCE_S)
        self.acknowledged += 1

    def look(self, agent: Agent) -> None:
        before = self.acknowledged
        answer = agent.http("GET", f"/v1/kv/{self._key}?consistent&raw", timeout_s=2 * PATIENCE_S)
        if answer.status == 500 and b"leadership lost while committing log" in answer.body:
            return  # it was with the old leader; it has shown nothing
        assert answer.status == 200, (agent.node_name, answer)
        shown = int(answer.body)
        assert shown >= before, f"{agent.node_name} shows {shown} after {before} was acknowledged"


def test_the_leaders_of_before_and_now_show_what_was_acknowledged(made: Setting) -> None:
    counter = Counter("doors/after")
    old, new = made.transfer()
    agents = itertools.cycle([*made.servers(), made.client])
    for _ in range(20):
        counter.count(next(agents))
        for leader in (old, new):
            counter.look(leader)
    assert counter.acknowledged == 20


def test_nobody_shows_less_than_was_acknowledged_while_the_leadership_goes_round(made: Setting) -> None:
    counter, over = Counter("doors/meanwhile"), threading.Event()
    counter.count(made.client)

    def write() -> int:
        for agent in itertools.cycle([*made.servers(), made.client]):
            if over.is_set():
                break
            counter.count(agent)
        return counter.acknowledged

    def look(agent: Agent) -> int:
        looks = 0
        while not over.is_set():
            counter.look(agent)
            looks += 1
        return looks

    def all_go_on(written: int) -> bool:
        if any(one.done() for one in jobs):
            over.set()  # one has failed: its result says how
        return over.is_set() or counter.acknowledged >= written

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write), *(pool.submit(look, agent) for agent in made.servers())]
        try:
            for _ in range(3):
                made.transfer()
                written = counter.acknowledged + 20
                wait_until(lambda written=written: all_go_on(written), what="more writes")  # type: ignore[misc]
        finally:
            over.set()
        assert all(job.result() for job in jobs)
