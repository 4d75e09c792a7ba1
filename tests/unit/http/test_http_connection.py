"""The lane's connection core: bytes in, requests out, answers in order. No sockets, no clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.http_gateway.lane.connection import Connection, ConnectionLimits
from services.http_gateway.lane.head import HEAD_BYTES_MAX, HeadParser
from services.http_gateway.message import Request

HOST = b"Host: a\r\n"
GET = b"GET /v1/kv/%b HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = ConnectionLimits(value_bytes_max=100, body_bytes_max=200)


class Harness:
    """A connection whose requests are kept; `answer` answers one with its path."""

    def __init__(self, limits: ConnectionLimits = LIMITS, inline: bool = False) -> None:
        self.requests: list[Request] = []
        self.inline = inline
        self.now = 1000.0
        self.woken = 0
        self.connection = Connection("1.2.3.4:5", limits, HeadParser(), self._dispatch, self._wake, self.now)

    def _dispatch(self, request: Request) -> None:
        self.requests.append(request)
        if self.inline:
            self.answer(request)

    def _wake(self, _connection: Connection) -> None:
        self.woken += 1

    def answer(self, request: Request) -> None:
        self.connection.finish(request, f"<{request.path}>".encode())
        self.connection.advance(self.now)

    def feed(self, *parts: bytes) -> Harness:
        for part in parts:
            self.connection.receive(part, self.now)
        return self

    def sent(self) -> bytes:
        return b"".join(self.connection.output)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


def test_a_request_comes_out_with_path_query_fields_and_body() -> None:
    harness = Harness().feed(
        b"PUT /v1/kv/a%2Fb%20c?flags=1&x=a+b&x=2;y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello"
    )
    (request,) = harness.requests
    assert (request.method, request.path, request.body) == ("PUT", "/v1/kv/a/b c", b"hello")
    assert request.query == {"flags": ["1"], "x": ["a b", "2"], "y": [""]}
    assert request.header("x-one") == "1"
    assert request.remote == "1.2.3.4:5"
    assert request.writes
    assert request.keep_alive


@pytest.mark.parametrize(
    "head",
    [
        GET % b"a%2Fb?raw&index=7",
        b"GET http://a/v1/kv/x?stale HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /v1/kv/x HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nX-Consul-Token: t\r\n\r\n",
        b"GET /v1/kv/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"HEAD /v1/kv/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"DELETE /v1/kv/x HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_the_same_bytes_again_are_the_same_request(head: bytes) -> None:
    harness = Harness(inline=True)
    for harness.now in (1001.0, 1002.0, 1003.0):
        harness.feed(head).connection.settle(harness.now)
    seen = [{name: getattr(one, name, None) for name in Request.__slots__} for one in harness.requests]
    assert [one.pop("started_s") for one in seen] == [1001.0, 1002.0, 1003.0]
    assert seen[0] == seen[1] == seen[2]
    assert len(harness.connection.output) == 3
    assert harness.connection.idle is False
    assert harness.connection.deadline == 1003.0 + LIMITS.idle_timeout_s


def test_the_same_last_request_of_another_connection_is_its_last_too() -> None:
    parser = HeadParser()
    for _ in range(2):
        harness = Harness(inline=True)
        harness.connection._parser = parser
        harness.feed(b"GET /v1/kv/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert harness.connection.closing


def test_answers_leave_in_the_order_of_the_requests_whatever_the_order_they_are_ready_in() -> None:
    harness = Harness().feed(GET % b"1" + GET % b"2" + GET % b"3")
    first, second, third = harness.requests
    harness.answer(third)
    harness.answer(second)
    assert harness.sent() == b""
    harness.answer(first)
    assert harness.sent() == b"</v1/kv/1></v1/kv/2></v1/kv/3>"


def test_a_write_waits_for_all_before_it_and_a_read_for_the_writes() -> None:
    """Writes may go different ways to the log, on which a later one could overtake an earlier one."""
    put = b"PUT /w%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    harness = Harness().feed(put % 1 + put % 2 + GET % b"r" + GET % b"s" + put % 3)
    order = ["/w1", "/w2", "/v1/kv/r", "/v1/kv/s", "/w3"]
    assert harness.paths() == order[:1]
    assert not harness.connection.wants_data
    harness.answer(harness.requests[0])
    assert harness.paths() == order[:2]
    harness.answer(harness.requests[1])
    assert harness.paths() == order[:4]
    harness.answer(harness.requests[2])
    assert harness.paths() == order[:4]
    harness.answer(harness.requests[3])
    assert harness.paths() == order
    assert harness.connection.wants_data


def test_what_was_held_back_is_still_answered_after_the_end_of_the_clients_side() -> None:
    put = b"PUT /w%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
    harness = Harness().feed(put % 1 + put % 2 + put % 3)
    harness.connection.receive_end(0.0)
    for number in range(3):
        assert harness.paths() == ["/w1", "/w2", "/w3"][: number + 1]
        assert not harness.connection.closing
        harness.answer(harness.requests[number])
        harness.connection.advance(0.0)
    assert harness.connection.closing


def test_no_more_than_the_pipeline_limit_is_worked_on_at_once() -> None:
    harness = Harness(ConnectionLimits(pipeline_max=2)).feed(GET % b"1" + GET % b"2" + GET % b"3")
    assert harness.paths() == ["/v1/kv/1", "/v1/kv/2"]
    assert not harness.connection.wants_data
    harness.answer(harness.requests[0])
    assert harness.paths() == ["/v1/kv/1", "/v1/kv/2", "/v1/kv/3"]


def test_a_long_pipeline_yields_to_other_connections() -> None:
    harness = Harness(ConnectionLimits(requests_per_turn=3), inline=True)
    harness.connection.receive(GET % b"x" * 5, 1000.0)
    assert len(harness.requests) <= 4
    assert harness.connection.unfinished
    harness.connection.advance(1000.0)
    assert len(harness.requests) == 5
    assert not harness.connection.unfinished


MESSAGES = st.lists(
    st.sampled_from(
        [
            GET % b"a",
            b"PUT /v1/kv/b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"PUT /v1/kv/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
            b"PUT /v1/kv/e HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            b"GET /v1/agent/self?pretty HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
        ]
    ),
    max_size=5,
)


@given(messages=MESSAGES, data=st.data())
@settings(max_examples=60)
def test_it_does_not_matter_where_the_stream_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    whole, cut = Harness(inline=True).feed(stream), Harness(inline=True)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        cut.feed(stream[start:end])
    assert [(r.method, r.path, r.body) for r in cut.requests] == [(r.method, r.path, r.body) for r in whole.requests]
    assert len(whole.requests) == len(messages)
    assert cut.sent() == whole.sent()


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"GET / HTTP/1.1\r\n", HOST, b"\r\n\r\n"]), max_size=8)
)
@settings(max_examples=200)
def test_garbage_never_raises_and_is_answered_at_most_once(parts: list[bytes]) -> None:
    harness = Harness(inline=True).feed(*parts)
    if harness.connection.closing:
        assert harness.sent().count(b"HTTP/1.1 ") == 1


REFUSED: list[tuple[str, bytes, str]] = [
    ("junk", b"hello\r\n\r\n", "400 Bad Request"),
    ("a body with HEAD", b"HEAD / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\n1", "400 Bad Request"),
    ("no version", b"GET /\r\n\r\n", "400 Bad Request"),
    ("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", "400 Bad Request"),
    ("a space in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", "400 Bad Request"),
    ("no slash", b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", "400 Bad Request"),
    ("bad escape", b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", "400 Bad Request"),
    ("control character", b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", "400 Bad Request"),
    ("HTTP/3", b"GET / HTTP/3.0\r\n" + HOST + b"\r\n", "400 Bad Request: unsupported protocol version"),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header"),
    ("two hosts", b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n", "400 Bad Request: too many Host headers"),
    ("bad host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Bad Request: malformed Host header"),
    ("folded line", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", "400 Bad Request"),
    ("bare LF", b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "400 Bad Request"),
    ("only bare LF", b"GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request"),
    ("bare CR", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", "400 Bad Request: invalid header value"),
    ("NUL", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", "400 Bad Request: invalid header value"),
    ("space before colon", b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", "400 Bad Request: invalid header name"),
    ("no colon", b"GET / HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", "400 Bad Request"),
    (
        "CL and TE",
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "400 Bad Request",
    ),
    (
        "two lengths",
        b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "400 Bad Request",
    ),
    ("length list", b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n\r\n", "400 Bad Request"),
    ("signed length", b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\n", "400 Bad Request"),
    ("negative length", b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", "400 Bad Request"),
    ("TE in HTTP/1.0", b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Bad Request"),
    ("chunk size", b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "400 Bad Request"),
    ("chunk end", b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "400 Bad Request"),
    (
        "chunk LF",
        b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        "400 Bad Request",
    ),
]


@pytest.mark.parametrize(("data", "status"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_ends(data: bytes, status: str) -> None:
    harness = Harness().feed(data)
    text = status.encode()
    assert harness.sent() == (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%b" % (text, text)
    )
    assert harness.connection.closing
    assert harness.requests == []
    harness.feed(GET % b"smuggled")
    assert harness.requests == []


@pytest.mark.parametrize(
    "encoding", [b"gzip, chunked", b"identity", b"xchunked", b"chunked\r\nTransfer-Encoding: chunked"]
)
def test_other_transfer_encodings_are_not_implemented(encoding: bytes) -> None:
    harness = Harness().feed(b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: " + encoding + b"\r\n\r\n")
    assert harness.sent().startswith(b"HTTP/1.1 501 Not Implemented\r\n")
    assert harness.sent().endswith(b"\r\n\r\nUnsupported transfer encoding")


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", b"GET /"], ids=["header", "target"])
def test_a_head_over_the_limit_is_refused(start: bytes) -> None:
    harness = Harness().feed(start)
    for _ in range(HEAD_BYTES_MAX // 65536 + 2):
        harness.feed(b"a" * 65536)
    assert harness.sent().startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert harness.connection.closing
    assert harness.connection.buffered_bytes == 0


def test_the_answers_before_a_mistake_still_go_out_first() -> None:
    harness = Harness().feed(GET % b"1" + b"junk\r\n\r\n")
    assert harness.sent() == b""
    harness.answer(harness.requests[0])
    assert harness.sent().startswith(b"</v1/kv/1>HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"Content-Length: 101\r\n\r\n", 101),
        (b"Transfer-Encoding: chunked\r\n\r\n65\r\n", -1),
    ],
    ids=["announced", "chunked"],
)
def test_a_value_over_the_limit_reaches_the_handler_unread_and_ends_the_connection(head: bytes, size: int) -> None:
    harness = Harness().feed(b"PUT /v1/kv/big HTTP/1.1\r\n" + HOST + head)
    (request,) = harness.requests
    assert (request.body_complete, request.content_length, request.keep_alive) == (False, size, False)
    harness.answer(request)
    assert harness.connection.closing
    assert harness.connection.linger


def test_100_continue_is_sent_once_the_body_is_wanted() -> None:
    harness = Harness().feed(b"PUT /v1/kv/a HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert harness.sent() == b"HTTP/1.1 100 Continue\r\n\r\n"
    harness.feed(b"ab")
    assert harness.requests[0].body == b"ab"
    refused = Harness().feed(
        b"PUT /v1/kv/a HTTP/1.1\r\n" + HOST + b"Content-Length: 999\r\nExpect: 100-continue\r\n\r\n"
    )
    assert refused.sent() == b""
    unknown = Harness().feed(b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: magic\r\n\r\n")
    assert unknown.sent().startswith(b"HTTP/1.1 417 ")


@pytest.mark.parametrize(
    ("head", "stays_open"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", True),
    ],
)
def test_who_keeps_the_connection_open(head: bytes, stays_open: bool) -> None:
    harness = Harness(inline=True).feed(head)
    assert harness.connection.closing is not stays_open


def test_requests_after_a_close_are_neither_worked_on_nor_answered() -> None:
    harness = Harness(inline=True).feed(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % b"2")
    assert harness.paths() == ["/1"]
    assert harness.sent() == b"</1>"


def test_a_client_that_stops_sending_still_gets_what_it_asked_for() -> None:
    harness = Harness().feed(GET % b"1")
    hurried: list[str] = []
    harness.requests[0].on_hurry = lambda: hurried.append("hurry")
    harness.connection.receive_end(harness.now)
    assert hurried == ["hurry"]
    assert not harness.connection.closing
    harness.answer(harness.requests[0])
    assert harness.sent() == b"</v1/kv/1>"
    assert harness.connection.closing


def test_a_lost_client_is_told_to_those_who_work_for_it() -> None:
    harness = Harness().feed(GET % b"1" + GET % b"2")
    gone: list[str] = []
    for request in harness.requests:
        request.on_abandon = lambda path=request.path: gone.append(path)
    harness.connection.lost()
    assert gone == ["/v1/kv/1", "/v1/kv/2"]
    harness.answer(harness.requests[0])
    assert harness.sent() == b""


def test_streamed_parts_wait_for_the_answers_before_them() -> None:
    harness = Harness().feed(GET % b"1" + GET % b"2")
    first, second = harness.requests
    harness.connection.stream(second, b"[head]")
    harness.connection.stream(second, b"[part]")
    assert harness.sent() == b""
    harness.answer(first)
    harness.connection.stream(second, b"[more]")
    assert harness.sent() == b"</v1/kv/1>[head][part][more]"
    harness.connection.finish(second, b"[end]")
    assert harness.sent().endswith(b"[more][end]")


def deadline_after(action: Callable[[Harness], None]) -> float:
    harness = Harness()
    action(harness)
    return harness.connection.deadline - harness.now


def test_each_phase_of_a_slow_client_has_its_deadline() -> None:
    assert deadline_after(lambda h: None) == LIMITS.idle_timeout_s
    assert deadline_after(lambda h: h.feed(b"GET / HT") and None) == LIMITS.head_timeout_s
    body = b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na"
    assert LIMITS.body_timeout_s <= deadline_after(lambda h: h.feed(body) and None) < LIMITS.body_timeout_s + 1
    assert deadline_after(lambda h: h.feed(GET % b"1") and None) == float("inf")

    def trickle(harness: Harness) -> None:
        harness.feed(b"GET / HT")
        harness.now += 20
        harness.feed(b"TP/1.1")

    assert deadline_after(trickle) == LIMITS.head_timeout_s - 20

    def served(harness: Harness) -> None:
        harness.inline = True
        harness.feed(GET % b"1")
        harness.connection.settle(harness.now)

    assert deadline_after(served) == LIMITS.idle_timeout_s
