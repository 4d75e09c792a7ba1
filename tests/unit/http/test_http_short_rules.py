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
    """Keeps what is posted; `end` is what its neighbour answers."""

    def __init__(self) -> None:
        self.connected = True
        self.flushed = 0
        self.posted: list[tuple[str, Any, Callable[[Any, IpcError | None], None]]] = []

    def post(self, method: str, payload: Any, on_done: Callable[[Any, IpcError | None], None], **_: Any) -> None:
        self.posted.append((method, payload, on_done))

    def flush(self) -> None:
        self.flushed += 1

    def end(self, value: Any, error: IpcError | None = None) -> None:
        self.posted.pop(0)[2](value, error)


class Rig:
    def __init__(self) -> None:
        self.raft, self.rpc = FakeLink(), FakeLink()
        self.leads = True
        self.writes = Writes(cast(Link, self.raft), cast(Link, self.rpc), lambda: self.leads)
        self.outcomes: list[Any] = []

    def post(self, operation: str = "cas") -> None:
        self.writes.post(operation, b"k", b"command", self._done)

    def post_catalog(self) -> None:
        self.writes.post_catalog(b"\x00whole", "consul.catalog.register", self._done)

    def _done(self, value: Any, error: IpcError | None) -> None:
        self.outcomes.append(error or value)


@pytest.mark.parametrize("result", [None, True, False])
def test_a_leaders_writes_go_straight_to_the_log_and_its_result_ends_the_call(result: Any) -> None:
    rig = Rig()
    rig.post()
    rig.post_catalog()
    assert [call[:2] for call in rig.raft.posted] == [("Raft.Apply", b"\x02command"), ("Raft.Apply", b"\x00whole")]
    rig.raft.end([17, result])
    rig.raft.end([18, None])
    assert rig.outcomes == [result, None]
    assert rig.rpc.posted == []


def _elsewhere(rig: Rig) -> None:
    rig.leads = False


def _away(rig: Rig) -> None:
    rig.raft.connected = False


def _limited(rig: Rig) -> None:
    rig.writes.may_pass = False


@pytest.mark.parametrize("condition", [_elsewhere, _away, _limited])
def test_what_the_log_would_not_take_or_must_be_counted_goes_by_rpc_core(condition: Callable[[Rig], None]) -> None:
    rig = Rig()
    condition(rig)
    rig.post()
    rig.post_catalog()
    assert rig.raft.posted == []
    assert [call[:2] for call in rig.rpc.posted] == [
        ("KVS.ApplyEncoded", ("cas", b"k", b"command")),
        ("Catalog.ApplyEncoded", (b"\x00whole",)),
    ]
    rig.rpc.end(False)
    rig.rpc.end(True)
    assert rig.outcomes == [False, True]


def test_a_lock_goes_by_rpc_core_which_knows_of_lock_delays() -> None:
    rig = Rig()
    rig.post("lock")
    rig.post("unlock")
    assert [call[0] for call in rig.rpc.posted] == ["KVS.ApplyEncoded"]
    assert [call[0] for call in rig.raft.posted] == ["Raft.Apply"]


@pytest.mark.parametrize(
    "error", [RemoteError("rpc", "invalid session"), ConnectionLostError("raft", "Raft.Apply")], ids=["failed", "lost"]
)
def test_a_failed_write_fails_with_what_the_log_says_and_is_not_tried_again(error: IpcError) -> None:
    rig = Rig()
    rig.post()
    rig.raft.end(None, error)
    assert rig.outcomes == [error]
    assert rig.rpc.posted == []


@pytest.mark.parametrize("code", ["not_leader", "no_leader"])
def test_a_write_that_the_log_refused_is_left_to_rpc_core(code: str) -> None:
    rig = Rig()
    rig.post()
    rig.raft.end(None, RemoteError(code, "not leader", {"leader": None}))
    assert rig.outcomes == []
    assert [call[:2] for call in rig.rpc.posted] == [("KVS.ApplyEncoded", ("cas", b"k", b"command"))]
    rig.rpc.end(True)
    assert rig.outcomes == [True]


def test_the_first_four_leave_at_once_and_later_ones_eight_at_a_time() -> None:
    rig = Rig()
    flushed = []
    for _ in range(24):
        rig.post()
        flushed.append(rig.raft.flushed)
    assert flushed == [0] * 3 + [1] * 8 + [2] * 8 + [3] * 5
