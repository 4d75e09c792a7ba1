"""ChangeFeed over a real Unix socket: it rests while nobody waits, and nobody misses a change by that."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from shared.change_feed import TOPIC, ChangeFeed
from shared.ipc import Link, Server
from shared.state.watch import WatchHub

MANY = 100
WATCHED = ("kv", "a")
DEADLINE_S = 30


class Neighbour:
    """raft_node as far as the feed sees it, and the process that is fed."""

    def __init__(self, path: str) -> None:
        self.server = Server(path, name="raft_node")
        self.server.fast("Echo", lambda request: request.reply(request.payload))
        self.link = Link(path, name="test")
        self.hub = WatchHub()
        self.feed = ChangeFeed(self.link, self.hub)
        self.woken = 0

    async def settle(self) -> None:
        """What was sent before has arrived."""
        with trio.fail_after(DEADLINE_S):
            await self.link.call("Echo", timeout_s=DEADLINE_S)

    async def change(self, key: str = "a", times: int = 1) -> None:
        for _ in range(times):
            self.server.publish(TOPIC, [1, [["kv", key]]])
            await self.settle()

    def subscribed(self) -> bool:
        return bool(self.server._handlers.topics.get(TOPIC))

    def wake(self) -> None:
        self.woken += 1


@asynccontextmanager
async def fed(directory: Path) -> AsyncIterator[Neighbour]:
    one = Neighbour(str(directory / "raft.sock"))
    async with trio.open_nursery() as nursery:
        await nursery.start(one.server.run)
        await nursery.start(one.link.run)
        await one.settle()
        yield one
        nursery.cancel_scope.cancel()


async def test_records_are_not_sent_where_nobody_waits_for_long(tmp_path: Path) -> None:
    async with fed(tmp_path) as one:
        assert one.subscribed()
        await one.change(times=MANY)
        assert not one.subscribed()


async def test_whoever_registers_while_it_rests_looks_again_and_is_woken_by_what_follows(tmp_path: Path) -> None:
    async with fed(tmp_path) as one:
        await one.change(times=MANY)
        registration = one.hub.register([WATCHED], one.wake)
        await one.settle()
        assert one.woken == 1, "a change from before the feed has begun again is in no record"
        await one.change("b")
        assert one.woken == 1
        await one.change("a", times=2)
        assert one.woken == 3
        registration.cancel()
        await one.change(times=MANY)
        assert not one.subscribed()


async def test_it_does_not_rest_while_anybody_waits_or_comes_back(tmp_path: Path) -> None:
    async with fed(tmp_path) as one:
        for _ in range(MANY):
            one.hub.register([WATCHED], one.wake).cancel()
            await one.change(times=2)
            with_one = one.hub.register([WATCHED], one.wake)
            await one.change()
            with_one.cancel()
        assert one.subscribed()
        assert one.woken >= MANY


async def test_it_begins_again_where_the_neighbour_is_away(tmp_path: Path) -> None:
    """Registered between two lives of the neighbour: woken when the feed has begun in the second."""
    path = str(tmp_path / "raft.sock")
    async with trio.open_nursery() as nursery:
        link, hub, woken = Link(path, name="test"), WatchHub(), trio.Event()
        ChangeFeed(link, hub)
        await nursery.start(link.run)
        hub.register([WATCHED], woken.set)
        await nursery.start(Server(path, name="raft_node").run)
        with trio.fail_after(DEADLINE_S):
            await woken.wait()
        nursery.cancel_scope.cancel()


async def test_it_begins_again_where_the_neighbour_has_not_greeted_yet(tmp_path: Path) -> None:
    """Registered between the connection and the greeting of a neighbour that is busy."""
    path = str(tmp_path / "raft.sock")
    woken = trio.Event()
    async with trio.open_nursery() as nursery:
        link, hub = Link(path, name="test"), WatchHub()
        ChangeFeed(link, hub)._rest()
        server = Server(path, name="raft_node")
        admit = server._admit

        def admit_late(sock: socket.socket, connections: trio.Nursery) -> None:
            assert not link.connected
            hub.register([WATCHED], woken.set)
            admit(sock, connections)

        server._admit = admit_late  # type: ignore[method-assign]
        await nursery.start(link.run)
        await nursery.start(server.run)
        link.post("Echo", None, lambda value, error: None, timeout_s=DEADLINE_S)
        with trio.fail_after(DEADLINE_S):
            await woken.wait()
        nursery.cancel_scope.cancel()
