"""Random sequences of operations on keys, sessions, nodes, checks and transactions, applied to the real agent and to
ours: every answer, and after every step all that can be read, must be the same.

Ids of sessions are replaced by the order in which they were made. Raft indexes differ, for each agent writes some of
its own; their order does not: all indexes that are to be seen after a step, those of the X-Consul-Index headers
among them, are compared by rank. With --long there are more and longer sequences."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents import Agent, RealConsul
from tests.integration.differential.exchange import MASKS
from tests.integration.differential.sequences import Operation, assert_same_course, examples

pytestmark = pytest.mark.real_consul

KEYS = ("a", "b", "dir/c", "dir/d", "dir")
NODES = ("m0", "m1")
CHECKS = ("c0", "c1")
STATUSES = ("passing", "warning", "critical")
UNKNOWN = "11111111-2222-3333-4444-555555555555"
INDEXES = ("current", "zero", "old", "wild")

keys = st.sampled_from(KEYS)
sessions = st.sampled_from([0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5])
"""The nth session that was made, modulo how many there are; 5 is one that never was."""
values = st.sampled_from(["", "v", "another value"])
indexes = st.sampled_from(INDEXES)
nodes = st.sampled_from(NODES)
checks = st.sampled_from(CHECKS)

kv_verbs = st.one_of(
    st.tuples(st.sampled_from(["set"]), keys, values),
    st.tuples(st.sampled_from(["get", "delete", "check-not-exists"]), keys),
    st.tuples(st.sampled_from(["get-tree", "delete-tree"]), st.sampled_from(["", "dir", "dir/", "none"])),
    st.tuples(st.sampled_from(["cas", "delete-cas", "check-index"]), keys, indexes),
    st.tuples(st.sampled_from(["lock", "unlock", "check-session"]), keys, sessions),
)
catalog_verbs = st.one_of(
    st.tuples(st.just("node"), st.sampled_from(["get", "set", "cas", "delete", "delete-cas"]), nodes, indexes),
    st.tuples(
        st.just("check"),
        st.sampled_from(["get", "set", "cas", "delete", "delete-cas"]),
        nodes,
        checks,
        st.sampled_from(STATUSES),
        indexes,
    ),
)
operations = st.one_of(
    st.tuples(st.just("put"), keys, values, st.sampled_from([0, 7])),
    st.tuples(st.just("cas"), keys, values, indexes),
    st.tuples(st.just("acquire"), keys, values, sessions),
    st.tuples(st.just("acquire"), keys, values, sessions),
    st.tuples(st.just("release"), keys, values, sessions),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("delete cas"), keys, indexes),
    st.tuples(st.just("delete tree"), st.sampled_from(["", "dir", "dir/", "d"])),
    st.tuples(
        st.just("create session"),
        st.sampled_from(["node1", "node1", *NODES]),
        st.sampled_from(["release", "delete"]),
        st.sampled_from(["0s", "60s"]),
        st.sampled_from(["", "1h"]),
        st.lists(checks, max_size=2, unique=True),
    ),
    st.tuples(st.just("destroy session"), sessions),
    st.tuples(st.just("renew session"), sessions),
    st.tuples(st.just("register"), nodes, st.lists(st.tuples(checks, st.sampled_from(STATUSES)), max_size=2)),
    st.tuples(st.just("deregister check"), nodes, checks),
    st.tuples(st.just("deregister node"), nodes),
    st.tuples(st.just("transaction"), st.lists(st.one_of(kv_verbs, kv_verbs, catalog_verbs), min_size=1, max_size=4)),
)


PROLOGUE: list[Operation] = [
    ("register", "m0", [("c0", "passing"), ("c1", "warning")]),
    ("create session", "node1", "release", "0s", "", []),
    ("create session", "m0", "delete", "0s", "", ["c0"]),
    ("create session", "m0", "release", "60s", "1h", ["c0", "c1"]),
    ("acquire", "a", "v", 0),
    ("acquire", "dir/c", "v", 1),
]
"""So that there is something to lose from the first step on."""


class Side:
    """One agent with its own ids and indexes for the things that both know by the same names."""

    def __init__(self, agent: RealConsul | Agent) -> None:
        self._connection = http.client.HTTPConnection(agent.address, agent.http_port, timeout=30)
        self.begin("")

    def begin(self, prefix: str) -> None:
        self.prefix = prefix
        self.sessions: list[str] = []
        self._indexes: dict[str, int] = {}

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, int, Any, str]:
        """(status, X-Consul-Index or 0, the parsed body or None, its text with names for ids)."""
        self._connection.request(method, f"/v1/{path}", json.dumps(body) if isinstance(body, dict | list) else body)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        index = int(answer.headers.get("X-Consul-Index") or 0)
        with contextlib.suppress(ValueError):
            return answer.status, index, json.loads(text), self._named(text)
        return answer.status, index, None, self._named(text)

    def _named(self, text: str) -> str:
        for number, session in enumerate(self.sessions):
            text = text.replace(session, f"session {number}")
        return text

    def session(self, number: int) -> str:
        return self.sessions[number % len(self.sessions)] if self.sessions and number < 5 else UNKNOWN

    def index(self, name: str, which: str) -> int:
        """A ModifyIndex: the one seen last, none, one of long ago, or one that never was."""
        if which == "current":
            return self._indexes.get(name, 0)
        return {"zero": 0, "old": 1, "wild": 1 << 40}[which]

    def level(self) -> None:
        """After the boot either of two tables may have changed last: the leader enters the node with its check, the
        agent its addresses, and whoever is first depends on the machine. From here on all were changed together."""
        node = {"Node": "level", "Address": "10.0.0.9"}
        entry = {**node, "Service": {"Service": "level"}, "Check": {"CheckID": "level", "Name": "level"}}
        for path, body in (("catalog/register", entry), ("catalog/deregister", {"Node": "level"})):
            status, _, _, text = self.ask("PUT", path, body)
            assert status == 200, text

    # -- doing ---------------------------------------------------------------------------------------

    def perform(self, operation: Operation) -> tuple[int, str]:
        """Status and text of the answer."""
        method, path, body = self._request(*operation)
        status, _, parsed, text = self.ask(method, path, body)
        if path == "session/create" and status == 200:
            self.sessions.append(parsed["ID"])
            text = "created"
        for pattern, replacement in MASKS:
            text = pattern.sub(replacement, text)
        return status, text

    def _request(self, what: str, *details: Any) -> tuple[str, str, Any]:
        prefix = self.prefix
        match what, *details:
            case "put", key, value, flags:
                return "PUT", f"kv/{prefix}{key}?flags={flags}", value
            case "cas", key, value, which:
                return "PUT", f"kv/{prefix}{key}?cas={self.index(key, which)}", value
            case ("acquire" | "release") as verb, key, value, number:
                return "PUT", f"kv/{prefix}{key}?{verb}={self.session(number)}", value
            case "delete", key:
                return "DELETE", f"kv/{prefix}{key}", None
            case "delete cas", key, which:
                return "DELETE", f"kv/{prefix}{key}?cas={self.index(key, which)}", None
            case "delete tree", key:
                return "DELETE", f"kv/{prefix}{key}?recurse", None
            case "create session", node, behavior, delay, ttl, linked:
                fields = {"Behavior": behavior, "LockDelay": delay, "TTL": ttl}
                if node != "node1":
                    fields |= {"Node": self._node(node), "NodeChecks": linked, "Checks": linked}
                return "PUT", "session/create", fields
            case ("destroy session" | "renew session") as verb, number:
                return "PUT", f"session/{verb.split()[0]}/{self.session(number)}", None
            case "register", node, given_checks:
                stated = [{"CheckID": name, "Name": name, "Status": status} for name, status in given_checks]
                return "PUT", "catalog/register", {"Node": self._node(node), "Address": "10.0.0.1", "Checks": stated}
            case "deregister check", node, check:
                return "PUT", "catalog/deregister", {"Node": self._node(node), "CheckID": check}
            case "deregister node", node:
                return "PUT", "catalog/deregister", {"Node": self._node(node)}
            case "transaction", steps:
                return "PUT", "txn", [self._step(*step) for step in steps]
        raise AssertionError(what)

    def _node(self, name: str) -> str:
        return self.prefix.replace("/", "-") + name

    def _step(self, verb: str, *details: Any) -> dict[str, Any]:
        match verb, *details:
            case "node", action, node, which:
                fields = {"Node": self._node(node), "Address": "10.0.0.2", "ModifyIndex": self.index(node, which)}
                return {"Node": {"Verb": action, "Node": fields}}
            case "check", action, node, check, status, which:
                index = self.index(f"{node} {check}", which)
                fields = {"Node": self._node(node), "CheckID": check, "Status": status, "ModifyIndex": index}
                return {"Check": {"Verb": action, "Check": fields}}
            case _, key:
                fields = {}
            case "set", key, value:
                fields = {"Value": b64encode(value.encode()).decode()}
            case (("lock" | "unlock" | "check-session"), key, number):
                fields = {"Session": self.session(number), "Value": "bG9ja2Vk"}
            case _, key, which:
                fields = {"Index": self.index(key, which), "Value": "Y2Fz"}
        return {"KV": {"Verb": verb, "Key": self.prefix + key, **fields}}

    # -- looking -------------------------------------------------------------------------------------

    def paths(self) -> list[str]:
        """What is looked at after every step."""
        return [
            f"kv/{self.prefix}?recurse",
            f"kv/{self.prefix}dir?recurse",
            f"kv/{self.prefix}?keys",
            f"kv/{self.prefix}a",
            f"kv/{self.prefix}dir/c",
            "session/list",
            "session/node/node1",
            f"session/node/{self._node('m0')}",
            f"health/node/{self._node('m0')}",
            f"health/node/{self._node('m1')}",
            f"catalog/node/{self._node('m0')}",
        ]

    def look(self) -> list[tuple[int, str]]:
        """Everything there is to be seen, indexes by their rank."""
        seen: list[int] = []
        shown: list[tuple[int, str]] = []
        for path in self.paths():
            status, index, parsed, _ = self.ask("GET", path)
            if parsed is not None and path.startswith("session/"):
                parsed.sort(key=lambda entry: entry["CreateIndex"])
            seen.append(index)
            text = self._named(json.dumps(parsed))
            seen += map(int, re.findall(r'"(?:Create|Modify)Index": (\d+)', text))
            shown.append((status, f"{path} index {index}: {text}"))
            self._note(path, parsed)
        ranks = {index: rank for rank, index in enumerate(sorted(set(seen)))}

        def ranked(match: re.Match[str]) -> str:
            return f"{match[1]}#{ranks[int(match[2])]}"

        return [(status, re.sub(r'("(?:Create|Modify)Index": | index )(\d+)', ranked, text)) for status, text in shown]

    def _note(self, path: str, parsed: Any) -> None:
        """Keep the indexes that conditional operations ask for. What is gone keeps its last one."""
        if path.startswith("kv/") and path.endswith("?recurse"):
            for entry in parsed or ():
                self._indexes[entry["Key"].removeprefix(self.prefix)] = entry["ModifyIndex"]
        elif path.startswith("health/"):
            for entry in parsed or ():
                self._indexes[f"{entry['Node'].rpartition('-')[2]} {entry['CheckID']}"] = entry["ModifyIndex"]
        elif path.startswith("catalog/") and parsed:
            self._indexes["m0"] = parsed["Node"]["ModifyIndex"]

    def clear(self) -> None:
        """Leave nothing to the next sequence."""
        for session in self.sessions:
            self.ask("PUT", f"session/destroy/{session}")
        for node in NODES:
            self.ask("PUT", "catalog/deregister", {"Node": self._node(node)})
        self.ask("DELETE", f"kv/{self.prefix}?recurse")


@pytest.fixture(scope="module")
def sides(real_and_ours: tuple[RealConsul, Agent]) -> tuple[Side, Side]:
    real, ours = map(Side, real_and_ours)
    for side in (real, ours):
        side.level()
    return real, ours


@examples(40)
@given(sequence=st.lists(operations, min_size=5, max_size=25))
def test_random_sequences(sides: tuple[Side, Side], sequence: list[Operation]) -> None:
    assert_same_course(sides, [*PROLOGUE, *sequence])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@examples(300)
@given(sequence=st.lists(operations, min_size=20, max_size=60))
def test_long_random_sequences(sides: tuple[Side, Side], sequence: list[Operation]) -> None:
    assert_same_course(sides, [*PROLOGUE, *sequence])
