"""HTTP connections against hostile bytes: no cut changes the meaning, nothing raises, nothing grows, no work twice."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.http_gateway.lane.connection import Connection, ConnectionLimits
from services.http_gateway.lane.head import HEAD_BYTES_MAX, HeadParser
from services.http_gateway.message import Request, TargetError, parse_query, split_target
from tests.unit.fuzz.fuzzing import cut_up, damaged, fuzz

LIMITS = ConnectionLimits(value_bytes_max=64, body_bytes_max=128, pipeline_max=4, requests_per_turn=3)
GOOD = (
    b"GET /v1/kv/a?raw HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /v1/kv/b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"PUT /v1/kv/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n",
    b"PUT /v1/catalog/register HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET http://a:1/v1/agent/self HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /%41%ff HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
)
SMUGGLED = (
    b"PUT /v1/kv/d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /v1/kv/e HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"PUT /v1/kv/f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0003\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Y: 2\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
)


class Server:
    """A connection and its requests. late: answers are given by hand, not at once."""

    def __init__(self, limits: ConnectionLimits = LIMITS, *, late: bool = False) -> None:
        self.requests: list[Request] = []
        self.sent = b""
        self.now = 1000.0
        self._late = late
        self.connection = Connection("1.2.3.4:5", limits, HeadParser(), self._dispatch, lambda _: None, self.now)

    def _dispatch(self, request: Request) -> None:
        self.requests.append(request)
        if not self._late:
            self.connection.finish(request, f"<{len(self.requests)}>".encode())

    def turn(self) -> None:
        """What the lane does after each event on the socket."""
        connection = self.connection
        while True:
            self.sent += b"".join(connection.output)
            connection.output.clear()
            connection.settle(self.now)
            if not (connection.unfinished or connection.blocked) or connection.closing:
                return
            before = len(self.requests)
            connection.advance(self.now)
            if len(self.requests) == before and not connection.unfinished:
                self.sent += b"".join(connection.output)
                connection.output.clear()
                return

    def feed(self, pieces: Sequence[bytes]) -> Server:
        for piece in pieces:
            if piece:
                self.connection.receive(piece, self.now)
                self.turn()
        return self

    def seen(self) -> list[tuple[str, str, bytes, bool]]:
        return [(r.method, r.target, r.body, r.body_complete) for r in self.requests]


def essence(sent: bytes) -> bytes:
    """Without what may depend on the cut: an invitation to send on, and the reason of a refusal that came early."""
    return re.sub(rb"HTTP/1\.1 400 .*", b"400", sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""), flags=re.DOTALL)


STREAMS = st.lists(damaged(GOOD + SMUGGLED) | st.sampled_from(GOOD), max_size=5).map(b"".join)


@given(stream=STREAMS, data=st.data())
@fuzz(80)
def test_no_cut_of_any_stream_changes_what_is_asked_and_answered(stream: bytes, data: st.DataObject) -> None:
    whole = Server().feed([stream])
    parts = Server().feed(data.draw(cut_up(stream)))
    assert parts.seen() == whole.seen()
    assert parts.connection.closing == whole.connection.closing
    assert essence(parts.sent) == essence(whole.sent)


@given(stream=STREAMS, data=st.data())
@fuzz(80)
def test_any_interleaving_of_bytes_answers_and_loss_is_survived(stream: bytes, data: st.DataObject) -> None:
    server = Server(late=True)
    connection = server.connection
    pieces = data.draw(cut_up(stream, 8))
    while pieces or any(request.output is None and not request.abandoned for request in server.requests):
        waiting = [r for r in server.requests if r.output is None and not r.abandoned]
        action = data.draw(st.integers(0, 9))
        if action == 9:
            connection.lost()
            break
        if action == 8 and not pieces:
            connection.receive_end(server.now)
        elif waiting and (action > 4 or not connection.wants_data):
            connection.finish(data.draw(st.sampled_from(waiting)), b"<answer>")
        elif pieces and connection.wants_data:
            connection.receive(pieces.pop(0), server.now)
        elif not waiting:
            break
        server.turn()
        assert connection.buffered_bytes <= len(stream)
        assert len([r for r in server.requests if r.output is None and not r.abandoned]) <= LIMITS.pipeline_max
    assert server.sent.count(b"<answer>") <= len(server.requests)
    assert server.sent.count(b"HTTP/1.1 4") + server.sent.count(b"HTTP/1.1 5") <= 1


TARGET_PARTS = ["/", "%41", "%ff", "%", "?", "#", "a", "\udcfe", "ü", "http://", "[::1]", ":80", "@", "&", ";=", "\0"]


@given(target=st.text(max_size=60) | st.lists(st.sampled_from(TARGET_PARTS), max_size=12).map("".join))
@fuzz(300)
def test_any_target_has_a_path_and_a_query_or_is_none(target: str) -> None:
    try:
        path, query = split_target(target)
    except TargetError:
        return
    assert path[:1] == "/" or path == "*"
    parameters, problem = parse_query(query)
    assert all(isinstance(value, str) for values in parameters.values() for value in values)
    assert isinstance(problem, str)


def test_a_head_that_trickles_in_is_looked_at_once_and_keeps_its_deadline() -> None:
    server = Server()
    server.feed([b"GET / HT"])
    deadline = server.connection.deadline
    assert deadline == server.now + LIMITS.head_timeout_s
    for _ in range(100):
        server.now += 0.1
        server.feed([b"a"])
        assert not server.connection.blocked
    assert server.connection.deadline == deadline


@pytest.mark.parametrize("head", [b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"PUT / HTTP/1.0\r\n\r\n"])
def test_what_follows_the_last_request_has_no_effect_even_while_that_is_worked_on(head: bytes) -> None:
    server = Server(late=True).feed([head + GOOD[1], GOOD[1]])
    assert server.connection.wants_data  # to see the client go
    assert len(server.requests) == 1
    server.connection.finish(server.requests[0], b"<answer>")
    server.turn()
    assert (server.sent, server.connection.closing, server.connection.linger) == (b"<answer>", True, True)
    assert len(server.requests) == 1


def test_half_a_head_is_refused_when_no_more_will_come() -> None:
    server = Server().feed([b"GET / HTTP/1.1\r\nHost: a\r\n"])
    server.connection.receive_end(server.now)
    server.turn()
    assert server.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert server.connection.closing
    body = Server().feed([b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"])
    body.connection.receive_end(body.now)
    body.turn()
    assert (body.sent, body.connection.closing, body.requests) == (b"", True, [])


def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    head = b"PUT /v1/kv/a HTTP/%b\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    assert Server().feed([head % b"1.0"]).sent == b""
    assert Server().feed([head % b"1.1"]).sent == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_bodies_that_come_byte_by_byte_take_no_more_memory_than_their_bytes() -> None:
    size = 60_000
    limits = ConnectionLimits(value_bytes_max=size)
    chunk_head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    plain_head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    for head, piece, times in ((plain_head, b"x", size - 1), (chunk_head, b"1\r\nx\r\n" * 100, size // 100 - 1)):
        server = Server(limits).feed([head])
        tracemalloc.start()
        try:
            for _ in range(times):
                server.connection.receive(piece, server.now)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size * 0.99 <= server.connection.buffered_bytes <= size
        assert kept < 2 * size


def test_a_head_of_the_greatest_length_costs_the_same_in_small_pieces() -> None:
    """Looked at again with every piece, this would take minutes."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (HEAD_BYTES_MAX - 40) + b"\r\n\r\n"
    server = Server(ConnectionLimits())
    server.feed([head[at : at + 50] for at in range(0, len(head), 50)])
    assert server.seen() == [("GET", "/", b"", True)]
