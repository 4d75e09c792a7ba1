"""DNS over the agent cache: what it keeps fresh is asked for once, and again when the cache says that it has ended."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import trio

from services.dns_frontend.answers import Rules
from services.dns_frontend.known_replies import KnownReplies, KnownReply, Replies
from services.dns_frontend.lane import Lane
from services.dns_frontend.recursors import Recursors
from services.dns_frontend.sources import Reading
from shared import many_reads

QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x07service\x06consul\x00\x00\x01\x00\x01"


class FakeCache:
    """rpc_core with an agent cache that has one instance of the service. number, age_s: of its value."""

    def __init__(self) -> None:
        self.asked = 0
        self.hit, self.age_s, self.number, self.address = True, 0.0, 1, "10.0.0.1"
        self.ended: Callable[[Any], None] = lambda numbers: None
        self.down: Callable[[], None] = lambda: None

    def subscribe(self, topic: str, callback: Callable[[Any], None]) -> None:
        assert topic == "cache"
        self.ended = callback

    def on_down(self, callback: Callable[[], None]) -> None:
        self.down = callback

    async def call(self, method: str, payload: Any, **_options: Any) -> Any:
        assert (method, payload["Type"]) == ("Agent.CacheGet", "health-services")
        self.asked += 1
        node = {"Node": "n", "Address": self.address, "Datacenter": "dc1"}
        service = {"ID": "web", "Service": "web", "Port": 80}
        reply = {"Nodes": [{"Node": node, "Service": service, "Checks": []}], "Index": 7, "LastContact": 0}
        return [self.hit, self.age_s, self.number, many_reads.pack(reply)]


class Asker:
    """A lane, and a client of it."""

    def __init__(self, cache: FakeCache, server: socket.socket, client: socket.socket) -> None:
        self.cache, self.client, self.server = cache, client, server
        self.lane = Lane(
            Rules("dc1"),
            Reading("dc1", "n", use_cache=True, max_stale_s=10.0),
            Recursors([], 1.0),
            cast(Any, cache),
            None,
            None,
            random.Random(1),
            rpc_timeout_s=1.0,
            node_name="n",
        )

    async def address(self) -> str:
        self.client.sendto(b"id" + QUESTION, self.server.getsockname())
        with trio.fail_after(30):
            await trio.lowlevel.wait_readable(self.client)
        return socket.inet_ntoa(self._first_address())

    def _first_address(self) -> bytes:
        data = self.client.recv(4096)
        at = data.index(b"\x00\x04", len(QUESTION) + 2)
        return data[at + 2 : at + 6]


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for sock in (server, client):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        made = Asker(FakeCache(), server, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.lane.serve_udp, server)
            yield made
            nursery.cancel_scope.cancel()


async def test_what_is_kept_fresh_is_asked_for_once(asker: Asker) -> None:
    assert [await asker.address() for _ in range(3)] == ["10.0.0.1"] * 3
    assert asker.cache.asked == 1


async def test_what_has_ended_is_asked_for_again(asker: Asker) -> None:
    await asker.address()
    asker.cache.number, asker.cache.address = 2, "10.0.0.2"
    asker.cache.ended([1])

    assert await asker.address() == "10.0.0.2"
    asker.cache.ended([1])
    assert await asker.address() == "10.0.0.2"
    assert asker.cache.asked == 2, "the end of the old value says nothing about the new one"


async def test_without_word_from_the_cache_nothing_is_trusted(asker: Asker) -> None:
    await asker.address()
    asker.cache.down()
    await asker.address()

    assert asker.cache.asked == 2


@pytest.mark.parametrize(("hit", "age_s"), [(False, 0.0), (True, 3.0)])
async def test_what_is_not_kept_fresh_is_asked_for_each_time(asker: Asker, hit: bool, age_s: float) -> None:
    asker.cache.hit, asker.cache.age_s = hit, age_s
    for _ in range(2):
        await asker.address()

    assert asker.cache.asked == 2


def known(number: int, size: int = 1) -> KnownReply:
    return KnownReply("health-services", number, {"n": number}, size, 100.0)


def test_replies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.dns_frontend.known_replies.BYTES_MAX", 10)
    replies, first = KnownReplies(), known(1, 6)
    replies.put("a", first)
    replies.put("b", known(2, 6))

    assert replies.get("a") is None
    assert first.trusted_until == 0.0, "whoever holds it sees that it is not looked after any more"
    assert len(replies) == 1


def test_a_known_reply_is_found_as_long_as_it_is_trusted() -> None:
    replies = KnownReplies()
    replies.put("a", known(1))

    at_hand = Replies(replies, now=99.0)
    assert at_hand["a"] == {"n": 1}
    assert at_hand.only_known
    with pytest.raises(KeyError):
        Replies(replies, now=100.0)["a"]
