"""Blocking queries behind many writes that nobody waits for: the records of changes rest then, and begin again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent
from tests.clusters import AnyAgent
from tests.integration.client_mode.setups import Setup, setup
from tests.loopback import LoopbackPool

WRITES = 40
"""More than what the records rest after."""
ROUNDS = 5
WAIT = f"{int(2 * PATIENCE_S)}s"


@pytest.fixture(scope="module")
def made(loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    with setup([Agent], Agent, loopback, tmp_path_factory.mktemp("waiting")) as one:
        yield one


def put(agent: AnyAgent, key: str, value: bytes) -> None:
    answer = agent.http("PUT", f"/v1/kv/{key}", value)
    assert answer.status == 200, answer.body


def wait_for_change(agent: AnyAgent, key: str, index: int, found: list[Any]) -> None:
    answer = agent.http("GET", f"/v1/kv/{key}?index={index}&wait={WAIT}")
    found.append((answer.status, json.loads(answer.body)[0]["Value"]))


@pytest.mark.parametrize("where", ["server", "client"])
def test_whoever_waits_after_many_writes_is_woken(made: Setup, where: str) -> None:
    """Asked of the server its gateway waits, asked of the client the server's rpc_core."""
    server = next(iter(made.cluster))
    asked = server if where == "server" else made.client
    for number in range(ROUNDS):
        for write in range(WRITES):
            put(server, "unwatched", b"%d" % write)  # what does not change anything is in no record
        put(server, "watched", b"old")
        index = int(server.http("GET", "/v1/kv/watched").headers["x-consul-index"])
        found: list[Any] = []
        waiting = threading.Thread(target=wait_for_change, args=(asked, "watched", index, found), daemon=True)
        waiting.start()
        if number % 2:  # some changes come while the records begin again, some later
            waiting.join(0.05)
        put(server, "watched", b"new")
        waiting.join(PATIENCE_S)
        assert found == [(200, "bmV3")], "not woken by the change"
