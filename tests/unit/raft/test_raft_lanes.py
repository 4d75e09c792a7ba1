"""Lanes to other servers over real sockets: when an answer is given up, and when not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from services.raft_node import peers, wire
from services.raft_node.core import events as ev
from services.raft_node.core.messages import AppendEntries, AppendEntriesReply
from services.raft_node.core.types import VOTER, Server

TIMEOUT_S = 1.0
DEADLINE_S = 30
STALLS = 5
"""Which of two tasks that are both due trio runs first is random."""


class Follower:
    """Answers every request at once, in a thread of its own."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.answered = threading.Semaphore(0)
        self.silent = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        decoder = wire.RequestDecoder()
        data = connection.recv(65536)[1:]
        while not self.silent:
            for _request in decoder.feed(data) if data else ():
                connection.sendall(wire.encode_answer(AppendEntriesReply(1, 1, True)))
                self.answered.release()
            data = connection.recv(65536)
            if not data:
                return


@pytest.fixture
def follower() -> Iterator[Follower]:
    made = Follower()
    yield made
    made.listener.close()


class Exchange:
    """One lane and what became of its requests."""

    def __init__(self, follower: Follower) -> None:
        self.replies: list[object] = []
        self.lane = peers._Lane(
            Server("b", follower.address, VOTER), self._replied, peers.connect_plain, timeout_s=TIMEOUT_S
        )

    def _replied(self, event: ev.Event) -> None:
        assert isinstance(event, ev.RpcReply)
        self.replies.append(event.reply)

    def ask(self) -> None:
        self.lane.offer(ev.Send(len(self.replies), self.lane.server, AppendEntries(1, "a"), True))

    async def replied(self, count: int) -> None:
        with trio.fail_after(DEADLINE_S):
            while len(self.replies) < count:
                await trio.sleep(0.005)


@asynccontextmanager
async def exchanging(follower: Follower) -> AsyncIterator[Exchange]:
    """A lane with a connection on which one request was answered."""
    exchange = Exchange(follower)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(exchange.lane.run)
        exchange.ask()
        await exchange.replied(1)
        yield exchange
        nursery.cancel_scope.cancel()


async def test_an_answer_that_came_while_the_process_stood_still_is_taken(follower: Follower) -> None:
    async with exchanging(follower) as exchange:
        assert follower.answered.acquire(timeout=DEADLINE_S)
        connection = exchange.lane._outgoing
        for number in range(STALLS):
            exchange.ask()
            assert follower.answered.acquire(timeout=DEADLINE_S)
            time.sleep(TIMEOUT_S * 1.1)  # noqa: ASYNC251  the loop has to stand still
            await exchange.replied(number + 2)
        assert None not in exchange.replies
        assert exchange.lane._outgoing is connection


async def test_an_answer_that_does_not_come_ends_the_connection(follower: Follower) -> None:
    async with exchanging(follower) as exchange:
        follower.silent = True
        exchange.ask()  # answered still: it was asked while the follower waited for it
        await exchange.replied(2)
        started = trio.current_time()
        exchange.ask()
        await exchange.replied(3)
        assert exchange.replies[2] is None
        assert trio.current_time() - started >= TIMEOUT_S
