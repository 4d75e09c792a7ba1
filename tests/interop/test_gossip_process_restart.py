"""Our gossip process is restarted by itself, in a pool of real agents and ours: nobody takes its node for failed."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from tests.agents import Agent, RealConsul, all_running, wait_until
from tests.interop.gossip_members import ALIVE, FAILED, LEFT, QUICK, Timing

pytestmark = pytest.mark.real_consul

Loopback = Callable[[], str]
MISSED_AFTER_S = Timing().suspicion_min_s(4) - 1
"""Who is away for less is taken for failed by nobody, even if some hear of its return later than others."""
CLIENT = ["-bootstrap-expect=0", "-server=false", "-retry-interval=1s"]


def statuses(agent: Agent | RealConsul, wan: bool = False) -> dict[str, int]:
    members = agent.http("GET", f"/v1/agent/members{'?wan=1' * wan}", timeout_s=10).json()
    return {one["Name"]: one["Status"] for one in members}


def wait_statuses(agent: Agent | RealConsul, expected: dict[str, int], wan: bool = False) -> None:
    seen: dict[str, int] = {}

    def as_expected() -> bool:
        seen.clear()
        seen.update(statuses(agent, wan))
        return seen == expected

    try:
        wait_until(as_expected, 60)
    except AssertionError:
        raise AssertionError(f"{agent.node_name} sees {seen}, expected {expected}") from None


def incarnation(at: str, node: str) -> int:
    """What the member at this address knows of the node; states are exchanged without joining."""
    with socket.create_connection((at, 8301), timeout=30) as stream:
        stream.sendall(encode_stream(PushPull(False, (), b"")))
        decoder = StreamDecoder()
        while True:
            data = stream.recv(65536)
            if not data:
                raise OSError(f"{at} has closed the connection")
            state = decoder.feed(data)
            if state is not None:
                break
    assert isinstance(state, PushPull)
    [record] = [one for one in state.nodes if one.name == node]
    return record.incarnation


def lamport_times(agent: Agent) -> dict[str, int]:
    stats = agent.http("GET", "/v1/agent/self").json()["Stats"]["serf_lan"]
    return {name: int(stats[f"{name}_time"]) for name in ("member", "event", "query")}


def fire(agent: Agent | RealConsul, name: str) -> None:
    assert agent.http("PUT", f"/v1/event/fire/{name}").status == 200


def wait_event(agent: Agent | RealConsul, name: str) -> None:
    wait_until(lambda: name in [e["Name"] for e in agent.http("GET", "/v1/event/list").json()], 60, f"event {name}")


def failures(agent: Agent | RealConsul) -> int:
    return agent.output().count("EventMemberFailed")


@contextlib.contextmanager
def pool(loopback: Loopback, directory: Path, consul: Path) -> Iterator[tuple[Agent, Agent, RealConsul, RealConsul]]:
    """Our server, another one of ours, a real server and a real client: one cluster, with Consul's own timing."""
    ours = Agent(loopback(), directory / "ours", dev=False, node_name="ours")
    joins = ["-retry-join", ours.address, "-retry-interval=1s"]
    also = Agent(loopback(), directory / "also", ["-bootstrap-expect=0", *joins], dev=False, node_name="also")
    real = RealConsul(
        loopback(), directory / "real", consul, ["-bootstrap-expect=0", *joins], dev=False, node_name="real"
    )
    client = RealConsul(loopback(), directory / "client", consul, [*CLIENT, *joins], dev=False, node_name="client")
    with all_running(ours, also, real, client):
        for agent in (ours, also, real, client):
            wait_statuses(agent, dict.fromkeys(("ours", "also", "real", "client"), ALIVE))
        yield ours, also, real, client


def test_a_restarted_gossip_process_is_missed_by_nobody(loopback: Loopback, tmp_path: Path, real_consul: Path) -> None:
    with pool(loopback, tmp_path, real_consul) as (ours, also, real, client):
        everybody = (ours, also, real, client)
        fire(client, "before")
        wait_event(ours, "before")
        taken_for_failed = [failures(agent) for agent in everybody]
        for number, restart in enumerate(("kill", "restart")):
            times, known = lamport_times(ours), incarnation(real.address, "ours")
            pid = wait_until(lambda: ours.pids().get("gossip"), what="a gossip process") or 0
            began = time.monotonic()
            if restart == "kill":
                ours.kill("gossip")
            else:
                assert ours.cli("restart", "gossip").returncode == 0
            ours.wait_restarted("gossip", pid)
            for agent in everybody:
                wait_statuses(agent, dict.fromkeys(("ours", "also", "real", "client"), ALIVE))
                wait_statuses(ours, dict.fromkeys(("ours.dc1", "also.dc1", "real.dc1"), ALIVE), wan=True)
            after = lamport_times(ours)
            assert all(after[clock] >= times[clock] for clock in times), (times, after)
            # A greater incarnation than the last one is believed, whatever was said meanwhile.
            assert incarnation(ours.address, "ours") > known
            wait_until(lambda known=known: incarnation(real.address, "ours") > known, 60)  # type: ignore[misc]
            away_s = time.monotonic() - began
            # What it says is news to the others, and what they say to it.
            fire(ours, f"after-{number}")
            fire(client, f"too-{number}")
            for agent in everybody:
                wait_event(agent, f"after-{number}")
                wait_event(agent, f"too-{number}")
            if away_s >= MISSED_AFTER_S:
                taken_for_failed = [failures(agent) for agent in everybody]
            assert taken_for_failed == [failures(agent) for agent in everybody]
        events = [event["Name"] for event in ours.http("GET", "/v1/event/list").json()]
        assert len(events) == len(set(events)), "one was delivered twice"
        # Whoever had failed before is still known to have: the leader would take it out of the catalog otherwise.
        client.destroy()
        failed = {**dict.fromkeys(("ours", "also", "real"), ALIVE), "client": FAILED}
        wait_statuses(ours, failed)
        pid = ours.kill("gossip")
        ours.wait_restarted("gossip", pid)
        wait_statuses(ours, failed)


def test_signals_mean_a_departure_or_not_and_the_pool_is_found_again_after_one(
    loopback: Loopback, tmp_path: Path, real_consul: Path
) -> None:
    """TERM is a departure where leave_on_terminate is set, INT is none for servers by default."""
    timing = {"gossip_lan": QUICK.consul()}
    leaving = {
        "rejoin_after_leave": True, "leave_on_terminate": True, "ports": {"serf_wan": -1},
        "performance": {"leave_drain_time": "0s", "raft_multiplier": 1},
    }  # fmt: skip
    ours = Agent(loopback(), tmp_path / "ours", dev=False, node_name="ours", config={**leaving, **timing})
    joins = ["-retry-join", ours.address]
    client = RealConsul(
        loopback(), tmp_path / "real", real_consul, [*CLIENT, *joins], dev=False, node_name="client", config=timing
    )
    with all_running(ours, client):
        wait_statuses(client, {"ours": ALIVE, "client": ALIVE})
        assert ours.stop(signal.SIGTERM) == 0
        wait_statuses(client, {"ours": LEFT, "client": ALIVE})
        ours.start()
        ours.wait_ready()
        wait_statuses(client, {"ours": ALIVE, "client": ALIVE})
        wait_statuses(ours, {"ours": ALIVE, "client": ALIVE})
        client.wait_output("agent.client: New leader elected: payload=ours")
        assert ours.stop(signal.SIGINT) == 1
        wait_statuses(client, {"ours": FAILED, "client": ALIVE})
