"""Clients that trickle, do not read, ask for too much or come in crowds: the others are served, memory is bounded."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.agents import PATIENCE_S, Agent, wait_until
from tests.integration.faults.processes import bounded, memory_kib
from tests.integration.faults.raw import read_to_end
from tests.promises import within_s

SERVED_WITHIN_S = 10.0
"""An innocent client is answered in this time, on a busy machine; usually it takes a thousandth of it."""
WIDE_BYTES = 500_000


@pytest.fixture(scope="module")
def wide(agent: Agent) -> str:
    """Path of an answer of 2.7 MB, which is rendered for every request."""
    for number in range(4):
        assert agent.http("PUT", f"/v1/kv/wide/{number}", bytes(WIDE_BYTES)).status == 200
    return "/v1/kv/wide/?recurse"


@contextlib.contextmanager
def crowd(agent: Agent, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """`count` connections that have sent `data`, as far as the agent takes it, and read nothing."""
    agent.wait_quiet(8500)  # those of an earlier crowd would count for the limit
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(PATIENCE_S)
            sock.connect((agent.address, 8500))
            sock.settimeout(0)
            socks.append(sock)
            left = memoryview(data)
            with contextlib.suppress(OSError):
                while left:
                    left = left[sock.send(left) :]
        yield socks


def served(agent: Agent, times: int = 5) -> None:
    """Somebody else, from an address of its own, asks now and then."""
    for _ in range(times):
        own = (agent.address, 0)
        connection = http.client.HTTPConnection(agent.address, 8500, timeout=PATIENCE_S, source_address=own)
        started = time.monotonic()
        connection.request("GET", "/v1/status/leader")
        assert connection.getresponse().status == 200
        assert time.monotonic() - started < within_s(SERVED_WITHIN_S)
        connection.close()
        time.sleep(0.05)  # the questions come spread over the time of the load


def test_pipelines_of_large_answers_nobody_reads(agent: Agent, wide: str) -> None:
    """Per connection no more than an answer or two is worked out ahead of the reader."""
    request = f"GET {wide} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with bounded(agent, grows_kib=48_000, lines=20):
        with crowd(agent, 70, request * 32):
            served(agent)
            wait_until(lambda: memory_kib(agent)["http_gateway"] < 220_000, what="the surplus to be let go")
            served(agent)
        served(agent)


def test_half_heads_hold_up_nobody(agent: Agent) -> None:
    with bounded(agent, grows_kib=16_000, lines=20):
        with crowd(agent, 180, b"GET /v1/kv/slow HTTP/1.1\r\nHost: a\r\nX: ") as socks:
            for _ in range(5):
                for sock in socks:
                    sock.send(b"x")
                served(agent, 1)
        served(agent)


def test_heads_of_the_greatest_length_that_never_end(agent: Agent) -> None:
    """180 times 1 MiB is more than the gateway keeps of requests that are not complete: it lets some go."""
    with bounded(agent, grows_kib=32_000, lines=20):
        with crowd(agent, 180, b"GET /v1/kv/long HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1_000_000):
            served(agent)
            wait_until(lambda: memory_kib(agent)["http_gateway"] < 160_000, what="the surplus to be let go")
            served(agent)
        served(agent)


def test_half_bodies_hold_up_nobody(agent: Agent) -> None:
    """After the large answers above: the C library must not keep such blocks for later."""
    head = b"PUT /v1/kv/half HTTP/1.1\r\nHost: a\r\nContent-Length: 512000\r\n\r\n"
    with bounded(agent, grows_kib=32_000, lines=20):
        with crowd(agent, 180, head + bytes(500_000)):
            served(agent)
            wait_until(lambda: memory_kib(agent)["http_gateway"] < 160_000, what="the surplus to be let go")
        served(agent)
    assert agent.http("GET", "/v1/kv/half").status == 404


def test_a_crowd_of_one_address_leaves_room_for_others(agent: Agent) -> None:
    """http_max_conns_per_client is 200 by default: those beyond are closed at once, in silence."""
    with crowd(agent, 300, b"GET /v1/status/leader HTTP/1.1\r\nHost: a\r\n") as socks:
        served(agent)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.send(b"Connection: close\r\n\r\n")
        answered = sum(read_to_end(sock, PATIENCE_S)[0].startswith(b"HTTP/1.1 200 ") for sock in socks)
    assert answered == 200
    wait_until(lambda: agent.http("GET", "/v1/status/leader").status == 200, what="room for this address")


def test_a_client_that_reads_slowly_gets_all_of_it(agent: Agent, wide: str) -> None:
    with crowd(agent, 1, f"GET {wide} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()) as (sock,):
        time.sleep(0.2)  # all buffers on the way fill up, and the agent has to wait for its reader
        answer, ended = read_to_end(sock, PATIENCE_S)
    assert ended
    assert len(answer) > 4 * WIDE_BYTES
    assert answer.endswith(b"]\n\r\n0\r\n\r\n")  # the last of its chunks, as of answers too large for a length
