"""Who is woken by what: blocking queries on sessions and locked keys, on the real agent and on ours at the same time.

Before each change every query is asked with the index it had; then it is noted which of them were answered at once,
and with what."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Any

import pytest

from tests.agents import Agent, RealConsul

pytestmark = pytest.mark.real_consul

WAIT_S = 2.0
"""Who is answered sooner than this after it has asked was woken: nobody else is answered before its time is over."""
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
        self.indexes: dict[str, int] = {}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, int, Any]:
        """(status, index, parsed body)."""
        for name, session in self._names.items():
            path = path.replace(f"${name}", session)
        connection = http.client.HTTPConnection(self._agent.address, self._agent.http_port, timeout=60)
        try:
            connection.request(method, f"/v1/{path}", json.dumps(body) if isinstance(body, dict) else body)
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

    def round(self, change: tuple[str, str, Any]) -> dict[str, tuple[bool, int, int, bool]]:
        """query -> (woken, status, number of entries, whether the index has moved)."""
        self.indexes = {query: self.ask("GET", query)[1] for query in QUERIES}
        found: dict[str, tuple[bool, int, int, bool]] = {}

        def wait(query: str) -> None:
            index, asked_s = self.indexes[query], time.monotonic()
            separator = "&" if "?" in query else "?"
            status, new, parsed = self.ask("GET", f"{query}{separator}index={index}&wait={WAIT_S:.0f}s")
            found[query] = (time.monotonic() - asked_s < WAIT_S, status, len(parsed or ()), new != index)

        waiters = [threading.Thread(target=wait, args=(query,)) for query in QUERIES]
        for waiter in waiters:
            waiter.start()
        self._until_all_wait()
        self.ask(*change)
        for waiter in waiters:
            waiter.join(60)
        return found

    def _until_all_wait(self) -> None:
        """Until their connections are there, and a moment: a query that comes after the change is answered, too."""
        deadline = time.monotonic() + 1
        while self._agent.connections(self._agent.http_port) < len(QUERIES) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)


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
    the real one; who was not woken hears the index of the beginning from the real one, and of the end from ours."""
    woken, status, count, moved = answer
    if not count:
        return None, status, count, False
    return woken, status, count, moved and woken


def test_the_same_queries_are_woken(sides: tuple[Waiters, Waiters]) -> None:
    differences = []
    for change in CHANGES:
        found: dict[int, dict[str, tuple[bool, int, int, bool]]] = {}

        def run(number: int, change: tuple[str, str, Any] = change, found: Any = found) -> None:
            found[number] = sides[number].round(change)

        threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for query in QUERIES:
            expected, own = _comparable(found[0][query]), _comparable(found[1][query])
            if own != expected:
                differences.append(f"{change[:2]} {query}: {expected} != {own}")
    assert not differences, "Consul first:\n" + "\n".join(differences)
