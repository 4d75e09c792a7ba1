"""The short ways: requests known by their bytes, plain sets, and results that come straight from the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http_gateway.lane.connection import Connection, ConnectionLimits
from services.http_gateway.lane.head import HeadParser
from services.http_gateway.message import Request
from services.http_gateway.moment import Moment
from services.http_gateway.policy import Policy
from services.http_gateway.repeats import HEAD_BYTES_MAX, HEADS_MAX, Repeats
from services.http_gateway.routes.kv_fast import SetCommand
from services.http_gateway.writes import Writes
from shared.config.runtime import RuntimeConfig
from shared.config.sections import HttpConfig
from shared.ipc import ConnectionLostError, IpcError, Link, RemoteError

HEAD = b"GET /v1/kv/a HTTP/1.1\r\nHost: a\r\n\r\n"


class Harness:
    """A connection to which HEAD is known; what is dispatched stays unanswered."""

    def __init__(self) -> None:
        self.dispatched: list[Request] = []
        self.connection = Connection(
            "1.2.3.4:5",
            ConnectionLimits(),
            HeadParser(),
            self.dispatched.append,
            lambda _connection: None,
            0.0,
            lambda head: b"<known>" if head == HEAD else None,
        )

    def feed(self, data: bytes) -> Harness:
        self.connection.receive(data, 1.0)
        return self


def test_a_known_request_is_answered_without_being_dispatched() -> None:
    harness = Harness().feed(HEAD)
    assert (harness.connection.output, harness.dispatched) == ([b"<known>"], [])


@pytest.mark.parametrize("before", [HEAD[:9], b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_after_something_unfinished_the_same_bytes_are_no_known_request(before: bytes) -> None:
    harness = Harness().feed(before).feed(HEAD)
    assert b"<known>" not in harness.connection.output


def test_what_looks_like_a_known_request_inside_a_body_is_body() -> None:
    size = str(len(HEAD)).encode()
    harness = Harness().feed(b"PUT /v1/kv/b HTTP/1.1\r\nHost: a\r\nContent-Length: " + size + b"\r\n\r\n").feed(HEAD)
    (request,) = harness.dispatched
    assert (request.body, harness.connection.output) == (HEAD, [])


def test_a_known_request_waits_while_the_client_does_not_take_answers() -> None:
    harness = Harness().feed(HEAD).feed(HEAD)
    assert harness.connection.output == [b"<known>"]
    assert len(harness.dispatched) == 1


@pytest.mark.parametrize(
    ("data", "heads"),
    [
        (b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", [b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"]),
        (b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 2, [b"", b""]),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", [b""]),
    ],
)
def test_only_a_lone_head_without_a_body_stands_for_its_request(data: bytes, heads: list[bytes]) -> None:
    assert [request.head for request in Harness().feed(data).dispatched] == heads


def test_a_head_whose_body_comes_later_does_not_stand_for_its_request() -> None:
    harness = Harness().feed(b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").feed(b"x")
    assert [request.head for request in harness.dispatched] == [b""]


class Answered:
    metric = "v1.test"

    def answer(self, moment: Moment) -> bytes:
        return b""


def test_what_is_remembered_is_bounded() -> None:
    repeats = Repeats()
    repeats.learn(b"", Answered())
    repeats.learn(b"x" * (HEAD_BYTES_MAX + 1), Answered())
    assert repeats.find(b"") is None
    assert repeats.find(b"x" * (HEAD_BYTES_MAX + 1)) is None
    for number in range(HEADS_MAX + 1):
        repeats.learn(b"%d" % number, Answered())
    known = [number for number in range(HEADS_MAX + 1) if repeats.find(b"%d" % number)]
    assert HEADS_MAX in known
    assert len(known) <= HEADS_MAX


@pytest.mark.parametrize(
    ("rules", "path", "is_open"),
    [
        (HttpConfig(), "/v1/kv/a", True),
        (HttpConfig(response_headers={"X-A": "b"}), "/v1/kv/a", False),
        (HttpConfig(block_endpoints=("/v1/kv/secret",)), "/v1/kv/secret/a", False),
        (HttpConfig(block_endpoints=("/v1/kv/secret",)), "/v1/kv/a", True),
        (HttpConfig(allow_write_http_from=("127.0.0.0/8",)), "/v1/kv/a", False),
    ],
)
def test_the_short_way_of_writes_is_closed_where_a_rule_applies(rules: HttpConfig, path: str, is_open: bool) -> None:
    config = RuntimeConfig.dev("run")
    object.__setattr__(config, "http_config", rules)
    request = Request(cast(Any, None), "PUT", path, {}, remote="10.0.0.1:5")
    assert Policy(config).is_open(request) is is_open


@given(key=st.binary(max_size=600), value=st.binary(max_size=600))
def test_a_plain_set_is_encoded_as_any_request(key: bytes, value: bytes) -> None:
    entry = {
        "CreateIndex": 0,
        "Flags": 0,
        "Key": key,
        "LockIndex": 0,
        "ModifyIndex": 0,
        "Session": "",
        "Value": value or None,
    }
    whole = {"Datacenter": "dc1", "DirEnt": entry, "Op": "set", "Token": "t"}
    assert SetCommand("dc1", "t").encode(key, value) == msgpack.packb(whole, use_bin_type=False)


class FakeLink:
    """Keeps what is posted; `resolve` and the events do what the real one's do."""

    neighbour = "fake"

    def __init__(self) -> None:
        self.number = 3
        self.next_id = 1
        self.posted: dict[int, tuple[Any, Callable[[Any, IpcError | None], None]]] = {}
        self.events: dict[str, Callable[[Any], None]] = {}
        self.down: Callable[[], None] = lambda: None

    def post(self, _method: str, payload: Any, on_done: Callable[[Any, IpcError | None], None], **_: Any) -> None:
        self.posted[self.next_id] = (payload, on_done)
        self.next_id += 1

    def resolve(self, call_id: int, value: Any, error: IpcError | None = None) -> None:
        if call_id in self.posted:
            self.posted.pop(call_id)[1](value, error)

    def subscribe(self, topic: str, callback: Callable[[Any], None]) -> None:
        self.events[topic] = callback

    def on_down(self, callback: Callable[[], None]) -> None:
        self.down = callback


