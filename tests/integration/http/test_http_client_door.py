"""Where a client's writes go: to the door of the leader, as servers name it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from services.http_gateway import client_door
from services.http_gateway.client_door import ClientDoor
from shared.ipc import IpcError, RemoteError, Request, frames
from tests.integration.http.door_server import DoorServer, RawDoor
from tests.integration.http.test_http_server_line import World, world
from tests.integration.rpc.rpc_neighbours import until
from tests.loopback import LoopbackPool

APPLY = "Raft.Apply"
FOR_EVER_S = 3600.0


class Client:
    """A client's door, with the line and the rpc_core beside it."""

    def __init__(self, made: World, own: str) -> None:
        self.made = made
        self.door = ClientDoor(made.line, own, lambda: None)
        self.door.may_pass, self.door.hold_timeout_s = True, 7.0
        self.outcomes: list[tuple[Any, IpcError | None] | str] = []

    def post(self) -> bool:
        return self.door.post(
            APPLY,
            b"a command",
            lambda value, error: self.outcomes.append((value, error)),
            lambda left_s: self.outcomes.append("otherwise"),
            timeout_s=FOR_EVER_S,
        )

    async def posted(self) -> None:
        """As soon as there is a connection."""
        await until(self.post)

    async def outcome(self) -> Any:
        """What came of one more call; the text of an error."""
        before = len(self.outcomes)
        await self.posted()
        await until(lambda: len(self.outcomes) > before)
        assert len(self.outcomes) == before + 1
        last = self.outcomes[-1]
        if isinstance(last, str):
            return last
        value, error = last
        assert error is None or isinstance(error, RemoteError)
        return value if error is None else str(error)


class Log(DoorServer):
    """A server whose log takes what comes, refuses it, breaks or hangs. taken: how many calls have come."""

    def __init__(self, host: str) -> None:
        super().__init__(host, Apply=self._apply)
        self.taken = 0
        self.answer: Callable[[Request], None] = lambda request: request.reply([7, True])

    def _apply(self, request: Request) -> None:
        self.taken += 1
        self.answer(request)

    def refuses(self, code: str, data: Any = None) -> None:
        self.answer = lambda request: request.fail(code, "node is not the leader", data)

    def names(self, leader: str, *, has_door: bool = True) -> None:
        self.refuses("not_leader", {"leader": leader, "door": has_door})

    def breaks(self) -> None:
        self.answer = lambda request: request.fail("rpc", "it broke")

    def hangs(self) -> None:
        self.answer = lambda request: None


DONE = [7, True]


@asynccontextmanager
async def client_of(directory: Path, loopback: LoopbackPool, *servers: DoorServer | RawDoor) -> AsyncIterator[Client]:
    own = loopback()
    async with world(directory, own) as made, trio.open_nursery() as nursery:
        for one in servers:
            await nursery.start(one.run)
        client = Client(made, own)
        nursery.start_soon(client.door.run)
        await until(lambda: client.door._token is not None)
        yield client
        nursery.cancel_scope.cancel()


async def test_a_client_writes_at_the_door_of_the_server_it_is_named(loopback: LoopbackPool, tmp_path: Path) -> None:
    first, second = Log(loopback()), Log(loopback())
    async with client_of(tmp_path, loopback, first, second) as client:
        assert client.door.server() == ""
        assert not client.post()
        for server in (first, second):
            await client.made.uses(server.address)
            assert await client.outcome() == DONE
            assert (server.taken, len(server.connections)) == (1, 1)
        assert not client.made.told


async def test_a_server_that_knows_no_many_reads_has_no_door(loopback: LoopbackPool, tmp_path: Path) -> None:
    server = Log(loopback())
    async with client_of(tmp_path, loopback, server) as client:
        await client.made.uses(server.address, knows_many_reads=False)
        assert client.door.server() == ""
        assert not client.post()
        await client.made.uses(server.address, knows_many_reads=True)
        await until(lambda: client.door.server() == server.address)
        assert await client.outcome() == DONE


