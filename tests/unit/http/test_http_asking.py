"""How a client agent reads: many questions in one call, answers that are given again only on the server's word."""

from __future__ import annotations

import random
from typing import Any, cast

import msgpack
import pytest
import trio
import trio.testing
from http_fakes import FakeLink

from services.http_gateway import asking
from services.http_gateway.gateway import Gateway, Links
from services.http_gateway.message import Request
from services.http_gateway.routes import all_routes
from services.http_gateway.service import ask_again
from shared import many_reads
from shared.config.runtime import RuntimeConfig
from shared.config.sections import Limits
from shared.ipc import RemoteError
from shared.state.leadership import NoLeadershipPage


class FakeRpc(FakeLink):
    """rpc_core: what was asked, and the means to answer it."""

    def reads(self) -> list[tuple[str, dict[str, Any], bytes]]:
        """What is in the oldest call, which has to be one of many."""
        method, payload, _ = self.calls[0]
        assert method == many_reads.DOOR
        found = msgpack.unpackb(payload, raw=True)[b"Reads"]
        return [(name.decode(), many_reads.unpacked(packed), tag) for name, packed, tag in found]

    def answer(self, *answers: list[Any], contact_ns: int = 0, known_leader: bool = True) -> None:
        on_done = self.calls.pop(0)[2]
        reply = {"LastContact": contact_ns, "KnownLeader": known_leader, "Answers": answers}
        on_done(many_reads.pack(reply), None)

    def fail(self, error: Exception) -> None:
        self.calls.pop(0)[2](None, error)


class Client:
    """The gateway of a client agent, and what it answered."""

    def __init__(self, **limits: Any) -> None:
        self.rpc = FakeRpc()
        link = cast(Any, self.rpc)
        config = RuntimeConfig(node_name="n", node_id="i", server=False, datacenter="dc1", limits=Limits(**limits))
        self.gateway = Gateway(
            config,
            Links(link, link, link, link, link),
            all_routes(),
            clock=lambda: 0.0,
            rng=random.Random(1),
            reader=None,
            page=cast(Any, NoLeadershipPage()),
        )
        self.answers: list[bytes] = []

    def finish(self, _request: Request, data: bytes) -> None:
        self.answers.append(data)

    def get(self, *targets: str) -> None:
        """All in one batch."""
        self.gateway.begin_batch()
        for target in targets:
            request = Request(
                cast(Any, self), "GET", target, {}, remote="127.0.0.1:1", gzip=False, keep_alive=True, plain=True
            )
            self.gateway.dispatch(request)
        self.gateway.end_batch()

    def statuses(self) -> list[int]:
        return [int(answer.split(b" ", 2)[1]) for answer in self.answers]

    def bodies(self) -> list[bytes]:
        return [answer.partition(b"\r\n\r\n")[2] for answer in self.answers]


def keys(index: int, *found: str) -> bytes:
    """The body of a KVS.ListKeys."""
    packed: bytes = many_reads.pack({"Index": index, "Keys": list(found), "LastContact": 0, "KnownLeader": True})
    return packed


def value(tag: bytes, body: bytes) -> list[Any]:
    return [many_reads.VALUE, tag, body]


SAME = [many_reads.SAME, b"", b""]
ALONE = [many_reads.ALONE, b"", b""]


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_batch_is_one_call_and_each_question_is_asked_once(client: Client) -> None:
    client.get("/v1/kv/?keys", "/v1/kv/a?keys", "/v1/kv/?keys")

    assert len(client.rpc.calls) == 1
    assert [(method, body["Prefix"], tag) for method, body, tag in client.rpc.reads()] == [
        ("KVS.ListKeys", "", b""),
        ("KVS.ListKeys", "a", b""),
    ]
    client.rpc.answer(value(b"1", keys(7, "b")), value(b"2", keys(8, "a")))
    assert sorted(client.bodies()) == [b'["a"]', b'["b"]', b'["b"]']
    assert client.statuses() == [200, 200, 200]


def test_an_answer_is_given_again_on_the_servers_word(client: Client) -> None:
    client.get("/v1/kv/?keys")
    client.rpc.answer(value(b"one", keys(7, "b")))
    client.get("/v1/kv/?keys")

    assert len(client.answers) == 1, "nothing is answered without asking"
    assert client.rpc.reads()[0][2] == b"one"
    client.rpc.answer(SAME)
    assert client.answers[0] == client.answers[1]


