"""How long sessions live: not less than their TTL, not much more than twice of it, whatever dies meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import PATIENCE_S, Agent, wait_settled, wait_until
from tests.loopback import LoopbackPool

TTL_S = 2.0
CONFIG = {"disable_coordinates": True, "session_ttl_min": "100ms"}


@pytest.fixture
def agent(loopback: LoopbackPool, tmp_path: Path) -> Iterator[Agent]:
    """One with a data directory."""
    made = Agent(loopback(), tmp_path, dev=False, config=CONFIG)
    with made.running():
        wait_settled(made)
        yield made


def _create(agent: Agent, **fields: object) -> str:
    """A session; not before there is a leader that accepts one."""

    def created() -> str:
        answer = agent.http("PUT", "/v1/session/create", {"TTL": f"{TTL_S}s", **fields})
        return str(answer.json()["ID"]) if answer.status == 200 else ""

    return wait_until(created, what="a session")


def _lives(agent: Agent, session: str) -> bool:
    """Looks until there is an answer: a component may be starting again."""

    def looked() -> list[object]:
        answer = agent.http("GET", f"/v1/session/info/{session}")
        return [answer.json()] if answer.status == 200 else []

    return bool(wait_until(looked, what="a look at the session")[0])


def _lock(agent: Agent, key: str, session: str) -> bool:
    return agent.http("PUT", f"/v1/kv/{key}?acquire={session}", b"held").body.strip() == b"true"


def _holder(agent: Agent, key: str) -> str | None:
    answer = agent.http("GET", f"/v1/kv/{key}")
    found: str | None = answer.json()[0].get("Session") if answer.status == 200 else None
    return found


def _wait_end(agent: Agent, session: str) -> float:
    """Until the session is gone; when that was, in seconds of the monotonic clock."""
    wait_until(lambda: not _lives(agent, session), what="the end of the session")
    return time.monotonic()


def test_a_session_that_nobody_renews_frees_its_locks(agent: Agent) -> None:
    started_s = time.monotonic()
    session, other = _create(agent, LockDelay="10s"), _create(agent, TTL="")
    assert _lock(agent, "a", session)
    index = int(agent.http("GET", "/v1/kv/a").headers["x-consul-index"])
    waited: list[object] = []
    waiter = threading.Thread(
        target=lambda: waited.append(agent.http("GET", f"/v1/kv/a?index={index}&wait=60s", timeout_s=90).json())
    )
    waiter.start()
    lived_s = _wait_end(agent, session) - started_s
    assert TTL_S < 2 * TTL_S - 0.5 < lived_s < 2 * TTL_S + PATIENCE_S / 2
    waiter.join(PATIENCE_S)
    entry = waited[0][0]  # type: ignore[index]
    assert "Session" not in entry
    assert entry["LockIndex"] == 1
    assert not _lock(agent, "a", other)  # the lock-delay
    assert _lives(agent, other)


def test_a_renewed_session_lives_on(agent: Agent) -> None:
    session = _create(agent, Behavior="delete")
    assert _lock(agent, "a", session)
    until_s = time.monotonic() + 3 * TTL_S
    while time.monotonic() < until_s:
        renewed = agent.http("PUT", f"/v1/session/renew/{session}")
        assert (renewed.status, renewed.json()[0]["ID"]) == (200, session)
        time.sleep(TTL_S / 4)  # often enough, as a client does
    assert _holder(agent, "a") == session
    _wait_end(agent, session)
    assert agent.http("GET", "/v1/kv/a").status == 404
    assert agent.http("PUT", f"/v1/session/renew/{session}").status == 404


@pytest.mark.parametrize("component", ["rpc_core", "raft_node"])
def test_timers_start_again_after_the_death_of_a_component(agent: Agent, component: str) -> None:
    session = _create(agent)
    assert _lock(agent, "a", session)
    time.sleep(TTL_S)  # half of the time that it has
    killed_s = time.monotonic()
    agent.wait_restarted(component, agent.kill(component))
    lived_s = _wait_end(agent, session) - killed_s
    # What had passed does not count any more: whoever takes over gives every session its full time.
    assert lived_s > 2 * TTL_S - 0.5
    assert _holder(agent, "a") is None


def test_sessions_locks_and_timers_survive_the_death_of_everything(agent: Agent) -> None:
    session, lasting = _create(agent, LockDelay="0s"), _create(agent, TTL="")
    assert _lock(agent, "a", session)
    assert _lock(agent, "b", lasting)
    agent.kill_everything()
    killed_s = time.monotonic()
    agent.start()
    agent.wait_ready()
    assert _holder(agent, "a") == session
    assert _wait_end(agent, session) - killed_s > TTL_S
    wait_until(lambda: _lock(agent, "a", lasting), what="the lock")
    assert _holder(agent, "b") == lasting


def test_a_lock_delay_survives_the_death_of_raft_node(agent: Agent) -> None:
    first, second = _create(agent, LockDelay="60s", TTL=""), _create(agent, TTL="")
    assert _lock(agent, "a", first)
    assert agent.http("PUT", f"/v1/session/destroy/{first}").status == 200
    assert not _lock(agent, "a", second)
    agent.wait_restarted("raft_node", agent.kill("raft_node"))
    wait_until(lambda: _lock(agent, "free", second), what="a leader")
    assert not _lock(agent, "a", second)


def test_many_that_run_out_at_once_end_together(agent: Agent) -> None:
    made = [_create(agent) for _ in range(200)]
    assert len(agent.http("GET", "/v1/session/list").json()) == len(made)

    def gauge() -> float | None:
        gauges = agent.http("GET", "/v1/agent/metrics").json()["Gauges"]
        return next((each["Value"] for each in gauges if each["Name"] == "consul.session_ttl.active"), None)

    wait_until(lambda: agent.http("GET", "/v1/session/list").json() == [], what="the end of all of them")
    wait_until(lambda: gauge() == 0, what="the gauge")
