"""HTTP as it goes over the wire: pipelines, limits, mistakes, slow readers, streams, compression."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.integration.http.http_client import asking, connected, get, put, read_answer, read_to_end


def test_a_pipeline_is_served_as_if_one_by_one(shared_agent: Agent) -> None:
    requests = [put("/v1/kv/pipe", b"1"), get("/v1/kv/pipe?raw"), put("/v1/kv/pipe", b"2"), get("/v1/kv/pipe?raw")]
    with connected(shared_agent) as sock:
        sock.sendall(b"".join(requests))
        bodies, rest = [], b""
        for _ in requests:
            _, body, rest = read_answer(sock, rest)
            bodies.append(body.strip())
    assert bodies == [b"true", b"1", b"true", b"2"]


def test_a_thousand_pipelined_reads_are_all_answered(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/thousand", b"x")
    with connected(shared_agent) as sock:
        sock.sendall(get("/v1/kv/thousand?raw") * 1000)
        rest = b""
        for _ in range(1000):
            _, body, rest = read_answer(sock, rest)
            assert body == b"x"


@pytest.mark.parametrize("step", [1, 7])
def test_a_request_may_come_in_small_pieces(shared_agent: Agent, step: int) -> None:
    data = put("/v1/kv/pieces", b"some value")
    with connected(shared_agent) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), step):
            sock.sendall(data[at : at + step])
        assert read_answer(sock)[1].strip() == b"true"


def test_smuggling_is_refused_and_the_connection_closed(shared_agent: Agent) -> None:
    with connected(shared_agent) as sock:
        sock.sendall(
            b"PUT /v1/kv/smuggle HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n" + put("/v1/kv/smuggled", b"x")
        )
        assert read_to_end(sock).count(b"HTTP/1.1 ") == 1
    assert shared_agent.http("GET", "/v1/kv/smuggled").status == 404


def test_a_value_over_the_limit_is_refused_before_it_is_sent(shared_agent: Agent) -> None:
    with connected(shared_agent) as sock:
        sock.sendall(b"PUT /v1/kv/big HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n")
        head, body, _ = read_answer(sock)
    assert head.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
    assert b"Connection: close" in head
    assert body == (
        b"Request body(600000 bytes) too large, max size: 524288 bytes. "
        b"See https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )


def test_the_answer_to_an_oversized_body_survives_the_rest_of_that_body(shared_agent: Agent) -> None:
    with connected(shared_agent) as sock:
        sock.sendall(put("/v1/kv/big", bytes(900_000)))
        assert read_answer(sock)[0].startswith(b"HTTP/1.1 413 ")


def test_a_client_that_does_not_read_is_not_read_either(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/wide", bytes(500_000))
    with connected(shared_agent) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.settimeout(0.5)
        sent = 0
        request = get("/v1/kv/wide?raw")
        with contextlib.suppress(TimeoutError):
            while sent < 100_000 * len(request):
                sock.sendall(request * 100)
                sent += 100 * len(request)
        assert sent < 100_000 * len(request)
        assert shared_agent.http("GET", "/v1/status/leader").status == 200
        sock.settimeout(PATIENCE_S)
        assert len(read_answer(sock)[1]) == 500_000


def test_connections_per_client_are_limited(shared_agent: Agent) -> None:
    shared_agent.http("GET", "/v1/status/leader")  # whose end it sees after that of all before, reset ones included
    shared_agent.wait_quiet(shared_agent.http_port)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(connected(shared_agent)) for _ in range(130)]
        refused = 0
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(get("/v1/status/leader"))
        for sock in socks:
            try:
                read_answer(sock)
            except OSError:
                refused += 1
        assert refused == 30
    wait_until(lambda: shared_agent.http("GET", "/v1/status/leader").status == 200, what="room for a new connection")


def test_compressed_answers_say_the_same(shared_agent: Agent) -> None:
    plain = shared_agent.http("GET", "/v1/agent/self", headers={"Accept-Encoding": "identity"})
    packed = shared_agent.http("GET", "/v1/agent/self", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.body))["Config"] == plain.json()["Config"]


def test_garbage_on_many_connections_harms_nobody(shared_agent: Agent) -> None:
    shared_agent.wait_quiet(shared_agent.http_port)
    junk = [
        b"\x16\x03\x01\x02\x00\x01",
        b"\0" * 5000,
        b"GET " + b"a" * 5000,
        b"\r\n" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM",
    ]
    with contextlib.ExitStack() as stack:
        for number in range(60):
            sock = stack.enter_context(connected(shared_agent))
            with contextlib.suppress(OSError):
                sock.sendall(junk[number % len(junk)])
        assert shared_agent.http("GET", "/v1/status/leader").status == 200


def test_the_log_can_be_followed(shared_agent: Agent) -> None:
    with connected(shared_agent) as sock:
        sock.sendall(get("/v1/agent/monitor?loglevel=debug"))
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        with asking(shared_agent, "/v1/kv/monitor-me"):
            while b"url=/v1/kv/monitor-me" not in data:
                data += sock.recv(65536)
        assert b"[DEBUG] agent.http: Request finished: method=GET url=/v1/kv/monitor-me from=" in data


def test_who_stops_following_the_log_is_let_go(shared_agent: Agent) -> None:
    """At once, not when the next line is said: each would count as a connection of its client until then."""
    shared_agent.wait_quiet(shared_agent.http_port)
    for ends in (lambda sock: sock.shutdown(socket.SHUT_WR), lambda sock: sock.close()):
        with connected(shared_agent) as sock:
            sock.sendall(get("/v1/agent/monitor?loglevel=err"))
            data = b""
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            ends(sock)
            shared_agent.wait_quiet(shared_agent.http_port)


def test_metrics_of_all_processes_are_added_up(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/measured", b"x")
    shown = shared_agent.http("GET", "/v1/agent/metrics").json()
    assert set(shown) == {"Timestamp", "Gauges", "Points", "Counters", "Samples"}

    def samples() -> set[str]:
        report = shared_agent.http("GET", "/v1/agent/metrics").json()
        return {sample["Name"] for sample in report["Samples"]}

    wait_until(lambda: "consul.http.GET.v1.agent.metrics" in samples(), what="samples of the gateway")


def test_the_status_page_is_served(shared_agent: Agent) -> None:
    root = shared_agent.http("GET", "/")
    assert (root.status, root.headers["location"]) == (301, "/ui/")
    for path in ("/ui/", "/ui/dc1/services"):
        page = shared_agent.http("GET", path)
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b"<title>" in page.body