async def test_a_server_that_does_not_lead_says_where_to_write(loopback: LoopbackPool, tmp_path: Path) -> None:
    named, leader, next_leader = Log(loopback()), Log(loopback()), Log(loopback())
    async with client_of(tmp_path, loopback, named, leader, next_leader) as client:
        await client.made.uses(named.address)
        named.names(leader.address)
        assert await client.outcome() == "otherwise"
        for _ in range(3):
            assert client.door.server() == leader.address
            assert await client.outcome() == DONE
        leader.names(next_leader.address)  # it has lost its office
        assert await client.outcome() == "otherwise"
        assert client.door.server() == next_leader.address
        assert await client.outcome() == DONE
        assert (named.taken, leader.taken, next_leader.taken) == (1, 4, 1)
        next_leader.names(named.address)
        assert await client.outcome() == "otherwise"
        assert client.door.server() == named.address
        assert not client.made.told  # refusals say nothing against a server


REFUSALS: dict[str, Callable[[Log, str], None]] = {
    "a leader without a door": lambda server, leader: server.names(leader, has_door=False),
    "no leader": lambda server, leader: server.refuses("no_leader", {"leader": None}),
    "itself": lambda server, leader: server.names(server.address),
    "nobody": lambda server, leader: server.refuses("not_leader"),
    "a method it does not know": lambda server, leader: server.refuses("unknown_method"),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
async def test_where_no_leader_has_a_door_no_door_is_asked_for_a_while(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[Log, str], None]
) -> None:
    monkeypatch.setattr(client_door, "PAUSE_S", FOR_EVER_S)
    named, leader, other = Log(loopback()), Log(loopback()), Log(loopback())
    async with client_of(tmp_path, loopback, named, leader, other) as client:
        await client.made.uses(named.address)
        refuse(named, leader.address)
        assert await client.outcome() == "otherwise"
        assert client.door.server() == ""
        assert not client.post()
        await client.made.uses(other.address)  # which may know better
        assert await client.outcome() == DONE
        assert (named.taken, leader.taken) == (1, 0)
        assert not client.made.told


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
async def test_it_is_asked_again_after_the_pause(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[Log, str], None]
) -> None:
    monkeypatch.setattr(client_door, "PAUSE_S", 0.02)
    named = Log(loopback())
    async with client_of(tmp_path, loopback, named) as client:
        await client.made.uses(named.address)
        refuse(named, "127.0.0.9:8300")
        assert await client.outcome() == "otherwise"
        assert await client.outcome() == "otherwise"
        named.answer = lambda request: request.reply(DONE)
        assert await client.outcome() == DONE
        assert named.taken == 3


async def led(client: Client, named: Log, leader: str) -> None:
    """The client writes to `leader` from now on."""
    await client.made.uses(named.address)
    named.names(leader)
    assert await client.outcome() == "otherwise"
    assert client.door.server() == leader


async def test_another_named_server_makes_it_forget_the_leader(loopback: LoopbackPool, tmp_path: Path) -> None:
    named, leader, other = Log(loopback()), Log(loopback()), Log(loopback())
    async with client_of(tmp_path, loopback, named, leader, other) as client:
        await led(client, named, leader.address)
        await client.made.uses(other.address)
        assert client.door.server() == other.address
        assert await client.outcome() == DONE
        await client.made.uses(named.address)
        assert client.door.server() == named.address
        assert (named.taken, leader.taken, other.taken) == (1, 0, 1)