def test_a_new_answer_takes_the_place_of_the_old_one(client: Client) -> None:
    client.get("/v1/kv/?keys")
    client.rpc.answer(value(b"one", keys(7, "b")))
    client.get("/v1/kv/?keys", "/v1/kv/?keys")
    client.rpc.answer(value(b"two", keys(9, "c")))

    assert client.bodies() == [b'["b"]', b'["c"]', b'["c"]']
    assert b"X-Consul-Index: 9\r\n" in client.answers[2]
    client.get("/v1/kv/?keys")
    assert client.rpc.reads()[0][2] == b"two"


def test_who_comes_while_calls_are_under_way_waits_for_the_next(client: Client) -> None:
    for _ in range(asking.AT_ONCE):
        client.get("/v1/kv/?keys")
    client.get("/v1/kv/?keys")
    client.get("/v1/kv/?keys")

    assert len(client.rpc.calls) == asking.AT_ONCE
    client.rpc.answer(value(b"one", keys(7, "b")))
    assert client.bodies() == [b'["b"]'], "the others came after this one had been asked"
    assert len(client.rpc.calls) == asking.AT_ONCE, "one for both that waited"
    for _ in range(asking.AT_ONCE - 1):
        client.rpc.answer(value(b"one", keys(7, "b")))
    client.rpc.answer(value(b"two", keys(8, "c")))
    assert client.bodies() == [b'["b"]'] * asking.AT_ONCE + [b'["c"]'] * 2


def test_an_answer_that_is_overtaken_does_not_outlive_the_newer_one(client: Client) -> None:
    """The later of two calls is answered first; the server has the last word on what the older one left behind."""
    client.get("/v1/kv/?keys")
    client.get("/v1/kv/?keys")
    first = client.rpc.calls.pop(0)
    client.rpc.answer(value(b"two", keys(8, "c")))
    client.rpc.calls.append(first)
    client.rpc.answer(value(b"one", keys(7, "b")))
    client.get("/v1/kv/?keys")

    assert client.rpc.reads()[0][2] == b"one"
    client.rpc.answer(value(b"two", keys(8, "c")))
    assert client.bodies() == [b'["c"]', b'["b"]', b'["c"]']


