"""Who is woken by what: blocking queries on sessions and locked keys, on the real agent and on ours at the same time.

Before each change every query is asked with the index it had; then it is noted which of them were answered, and with
what."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until

pytestmark = pytest.mark.real_consul

WAIT_S = 120
"""Longer than a round takes: who is answered was woken."""
QUIET_S = 1.0
"""So long after a change, and until the two say the same, it is seen who is woken."""
QUERIES = (
    "session/list",
    "session/node/node1",
    "session/node/holder",
    "session/node/none",
    "session/info/$a",
    "session/info/$b",
    "kv/wake/x",
    "kv/wake/none",
    "kv/wake/?recurse",
    "kv/wake/?keys",
    "kv/other/?recurse",
    "health/node/holder",
)
HOLDER = {"Node": "holder", "Address": "10.0.0.1", "Check": {"CheckID": "c", "Name": "c", "Status": "passing"}}
CRITICAL = {**HOLDER, "Check": {"CheckID": "c", "Name": "c", "Status": "critical"}}
CHANGES: tuple[tuple[str, str, Any], ...] = (
    ("PUT", "kv/wake/x", "unlocked"),
    ("PUT", "session/create", {"Name": "another"}),
    ("PUT", "kv/wake/x?acquire=$a", "locked"),
    ("PUT", "session/renew/$a", None),
    ("PUT", "kv/other/y", "elsewhere"),
    ("PUT", "session/destroy/$a", None),
    ("PUT", "kv/wake/x?acquire=$b", "locked"),
    ("PUT", "catalog/register", CRITICAL),
    ("PUT", "catalog/deregister", {"Node": "holder"}),
)


class Waiters:
    """All queries of one agent."""

    def __init__(self, agent: RealConsul | Agent) -> None:
        self._agent = agent
        self._names: dict[str, str] = {}
        self._woken: dict[str, tuple[bool, int, int, bool]] = {}
        self._sent: list[http.client.HTTPConnection] = []
        self._waiters: list[threading.Thread] = []

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        on_sent: Callable[[http.client.HTTPConnection], None] = lambda connection: None,
    ) -> tuple[int, int, Any]:
        """(status, index, parsed body)."""
        for name, session in self._names.items():
            path = path.replace(f"${name}", session)
        connection = http.client.HTTPConnection(self._agent.address, self._agent.http_port, timeout=WAIT_S)
        try:
            connection.request(method, f"/v1/{path}", json.dumps(body) if isinstance(body, dict) else body)
            on_sent(connection)
            answer = connection.getresponse()
            data = answer.read()
            parsed = json.loads(data) if answer.status == 200 and data else None
            return answer.status, int(answer.headers.get("X-Consul-Index") or 0), parsed
        finally:
            connection.close()

    def create(self, name: str, **fields: Any) -> None:
        status, _, made = self.ask("PUT", "session/create", {"LockDelay": "0s", **fields})
        assert status == 200
        self._names[name] = made["ID"]

    def begin(self, change: tuple[str, str, Any]) -> None:
        """Every query waits; then the change is made."""
        indexes = {query: self.ask("GET", query)[1] for query in QUERIES}
        self._woken, self._sent = woken, sent = {}, []

        def wait(query: str) -> None:
            path = f"{query}{'&' if '?' in query else '?'}index={indexes[query]}&wait={WAIT_S}s"
            with contextlib.suppress(OSError, http.client.HTTPException):  # the round was over before
                status, new, parsed = self.ask("GET", path, on_sent=sent.append)
                woken[query] = (True, status, len(parsed or ()), new != indexes[query])

        self._waiters = [threading.Thread(target=wait, args=(query,), daemon=True) for query in QUERIES]
        for waiter in self._waiters:
            waiter.start()
        wait_until(lambda: len(self._sent) == len(QUERIES), what="all queries on their way")
        time.sleep(0.1)  # one that comes after the change is answered, too
        self.ask(*change)

    def seen(self) -> dict[str, tuple[bool, int, int, bool]]:
        """query -> (woken, status, number of entries, whether the index has moved). Who still waits is asked anew."""
        found = dict(self._woken)
        for query in QUERIES:
            if query not in found:
                status, _, parsed = self.ask("GET", query)
                found[query] = (False, status, len(parsed or ()), False)
        return found

    def end(self) -> None:
        """Nobody waits any more."""
        for connection in self._sent:
            with contextlib.suppress(OSError, AttributeError):  # it has been answered
                connection.sock.shutdown(socket.SHUT_RDWR)
        for waiter in self._waiters:
            waiter.join(PATIENCE_S)


@pytest.fixture(scope="module")
def sides(real_and_ours: tuple[RealConsul, Agent]) -> tuple[Waiters, Waiters]:
    made = Waiters(real_and_ours[0]), Waiters(real_and_ours[1])
    for side in made:
        side.ask("PUT", "catalog/register", HOLDER)
        side.create("a")
        side.create("b", Node="holder", NodeChecks=["c"], Behavior="delete")
    return made


def _comparable(answer: tuple[bool, int, int, bool]) -> tuple[bool | None, int, int, bool]:
    """Without what differs: who waits for a thing that is not there is woken in vain by its neighbours in the tree of
    the real one."""
    woken, status, count, moved = answer
    return (woken, status, count, moved) if count else (None, status, count, False)


def _differences(sides: tuple[Waiters, Waiters]) -> list[str]:
    real, ours = (side.seen() for side in sides)
    pairs = ((query, _comparable(real[query]), _comparable(ours[query])) for query in QUERIES)
    return [f"{query}: {expected} != {own}" for query, expected, own in pairs if own != expected]


def test_the_same_queries_are_woken(sides: tuple[Waiters, Waiters]) -> None:
    differences = []
    for change in CHANGES:
        for side in sides:
            side.begin(change)
        time.sleep(QUIET_S)  # whoever is woken without reason shows within it
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not _differences(sides), what="the same to be woken")
        differences += [f"{change[:2]} {line}" for line in _differences(sides)]
        for side in sides:
            side.end()
    assert not differences, "Consul first:\n" + "\n".join(differences)