async def test_the_end_of_the_leaders_connection_leaves_writes_unknown_and_leads_back(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    named, leader = Log(loopback()), Log(loopback())
    async with client_of(tmp_path, loopback, named, leader) as client:
        await led(client, named, leader.address)
        leader.hangs()
        await client.posted()
        assert client.post()
        await until(lambda: leader.taken == 2)
        named.answer = lambda request: request.reply(DONE)
        leader.cut()
        await until(lambda: len(client.outcomes) == 3)
        for outcome in client.outcomes[1:]:
            assert str(outcome[1]) == "rpc error making call: EOF"
        assert client.door.server() == named.address
        assert named.taken == 1  # nothing was repeated
        assert await client.outcome() == DONE
        assert (named.taken, leader.taken) == (2, 2)
        assert not client.made.told  # which server is named is no question of the leader's


async def test_a_leader_that_cannot_be_reached_leads_back(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause: the named server would say the same again."""
    monkeypatch.setattr(client_door, "PAUSE_S", 0.02)
    named, nobody = Log(loopback()), f"{loopback()}:8300"
    async with client_of(tmp_path, loopback, named) as client:
        await led(client, named, nobody)

        def is_back() -> bool:
            server = client.door.server()
            if server == nobody:
                assert not client.post()
            return server == named.address

        await until(is_back)
        assert (named.taken, len(client.outcomes)) == (1, 1)
        named.answer = lambda request: request.reply(DONE)
        assert await client.outcome() == DONE
        assert not client.made.told


async def test_an_error_of_the_leader_is_the_outcome_of_one_write(loopback: LoopbackPool, tmp_path: Path) -> None:
    named, leader = Log(loopback()), Log(loopback())
    async with client_of(tmp_path, loopback, named, leader) as client:
        await led(client, named, leader.address)
        leader.breaks()
        assert await client.outcome() == "rpc error making call: it broke"
        assert client.door.server() == leader.address
        assert (named.taken, leader.taken) == (1, 1)
        assert not client.made.told


@pytest.mark.usefixtures("watched_closely")
async def test_a_leader_that_says_nothing_leads_back(loopback: LoopbackPool, tmp_path: Path) -> None:
    named, leader = Log(loopback()), RawDoor(loopback())
    async with client_of(tmp_path, loopback, named, leader) as client:
        await led(client, named, leader.address)
        await client.posted()
        await until(lambda: client.door.server() == named.address)
        assert client.outcomes == ["otherwise"]  # whether the write is done only its own server can tell
        assert not client.made.told
        await leader.say((frames.RESULT, leader.calls[0][1], DONE))
        await until(lambda: len(client.outcomes) == 2)
        assert client.outcomes[1] == (DONE, None)


async def test_the_end_of_the_named_servers_connection_is_told(loopback: LoopbackPool, tmp_path: Path) -> None:
    named = Log(loopback())
    async with client_of(tmp_path, loopback, named) as client:
        await client.made.uses(named.address)
        named.hangs()
        await client.posted()
        await until(lambda: named.taken == 1)
        named.cut()
        await until(lambda: client.outcomes)
        [outcome] = client.outcomes
        assert str(outcome[1]) == "rpc error making call: EOF"
        await until(lambda: client.made.told)
        assert client.made.told == [("Agent.ServerFailed", [named.address, APPLY, "rpc error making call: EOF"])]
        assert named.taken == 1


async def test_an_error_of_the_named_server_is_told(loopback: LoopbackPool, tmp_path: Path) -> None:
    named = Log(loopback())
    async with client_of(tmp_path, loopback, named) as client:
        await client.made.uses(named.address)
        named.breaks()
        assert await client.outcome() == "rpc error making call: it broke"
        await until(lambda: client.made.told)
        assert client.made.told == [("Agent.ServerFailed", [named.address, APPLY, "rpc error making call: it broke"])]
        assert client.door.server() == named.address


@pytest.mark.usefixtures("watched_closely")
async def test_a_named_server_that_says_nothing_is_told(loopback: LoopbackPool, tmp_path: Path) -> None:
    named = RawDoor(loopback())
    async with client_of(tmp_path, loopback, named) as client:
        await client.made.uses(named.address)
        await client.posted()
        await until(lambda: client.made.told)
        assert client.made.told[0] == ("Agent.ServerSilent", [named.address])
        assert not client.post()
        assert not client.outcomes
