"""Watches of our agent's configuration: refused at the start, replaced by a reload, alive over restarts of parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.loopback import LoopbackPool


def made(loopback: LoopbackPool, directory: Path, *watches: dict[str, Any]) -> Agent:
    return Agent(loopback(), directory / "agent", config={"watches": list(watches), "disable_coordinates": True})


def reconfigure(agent: Agent, *watches: dict[str, Any]) -> Any:
    (agent.directory / "config.json").write_text(json.dumps({"watches": list(watches), "disable_coordinates": True}))
    return agent.http("PUT", "/v1/agent/reload")


def follow(key: str, path: Path) -> dict[str, Any]:
    return {"type": "key", "key": key, "args": ["sh", "-c", f"cat >> {path}"]}


def only_nothing(path: Path) -> bool:
    """Whether a handler was told, and only that its key is not there: again after each question that went wrong."""
    return path.exists() and set(path.read_text().splitlines()) == {"null"}


@pytest.mark.parametrize(
    ("watch", "text"),
    [
        ({"type": "key"}, "Failed to parse watch (map[string]interface {}{}): Must specify a single key to watch"),
        ({"type": "nodes"}, "Must define a watch handler"),
        ({"type": "connect_roots", "args": ["true"]}, "Watch type connect_roots is not allowed in agent config"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_watch_that_cannot_be_ends_the_start(
    loopback: LoopbackPool, tmp_path: Path, watch: dict[str, Any], text: str
) -> None:
    agent = made(loopback, tmp_path, watch)
    try:
        agent.start()
        assert agent.wait_exit() == 1
        assert f'agent: Error starting agent: error="{text}"' in agent.output()
    finally:
        agent.destroy()


def test_a_reload_replaces_the_watches(loopback: LoopbackPool, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    agent = made(loopback, tmp_path, follow("a", first))
    with agent.running():
        wait_until(lambda: only_nothing(first), 2 * PATIENCE_S, "the first watch")
        assert reconfigure(agent, follow("b", second)).status == 200
        wait_until(lambda: only_nothing(second), 2 * PATIENCE_S, "the second watch")
        for key in ("a", "b"):
            agent.http("PUT", f"/v1/kv/{key}", b"x")
        wait_until(lambda: '"Value":"eA=="' in second.read_text(), what="the change")
        assert only_nothing(first)
        refused = reconfigure(agent, {"type": "nope", "args": ["true"]})
        assert refused.status == 500
        assert b"Failed reloading watches: Failed to parse watch" in refused.body
        agent.http("PUT", "/v1/kv/b", b"y")
        wait_until(lambda: "eQ==" in second.read_text(), what="a change after a refused reload")


@pytest.mark.parametrize("component", ["rpc_core", "http_gateway", "raft_node"])
def test_watches_go_on_when_a_part_was_killed(loopback: LoopbackPool, tmp_path: Path, component: str) -> None:
    out = tmp_path / "out"
    agent = made(loopback, tmp_path, follow("a", out))
    with agent.running():
        wait_until(lambda: only_nothing(out), 2 * PATIENCE_S, "the watch")
        agent.wait_restarted(component, agent.kill(component))
        wait_until(lambda: agent.http("PUT", "/v1/kv/a", b"new").status == 200, 60, "a write")
        wait_until(lambda: "bmV3" in out.read_text(), 60, "the change in the handler")


def test_a_handler_that_ignores_its_input_and_one_that_cannot_be_found(loopback: LoopbackPool, tmp_path: Path) -> None:
    big = {"type": "key", "key": "big", "args": ["sh", "-c", f"exec 0<&-; echo done > {tmp_path}/done"]}
    missing = {"type": "key", "key": "big", "args": ["no-such-program", "x"]}
    loud = {"type": "key", "key": "big", "args": ["sh", "-c", "yes | head -c 100000; echo end"]}
    agent = made(loopback, tmp_path, big, missing, loud)
    with agent.running():
        agent.http("PUT", "/v1/kv/big", b"x" * 500_000)
        wait_until((tmp_path / "done").exists, what="the handler")
        agent.wait_output('exec: "no-such-program": executable file not found in $PATH')
        agent.wait_output("Captured 4096 of 100004 bytes")
        agent.http("PUT", "/v1/kv/big", b"y")
        wait_until(lambda: agent.output().count("no-such-program") >= 4, what="the next calls")


def test_events_are_listed_on_when_a_part_was_killed(loopback: LoopbackPool, tmp_path: Path) -> None:
    agent = made(loopback, tmp_path)
    with agent.running():
        fired = [agent.http("PUT", f"/v1/event/fire/e{number}").json()["ID"] for number in range(3)]

        def listed() -> bool:
            answer = agent.http("GET", "/v1/event/list")
            return answer.status == 200 and [event["ID"] for event in answer.json()] == fired

        for component in ("rpc_core", "gossip", "http_gateway"):
            wait_until(listed, 60, "the events")
            agent.wait_restarted(component, agent.kill(component))
        wait_until(listed, 60, "the events after all")
