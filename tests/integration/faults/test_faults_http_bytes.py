"""Odd bytes on 8500 get the answers the real Consul gives, or a refusal; never a second reading."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul
from tests.integration.faults import http_cases as cases
from tests.integration.faults.raw import ask, comparable, connected, read_to_end

SMUGGLED = b"PUT /v1/kv/smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


@pytest.mark.real_consul
@pytest.mark.parametrize(
    ("requests", "ends", "half_close"),
    [
        (cases.REFUSED_AS_BY_CONSUL, True, False),
        (cases.SERVED_AS_BY_CONSUL, False, False),
        (cases.CUT_OFF, True, True),
    ],
    ids=["refused", "served", "cut off"],
)
def test_odd_requests_are_answered_as_by_the_real_consul(
    agent: Agent, consul: RealConsul, requests: dict[str, bytes], ends: bool, half_close: bool
) -> None:
    def both(name: str) -> tuple[str, bytes, bytes]:
        ours, theirs = (
            comparable(ask(address, 8500, requests[name], ends=ends, half_close=half_close)[0])
            for address in (agent.address, consul.address)
        )
        return name, ours, theirs

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(both, requests))
    different = {name: (ours[:300], theirs[:300]) for name, ours, theirs in answers if ours != theirs}
    assert not different


@pytest.mark.parametrize("name", cases.STRICTER)
def test_what_can_be_read_in_two_ways_is_refused_and_what_follows_is_no_request(agent: Agent, name: str) -> None:
    answer, ended = ask(agent.address, 8500, cases.STRICTER[name] + SMUGGLED, ends=True)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert ended
    assert agent.http("GET", "/v1/kv/smuggled").status == 404


@pytest.mark.parametrize("name", cases.REFUSED_AS_BY_CONSUL)
def test_nothing_behind_a_refusal_is_a_request(agent: Agent, name: str) -> None:
    with connected(agent.address, 8500) as sock:
        try:
            sock.sendall(cases.REFUSED_AS_BY_CONSUL[name] + SMUGGLED)
        except OSError:
            return
        answer, ended = read_to_end(sock, PATIENCE_S)
    assert ended
    assert agent.http("GET", "/v1/kv/smuggled").status == 404, answer
