"""An archive saved by either system restores in the other, with everything in it; servers pass requests on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled, wait_until
from tests.integration.snapshots.archives import fill, seen
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

Any = RealConsul | Agent
Make = Callable[[str], Any]


def save(agent: Any, query: str = "") -> bytes:
    answer = agent.http("GET", f"/v1/snapshot{query}", timeout_s=60)
    assert answer.status == 200, answer
    assert int(answer.headers["x-consul-index"]) > 0
    return answer.body


def restore(agent: Any, archive: bytes) -> None:
    answer = agent.http("PUT", "/v1/snapshot", archive, timeout_s=60)
    assert (answer.status, answer.body) == (200, b"")


@pytest.fixture
def make(loopback: LoopbackPool, tmp_path: Path, real_consul: Path) -> Make:
    """Agents of one identity, as a new machine in the place of an old one has it."""
    config = {"node_id": "99999999-8888-7777-6666-555555555555", "disable_coordinates": True}

    def made(name: str) -> Any:
        if name.startswith("real"):
            return RealConsul(loopback(), tmp_path / name, real_consul, config=config)
        return Agent(loopback(), tmp_path / name, config=config)

    return made


@pytest.mark.parametrize("names", [("real-1", "ours", "real-2"), ("ours-1", "real", "ours-2")])
def test_everything_goes_through_both_systems(make: Make, names: tuple[str, str, str]) -> None:
    first, second, third = (make(name) for name in names)
    with first.running():
        wait_settled(first)
        fill(first)
        expected, archive = seen(first), save(first)
    with second.running():
        wait_settled(second)
        second.http("PUT", "/v1/kv/gone", b"was here before")
        restore(second, archive)
        assert seen(second) == expected
        assert second.http("GET", "/v1/kv/gone").status == 404
        archive = save(second)
    with third.running():
        wait_settled(third)
        restore(third, archive)
        assert seen(third) == expected


def test_writes_go_on_behind_the_restored_index(make: Make) -> None:
    agent = make("ours")
    with agent.running():
        agent.http("PUT", "/v1/kv/a", b"1")
        archive = save(agent)
        waited_from = agent.http("GET", "/v1/kv/a").headers["x-consul-index"]
        restore(agent, archive)
        assert agent.http("GET", "/v1/kv/a").headers["x-consul-index"] == waited_from
        assert agent.http("PUT", "/v1/kv/a", b"2").json() is True
        assert int(agent.http("GET", "/v1/kv/a").headers["x-consul-index"]) > int(waited_from)


def test_session_timers_begin_anew(make: Make) -> None:
    """The leader's timers are of the state that was: a session out of the archive has to expire, too."""
    agent = make("ours")
    with agent.running():
        wait_settled(agent)
        session = agent.http("PUT", "/v1/session/create", {"TTL": "10s", "LockDelay": "0s"}).json()["ID"]
        archive = save(agent)
        agent.http("PUT", f"/v1/session/destroy/{session}")
        restore(agent, archive)
        assert agent.http("GET", f"/v1/session/info/{session}").json() != []
        wait_until(lambda: agent.http("GET", f"/v1/session/info/{session}").json() == [], 60, "the end of the session")


@pytest.mark.parametrize(("leader_name", "follower_name"), [("ours", "real"), ("real", "ours")])
def test_a_follower_passes_requests_on_to_the_leader(
    leader_name: str, follower_name: str, loopback: LoopbackPool, tmp_path: Path, real_consul: Path
) -> None:
    """Over the RPC port, in both directions; and a restored state reaches the follower."""

    def made(name: str, role: str, *arguments: str) -> Any:
        # The follower gets no vote in the time of the test: the leader cannot lose its office.
        config = {"performance": {"raft_multiplier": 1}, "autopilot": {"server_stabilization_time": "1h"}}
        settings = {"dev": False, "node_name": role, "config": config}
        if name == "real":
            return RealConsul(loopback(), tmp_path / role, real_consul, arguments, **settings)
        return Agent(loopback(), tmp_path / role, arguments, **settings)

    leader = made(leader_name, "leader")
    with leader.running():
        leader.http("PUT", "/v1/kv/a", b"saved")
        follower = made(follower_name, "follower", "-bootstrap-expect=0", "-retry-join", leader.address)
        with follower.running():

            def follows() -> bool:
                return follower.http("GET", "/v1/kv/a?stale&raw").body == b"saved"

            wait_until(follows, 60, "the follower's state")
            archive = save(follower)
            stale = save(follower, "?stale")
            assert len(stale) > 0
            leader.http("PUT", "/v1/kv/a", b"changed")
            restore(follower, archive)
            assert leader.http("GET", "/v1/kv/a?raw").body == b"saved"
            wait_until(follows, 60, "the restored state on the follower")
            refused = follower.http("PUT", "/v1/snapshot", b"this is no archive at all")
            assert refused.body == b"failed to decompress snapshot: gzip: invalid header"
