"""A session outlives its leader, a real server: one of ours takes over, and ends it when it is not renewed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until

pytestmark = [pytest.mark.real_consul, pytest.mark.slow]

QUICK = {"performance": {"raft_multiplier": 1}, "autopilot": {"server_stabilization_time": "1s"}}
TTL_S = 10


class Joiner(Agent):
    """A server that waits for an invitation."""

    def _mode(self) -> list[str]:
        return ["-server", "-data-dir", str(self.data_dir)]


def ask(agent: Agent | RealConsul, method: str, path: str, body: bytes | dict[str, Any] | None = None) -> Any:
    """The decoded answer; OSError for one that is an error."""
    answer = agent.http(method, path, body)
    if answer.status != 200:
        raise OSError(f"{answer.status} {answer.body!r}")
    return json.loads(answer.body)


def voters(agent: Agent | RealConsul) -> set[str]:
    servers = ask(agent, "GET", "/v1/operator/raft/configuration?stale")["Servers"]
    return {server["Node"] for server in servers if server["Voter"]}


def leader_of(agents: list[Agent]) -> Agent | None:
    """The one that leads and is ready to answer."""
    for agent in agents:
        if ask(agent, "GET", "/v1/status/leader") == f"{agent.address}:8300":
            ask(agent, "GET", "/v1/kv/lock?consistent")
            return agent
    return None


def holder(agent: Agent) -> str | None:
    session: str | None = ask(agent, "GET", "/v1/kv/lock")[0].get("Session")
    return session


def test_a_session_survives_its_leader_and_ends_in_time(
    real_consul: Path, loopback: Callable[[], str], tmp_path: Path
) -> None:
    real = RealConsul(loopback(), tmp_path / "real", real_consul, dev=False, node_name="real", config=QUICK)
    config = {**QUICK, "retry_join": [real.address], "retry_interval": "1s"}
    ours = [Joiner(loopback(), tmp_path / name, dev=False, node_name=name, config=config) for name in ("a", "b")]
    try:
        real.start()
        real.wait_ready()
        for agent in ours:
            agent.start()
        wait_until(lambda: voters(real) == {"real", "a", "b"}, 3 * PATIENCE_S, "three voters")
        session = ask(real, "PUT", "/v1/session/create", {"TTL": f"{TTL_S}s", "LockDelay": "1s"})["ID"]
        assert ask(real, "PUT", f"/v1/kv/lock?acquire={session}", b"1") is True
        real.stop(9)
        first = wait_until(lambda: leader_of(ours), 2 * PATIENCE_S, "a leader of ours")
        assert holder(first) == session
        assert ask(first, "PUT", f"/v1/session/renew/{session}")[0]["ID"] == session
        wait_until(lambda: holder(first) is None, 2 * TTL_S + PATIENCE_S, "the end of the session")
        assert ask(first, "GET", "/v1/session/list") == []
    finally:
        for agent in (real, *ours):
            agent.destroy()
