"""Blocking queries: they wake when the answer changes, end when the wait is over, and cost nothing meanwhile."""

from __future__ import annotations

import contextlib
import re
import socket
import time

import pytest

from tests.agents import Agent, wait_settled, wait_until
from tests.integration.http.http_client import connected, elapsed_s, get, read_answer

_DATE = re.compile(rb"Date: [^\r]+")


def index_of(agent: Agent, path: str) -> int:
    return int(agent.http("GET", path).headers["x-consul-index"])


def test_a_waiter_is_answered_when_its_key_changes(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/block/one", b"1")
    index = index_of(shared_agent, "/v1/kv/block/one")
    with connected(shared_agent) as sock:
        sock.sendall(get(f"/v1/kv/block/one?raw&index={index}&wait=30s"))
        shared_agent.http("PUT", "/v1/kv/block/other", b"x")
        started = time.monotonic()
        shared_agent.http("PUT", "/v1/kv/block/one", b"2")
        head, body, _ = read_answer(sock)
        assert body == b"2"
        assert elapsed_s(started) < 20  # long before the wait is over
        assert int(head.split(b"X-Consul-Index: ")[1].split(b"\r\n")[0]) > index


def test_a_wait_ends_with_the_old_answer(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/block/still", b"1")
    index = index_of(shared_agent, "/v1/kv/block/still")
    started = time.monotonic()
    answer = shared_agent.http("GET", f"/v1/kv/block/still?index={index}&wait=300ms")
    assert 0.3 <= elapsed_s(started) < 20
    assert answer.status == 200
    assert int(answer.headers["x-consul-index"]) == index


@pytest.mark.parametrize(
    "path", ["/v1/catalog/nodes", "/v1/health/state/any", "/v1/session/list", "/v1/kv/block/?recurse"]
)
def test_who_asks_the_same_again_waits_again(shared_agent: Agent, path: str) -> None:
    """What one wait ended with is no ready answer for the next one."""
    wait_settled(shared_agent)
    question = f"{path}{'&' if '?' in path else '?'}index={index_of(shared_agent, path)}&wait=300ms"
    for _ in range(3):
        started = time.monotonic()
        with connected(shared_agent) as sock:
            sock.sendall(get(question))
            read_answer(sock)
        assert elapsed_s(started) >= 0.3


def test_a_missing_key_can_be_waited_for(shared_agent: Agent) -> None:
    index = index_of(shared_agent, "/v1/kv/block/future")
    with connected(shared_agent) as sock:
        sock.sendall(get(f"/v1/kv/block/future?raw&index={index}&wait=30s"))
        shared_agent.http("PUT", "/v1/kv/block/future", b"now")
        bodies = read_answer(sock)[1]
        assert bodies in (b"now", b"")  # an index step of the table may wake it early


def test_all_waiters_of_one_key_get_the_same_answer(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/block/many", b"1")
    index = index_of(shared_agent, "/v1/kv/block/many")
    shared_agent.wait_quiet(shared_agent.http_port)
    with contextlib.ExitStack() as stack:
        socks: list[socket.socket] = [stack.enter_context(connected(shared_agent)) for _ in range(80)]
        for sock in socks:
            sock.sendall(get(f"/v1/kv/block/many?index={index}&wait=30s"))
        shared_agent.http("PUT", "/v1/kv/block/other", b"x")
        shared_agent.http("PUT", "/v1/kv/block/many", b"2")
        answers = {(_DATE.sub(b"Date", head), body) for head, body, _ in map(read_answer, socks)}
        assert len(answers) == 1


def test_a_prefix_and_a_service_wake_their_waiters(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/block/tree/a", b"1")
    node = {"Node": "block-node", "Address": "10.9.9.9", "Service": {"Service": "block-service", "Port": 1}}
    shared_agent.http("PUT", "/v1/catalog/register", node)
    tree = index_of(shared_agent, "/v1/kv/block/tree/?recurse")
    service = index_of(shared_agent, "/v1/health/service/block-service")
    with connected(shared_agent) as on_tree, connected(shared_agent) as on_service:
        on_tree.sendall(get(f"/v1/kv/block/tree/?keys&index={tree}&wait=30s"))
        on_service.sendall(get(f"/v1/health/service/block-service?index={service}&wait=30s"))
        shared_agent.http("DELETE", "/v1/kv/block/tree/?recurse")
        assert b"404 Not Found" in read_answer(on_tree)[0]
        shared_agent.http("PUT", "/v1/catalog/deregister", {"Node": "block-node"})
        assert read_answer(on_service)[1].strip() == b"[]"


def test_a_client_that_has_stopped_sending_does_not_keep_its_wait(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/block/half", b"1")
    index = index_of(shared_agent, "/v1/kv/block/half")
    with connected(shared_agent) as sock:
        sock.sendall(get(f"/v1/kv/block/half?raw&index={index}&wait=60s"))
        sock.shutdown(socket.SHUT_WR)
        assert read_answer(sock)[1] == b"1"


def test_waiters_do_not_notice_a_restart_of_rpc_core(shared_agent: Agent) -> None:
    shared_agent.http("PUT", "/v1/kv/block/kill", b"1")
    index = index_of(shared_agent, "/v1/kv/block/kill")
    with connected(shared_agent) as sock:
        sock.sendall(get(f"/v1/kv/block/kill?raw&index={index}&wait=30s"))
        shared_agent.kill("rpc_core")
        # A write that was on its way when rpc_core died has an unknown outcome: it is sent again.
        wait_until(lambda: shared_agent.http("PUT", "/v1/kv/block/kill", b"2").status == 200)
        assert read_answer(sock)[1] == b"2"
