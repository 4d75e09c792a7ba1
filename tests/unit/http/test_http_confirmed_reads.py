"""A read at a server that asks the leader how far it has to be, and comes to lead or follow while it waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from http_fakes import FakeLink

from services.http_gateway.gateway import Gateway, Links
from services.http_gateway.message import Request
from services.http_gateway.routes import all_routes
from services.raft_node.core.types import COMMAND, Entry
from services.raft_node.store_machine import StoreMachine
from shared.config.runtime import RuntimeConfig
from shared.ipc import Link, RemoteError
from shared.ipc.calls import OnDone
from shared.state.leadership import FOLLOWER, LEADER, Leadership, LeadershipPage
from shared.state.reader import StateReader
from shared.state.store import StateStore
from shared.structs.commands import KVS
from shared.structs.kv import DirEntry, KVSRequest
from shared.structs.wire import pack

HERE, THERE = "127.0.0.1:8300", "127.0.0.2:8300"
FAR_NS = 1 << 62
PATHS = ["/v1/kv/motd", "/v1/kv/motd?consistent", "/v1/kv/?keys", "/v1/kv/?keys&consistent", "/v1/kv/motd?raw"]
"""Those of one key are answered from the row, others the full way."""


class Server:
    """One server's gateway over a real state and a real leadership page. answers: what clients got."""

    def __init__(self, directory: Path) -> None:
        store = StateStore.open(str(directory))
        self.machine = StoreMachine(store)
        self.page = LeadershipPage.create(str(directory / "leader.page"))
        self.raft, self.rpc = FakeLink(), FakeLink()
        self.answers: list[bytes] = []
        links = Links(*(cast(Link, link) for link in (self.raft, self.rpc, FakeLink(), FakeLink(), FakeLink())))
        self.gateway = Gateway(
            RuntimeConfig(node_name="n", node_id="i", server=True),
            links,
            all_routes(),
            clock=lambda: 0.0,
            rng=Random(1),
            reader=cast(StateReader, store),  # LMDB opens an environment once per process
            page=self.page,
        )

    def apply(self, index: int, value: bytes) -> None:
        request = KVSRequest(datacenter="dc1", op="set", dir_ent=DirEntry(key="motd", value=value))
        self.machine.apply_batch([Entry(index, 2, COMMAND, KVS + pack(request.to_wire()))])

    def shows(self, role: str, leader: str, applied: int, *, ready: bool = True) -> None:
        """What the page says; a leader has its lease."""
        lease = FAR_NS if role == LEADER else 0
        self.page.write(Leadership(role, 2, "id", leader, lease, 0, applied, applied, ready))

    def finish(self, _request: Request, data: bytes) -> None:
        self.answers.append(data)

    stream = finish

    def get(self, path: str) -> Callable[[Any, Exception | None], None]:
        """A read, and the question that was asked for it."""
        self.gateway.begin_batch()
        self.gateway.dispatch(Request(self, "GET", path, {}, remote="127.0.0.1:5", plain=True))
        self.gateway.end_batch()
        [(method, payload, on_done)] = self.rpc.calls
        assert method == "Proconsul.ReadIndex"
        assert payload == {"Datacenter": "dc1", "RequireConsistent": path.endswith("consistent")}
        self.rpc.calls.clear()
        return cast(Callable[[Any, Exception | None], None], on_done)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """A follower that has applied as far as 8."""
    made = Server(tmp_path)
    made.apply(8, b"old")
    made.shows(FOLLOWER, THERE, 8)
    return made


@pytest.mark.parametrize("path", PATHS)
def test_a_follower_that_is_as_far_as_the_leader_said_answers(server: Server, path: str) -> None:
    server.get(path)(8, None)
    [answer] = server.answers
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not server.rpc.calls


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("role", "leader"), [(FOLLOWER, THERE), (LEADER, HERE)])
def test_one_that_is_not_as_far_passes_the_read_on_whoever_leads_now(
    server: Server, path: str, role: str, leader: str
) -> None:
    """A server that leads since it asked has the entries of the old leader, but may still have to apply them: its own
    state is not what the old leader has shown to others already."""
    answered = server.get(path)
    server.shows(role, leader, 8, ready=False)
    answered(9, None)
    assert not server.answers
    assert len(server.rpc.calls) + len(server.raft.calls) == 1


@pytest.mark.parametrize("path", PATHS)
def test_one_that_leads_meanwhile_and_is_as_far_answers_as_a_leader(server: Server, path: str) -> None:
    answered = server.get(path)
    server.apply(9, b"new")
    server.apply(10, b"newer")
    server.shows(LEADER, HERE, 10)
    answered(9, None)
    [answer] = server.answers
    assert b"X-Consul-Index: 10\r\n" in answer
    assert b"X-Consul-Lastcontact: 0\r\n" in answer
    assert not server.rpc.calls


def test_what_nobody_could_confirm_is_passed_on(server: Server) -> None:
    """The server that was asked led no more."""
    server.get("/v1/kv/?keys")(None, RemoteError("not_leader", "not the leader", {"leader": None}))
    assert not server.answers
    assert [method for method, _, _ in server.rpc.calls] == ["KVS.ListKeys"]


def test_those_who_ask_for_one_key_together_are_answered_together(server: Server) -> None:
    def ask(*paths: str) -> list[OnDone]:
        server.gateway.begin_batch()
        for path in paths:
            request = Request(server, "GET", path, {}, remote="127.0.0.1:5", plain=True)
            request.head = path.encode()
            server.gateway.dispatch(request)
        server.gateway.end_batch()
        asked = [on_done for _, _, on_done in server.rpc.calls]
        server.rpc.calls.clear()
        return asked

    [answer] = ask("/v1/kv/motd")
    answer(8, None)
    [answer_first] = ask("/v1/kv/motd", "/v1/kv/motd", "/v1/kv/other", "/v1/kv/motd")
    [answer_second] = ask("/v1/kv/motd")
    assert not ask("/v1/kv/motd"), "whoever comes while two questions are under way waits for the third"
    server.apply(9, b"new")
    server.shows(FOLLOWER, THERE, 9)
    answer_first(8, None)

    assert [answer[9:12] for answer in server.answers[1:]] == [b"200", b"200", b"200", b"404"]
    assert len(set(server.answers[1:4])) == 1
    assert len(server.rpc.calls) == 1, "the third question"
    answer_second(9, None)
    assert len(server.answers) == 6
