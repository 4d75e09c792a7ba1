"""Answers given on the short ways are those of the full way, and as fresh."""

from __future__ import annotations

import re

import pytest

from tests.agents import Agent
from tests.integration.http.http_client import connected, get, put, read_answer

_DATE = re.compile(rb"Date: [^\r]+")


def exchange(agent: Agent, *requests: bytes) -> list[tuple[bytes, bytes]]:
    """(head without its date, body) of the answers to requests sent one after the other on one connection."""
    answers = []
    with connected(agent) as sock:
        for request in requests:
            sock.sendall(request)
            head, body, _ = read_answer(sock)
            answers.append((_DATE.sub(b"Date", head), body))
    return answers


@pytest.mark.parametrize("fields", [(), ("Accept-Encoding: gzip",)])
@pytest.mark.parametrize("mode", ["", "stale", "consistent", "stale=", "consistent="])
def test_a_key_is_shown_alike_on_every_way(shared_agent: Agent, mode: str, fields: tuple[str, ...]) -> None:
    shared_agent.http("PUT", "/v1/kv/short/shown?flags=7", b'some "value"')
    short = get(f"/v1/kv/short/shown?{mode}", *fields)
    full = get(f"/v1/kv/short/shown?{mode}&unknown", *fields)
    first, second, third, on_the_full_way = exchange(shared_agent, short, short, short, full)
    assert first == second == third == on_the_full_way


def test_a_write_is_confirmed_alike_on_every_way(shared_agent: Agent) -> None:
    short, full = exchange(shared_agent, put("/v1/kv/short/a", b"1"), put("/v1/kv/short/a?flags=0", b"1"))
    assert short == full


@pytest.mark.parametrize("mode", ["", "?stale", "?consistent"])
def test_a_repeated_read_shows_each_write_at_once(shared_agent: Agent, mode: str) -> None:
    path = "/v1/kv/short/fresh"
    requests = [each for number in range(50) for each in (put(path, b"%d" % number), get(f"{path}{mode}"))]
    indexes = [
        int(re.search(rb'"ModifyIndex": (\d+)', body)[1])  # type: ignore[index]
        for _, body in exchange(shared_agent, *requests)[1::2]
    ]
    assert len(set(indexes)) == 50
    assert indexes == sorted(indexes)
    shared_agent.http("DELETE", path)
    ((head, _),) = exchange(shared_agent, get(f"{path}{mode}"))
    assert head.startswith(b"HTTP/1.1 404 ")


def test_a_repeated_catalog_read_shows_each_change_at_once(shared_agent: Agent) -> None:
    path = "/v1/health/service/short"
    with connected(shared_agent) as sock:
        for port in range(1, 20):
            body = b'{"Node": "n", "Address": "1.2.3.4", "Service": {"Service": "short", "Port": %d}}' % port
            sock.sendall(put("/v1/catalog/register", body))
            assert read_answer(sock)[1].strip() == b"true"
            for _ in range(3):
                sock.sendall(get(path))
                assert b'"Port": %d,' % port in read_answer(sock)[1]


def test_a_long_pipeline_goes_on_after_a_write_it_had_to_wait_for(shared_agent: Agent) -> None:
    with connected(shared_agent) as sock:
        sock.sendall(put("/v1/kv/short/pipe", b"x") + get("/v1/kv/short/pipe?raw") * 300)
        rest = b""
        for number in range(301):
            _, body, rest = read_answer(sock, rest)
            assert body.strip() == (b"x" if number else b"true")