def test_calls_that_take_long_keep_nobody_waiting(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(asking, "monotonic", lambda: now)
    told: list[float] = []
    assert client.gateway.asking is not None
    client.gateway.asking.on_kept_waiting = lambda: told.append(now)
    for _ in range(asking.AT_ONCE):
        client.get("/v1/kv/?keys")
    assert not told
    client.get("/v1/kv/?keys")
    assert told == [now]
    assert len(client.rpc.calls) == asking.AT_ONCE
    now += 2 * asking.PATIENCE_S
    client.gateway.asking.start()

    assert len(client.rpc.calls) == asking.AT_ONCE + 1
    assert len(told) == 1


async def test_who_is_kept_waiting_is_not_forgotten(
    client: Client, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, nursery: trio.Nursery
) -> None:
    """Also if the first try comes to nothing, because others had asked in the meantime."""
    monkeypatch.setattr(asking, "monotonic", trio.current_time)
    assert client.gateway.asking is not None
    nursery.start_soon(ask_again, client.gateway.asking)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(asking.AT_ONCE):
        client.get("/v1/kv/?keys")
    client.get("/v1/kv/?keys")
    await trio.sleep(asking.PATIENCE_S / 2)
    client.rpc.answer(value(b"one", keys(7, "b")))  # which lets the one that waited go
    client.get("/v1/kv/?keys")
    assert len(client.rpc.calls) == asking.AT_ONCE
    with trio.fail_after(10 * asking.PATIENCE_S):
        while len(client.rpc.calls) == asking.AT_ONCE:
            await trio.sleep(asking.PATIENCE_S / 10)
    assert len(client.rpc.calls) == asking.AT_ONCE + 1


def test_stale_reads_do_not_wait_for_the_others(client: Client) -> None:
    client.get("/v1/kv/?keys", "/v1/kv/?keys&stale")

    assert [many_reads.unpacked(payload)["AllowStale"] for _, payload, _ in client.rpc.calls] == [False, True]


def test_the_age_of_the_state_is_that_of_the_newest_word(client: Client) -> None:
    client.get("/v1/kv/?keys&stale")
    client.rpc.answer(value(b"one", keys(7, "b")), contact_ns=25_000_000)
    client.get("/v1/kv/?keys&stale")
    client.rpc.answer(SAME, contact_ns=31_000_000, known_leader=False)

    assert b"X-Consul-Lastcontact: 25\r\n" in client.answers[0]
    assert b"X-Consul-Lastcontact: 31\r\n" in client.answers[1]
    assert b"X-Consul-Knownleader: false\r\n" in client.answers[1]


def test_what_the_server_does_not_answer_so_is_asked_alone(client: Client) -> None:
    client.get("/v1/kv/?keys")
    client.rpc.answer(ALONE)

    method, payload, on_done = client.rpc.calls.pop()
    assert (method, payload["Prefix"]) == ("KVS.ListKeys", "")
    on_done(many_reads.unpacked(keys(7, "b")), None)
    assert client.bodies() == [b'["b"]']


def test_an_unknown_method_means_that_all_is_asked_alone(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(asking, "monotonic", lambda: now)
    client.get("/v1/kv/?keys", "/v1/kv/a?keys")
    client.rpc.fail(RemoteError(many_reads.UNKNOWN, "rpc: can't find service Proconsul.Read"))
    client.get("/v1/kv/?keys")

    assert [method for method, _, _ in client.rpc.calls] == ["KVS.ListKeys"] * 3
    client.rpc.calls.clear()
    now += 2 * asking.ALONE_S
    client.get("/v1/kv/?keys")
    assert [method for method, _, _ in client.rpc.calls] == [many_reads.DOOR]


def test_an_error_is_everybodys(client: Client) -> None:
    client.get("/v1/kv/?keys", "/v1/kv/a?keys", "/v1/kv/?keys")
    client.rpc.fail(RemoteError("rpc", "No cluster leader"))

    assert client.statuses() == [500, 500, 500]
    assert client.bodies() == [b"No cluster leader"] * 3


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\xc1",
        many_reads.pack(7),
        many_reads.pack({"LastContact": 0, "KnownLeader": True, "Answers": []}),
        many_reads.pack({"LastContact": 0, "KnownLeader": True, "Answers": [[many_reads.VALUE, b"t", b"\xc1"]]}),
        many_reads.pack({"LastContact": "x", "KnownLeader": True, "Answers": [[many_reads.VALUE, b"t", b"\x80"]]}),
        many_reads.pack({"LastContact": 0, "KnownLeader": True, "Answers": [[9, b"t", b"\x80"]]}),
    ],
)
def test_a_reply_of_another_shape_is_an_error_of_those_who_asked(client: Client, reply: bytes) -> None:
    client.get("/v1/kv/?keys", "/v1/kv/?keys")
    client.rpc.calls.pop(0)[2](reply, None)

    assert client.statuses() == [500, 500]
    assert client.bodies()[0].startswith(b"rpc error making call: codec.decoder")
    client.get("/v1/kv/?keys")
    client.rpc.answer(value(b"one", keys(7, "b")))
    assert client.statuses()[2:] == [200]


def test_a_missing_key_is_missing_for_everybody(client: Client) -> None:
    client.get("/v1/kv/a", "/v1/kv/a")
    client.rpc.answer(value(b"one", many_reads.pack({"Index": 7, "Entries": None})))
    client.get("/v1/kv/a")
    client.rpc.answer(SAME)

    assert client.statuses() == [404, 404, 404]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/kv/?keys&consistent",
        "/v1/kv/?keys&index=7",
        "/v1/kv/?keys&dc=dc2",
        "/v1/kv/?keys&stale&max_stale=1s",
        "/v1/session/list",
    ],
)
def test_these_are_asked_alone(client: Client, target: str) -> None:
    client.get(target)

    assert [method for method, _, _ in client.rpc.calls] != [many_reads.DOOR]


def test_calls_that_are_counted_are_made_one_by_one() -> None:
    client = Client(rpc_rate=10.0, rpc_max_burst=10)
    client.get("/v1/kv/?keys", "/v1/kv/?keys")

    assert [method for method, _, _ in client.rpc.calls] == ["KVS.ListKeys"] * 2


def test_another_configuration_forgets_all_answers(client: Client) -> None:
    client.get("/v1/kv/?keys")
    client.rpc.answer(value(b"one", keys(7, "b")))
    client.gateway.use_config(client.gateway.config)
    client.get("/v1/kv/?keys")

    assert client.rpc.reads()[0][2] == b""


def test_what_is_kept_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ENTRIES_MAX", 2)
    for prefix in ("a", "b", "c", "a"):
        client.get(f"/v1/kv/{prefix}?keys")
        assert client.rpc.reads()[0][2] == b"", "the oldest has gone"
        client.rpc.answer(value(prefix.encode(), keys(7, prefix)))

    assert client.bodies() == [b'["a"]', b'["b"]', b'["c"]', b'["a"]']