class Rig:
    def __init__(self) -> None:
        self.raft, self.rpc = FakeLink(), FakeLink()
        self.writes = Writes(cast(Link, self.raft), cast(Link, self.rpc))
        self.outcomes: list[Any] = []

    def post(self) -> None:
        self.writes.post("cas", b"k", b"command", lambda value, error: self.outcomes.append(error or value))


@pytest.mark.parametrize(("result", "shown"), [(None, True), (True, True), (False, False)])
def test_a_result_from_the_log_ends_the_call_and_a_later_answer_is_dropped(result: Any, shown: bool) -> None:
    rig = Rig()
    rig.post()
    assert rig.rpc.posted[1][0] == ("cas", b"k", b"command", 3, 1)
    rig.raft.events["applied"]([[1, result]])
    rig.rpc.resolve(1, True)
    assert rig.outcomes == [shown]


def test_an_answer_of_rpc_core_ends_the_call_as_well() -> None:
    rig = Rig()
    rig.post()
    rig.rpc.resolve(1, False)
    rig.raft.events["applied"]([[1, True]])
    rig.raft.down()
    assert rig.outcomes == [False]


def test_a_failed_write_fails_with_the_text_of_the_log() -> None:
    rig = Rig()
    rig.post()
    rig.raft.events["applied"]([[1, None, "rpc", "invalid session", None]])
    (error,) = rig.outcomes
    assert (type(error), error.code, str(error)) == (RemoteError, "rpc", "invalid session")


def test_a_write_that_the_log_refused_is_left_to_rpc_core() -> None:
    rig = Rig()
    rig.post()
    rig.raft.events["applied"]([[1, None, "not_leader", "not leader", {"leader": "a:1"}]])
    assert rig.outcomes == []
    assert rig.rpc.posted[2][0] == ("cas", b"k", b"command")
    rig.rpc.resolve(2, True)
    assert rig.outcomes == [True]


def test_results_that_cannot_come_any_more_are_unknown() -> None:
    rig = Rig()
    rig.post()
    rig.raft.number = 0
    rig.post()
    assert rig.rpc.posted[2][0] == ("cas", b"k", b"command")
    rig.raft.down()
    assert [type(outcome) for outcome in rig.outcomes] == [ConnectionLostError]
