"""Calls at the doors of raft_nodes: what doors may say, where clients write, whom leaders ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from services.http_gateway import client_door, confirming
from services.http_gateway.client_door import ClientDoor
from services.http_gateway.confirming import Confirming
from shared.ipc import IpcError, RemoteError, Request, frames
from shared.ipc.calls import OnDone
from shared.ipc.remote import LEAVING, VERSION
from shared.server_rpc import door as door_module
from shared.server_rpc import hearing
from shared.server_rpc import pool as server_pool
from shared.server_rpc.door import ANSWER_BYTES_MAX, DOOR_BYTE
from shared.server_rpc.errors import ConnectionEndedError, NotTakenError, RemoteCallError, ServerCallError
from shared.server_rpc.pool import ServerPool
from shared.state.leadership import FOLLOWER, LEADER, NOBODY, Leadership, LeadershipPage
from tests.agents import PATIENCE_S
from tests.integration.http.door_server import DoorServer
from tests.integration.http.test_http_server_line import World, world
from tests.integration.rpc.rpc_neighbours import until
from tests.loopback import LoopbackPool

APPLY = "Raft.Apply"
HELLO = (frames.HELLO, VERSION, "raft_node")
FOR_EVER_S = 3600.0
Held = list[Request]
"""Calls that a door has taken and not answered yet."""


class RawDoor:
    """Says `greeting` to whoever comes, and then what it is told to say. calls: what it has been asked."""

    def __init__(self, host: str, greeting: bytes = frames.encode(HELLO)) -> None:
        self.host, self.address, self._greeting = host, f"{host}:8300", greeting
        self.calls: list[frames.Frame] = []
        self.streams: list[trio.SocketStream] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(8300, host=self.host)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        assert await stream.receive_some(1) == DOOR_BYTE
        self.streams.append(stream)
        decoder = frames.FrameDecoder()
        try:
            await stream.send_all(self._greeting)
            while data := await stream.receive_some(frames.READ_BYTES):
                self.calls += [frame for frame in decoder.feed(bytes(data)) if frame[0] == frames.CALL]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def say(self, *said: Any) -> None:
        """Frames to the caller that came last. It may hang up before it has heard all."""
        await self.say_raw(b"".join(frames.encode(frame) for frame in said))

    async def say_raw(self, data: bytes) -> None:
        try:
            await self.streams[-1].send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


class Outcomes:
    """What came of the calls of a pool, in the order of their ends."""

    def __init__(self, pool: ServerPool, address: str) -> None:
        self.pool, self.address = pool, address
        self.found: list[tuple[str, Any]] = []

    def begin(self, name: str, *, repeatable: bool = False) -> Callable[[], None] | None:
        """Post a call with `name` for a body; what lets go of it, None if it cannot be begun."""

        def on_reply(value: Any, error: ServerCallError | None) -> None:
            self.found.append((name, value if error is None else error))

        return self.pool.begin(self.address, APPLY, name, on_reply, repeatable=repeatable)

    async def begun(self, name: str, *, repeatable: bool = False) -> None:
        """The same, as soon as there is a connection."""
        self.pool.open(self.address)
        await until(lambda: self.begin(name, repeatable=repeatable))

    def errors(self) -> dict[str, str]:
        """Texts of calls that failed as those of a connection that ended."""
        return {name: str(value) for name, value in self.found if isinstance(value, ConnectionEndedError)}


@asynccontextmanager
async def pool_of(own: str, *doors: DoorServer | RawDoor, only_proven: bool = True) -> AsyncIterator[ServerPool]:
    pool = ServerPool(own, only_proven=only_proven, doors=True)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for one in doors:
                await nursery.start(one.run)
            await nursery.start(pool.run)
            yield pool
            nursery.cancel_scope.cancel()


def echo(request: Request) -> None:
    request.reply(request.payload)


@pytest.fixture
def watched_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are looked at often; a door that lives in this process, too, is not silent soon."""
    monkeypatch.setattr(server_pool, "REAP_INTERVAL_S", 0.02)
    for name, value in (("PROBE_AFTER_S", 0.05), ("PROBE_TIMEOUT_S", 1.0)):
        monkeypatch.setattr(hearing, name, value)


# -- what a door may say -----------------------------------------------------------------------------

GREETINGS = {
    "rubbish": b"\xc1\xc1\xc1",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a Consul server's yamux": b"\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
    "another version": frames.encode((frames.HELLO, VERSION + 1, "raft_node")),
    "a version that is none": frames.encode((frames.HELLO, [VERSION], "raft_node")),
    "a short HELLO": frames.encode((frames.HELLO, VERSION)),
    "an answer before HELLO": frames.encode((frames.RESULT, 1, b"")),
    "leaving before HELLO": frames.encode((frames.EVENT, LEAVING, None)),
}
ANSWERS = {
    "rubbish": b"\xc1",
    "a number": frames.encode(7),
    "no kind": frames.encode(()),
    "a kind that is none": frames.encode(("RESULT", 1, None)),
    "an unknown kind": frames.encode((99, 1, None)),
    "HELLO again": frames.encode(HELLO),
    "a call": frames.encode((frames.CALL, 1, "Raft.Term", 1000, None)),
    "an item of a stream": frames.encode((frames.ITEM, 1, None)),
    "another event": frames.encode((frames.EVENT, "leadership", None)),
    "an event without a name": frames.encode((frames.EVENT, [LEAVING], None)),
    "a short result": frames.encode((frames.RESULT, 1)),
    "a short error": frames.encode((frames.ERROR, 1, "rpc")),
    "results that are none": frames.encode((frames.RESULTS, None)),
    "a number for results": frames.encode((frames.RESULTS, 7)),
    "results without values": frames.encode((frames.RESULTS, [[77]])),
    "results with more": frames.encode((frames.RESULTS, [[77, 1, 1]])),
    "results without ids": frames.encode((frames.RESULTS, [7])),
    "an id of a result that is a list": frames.encode((frames.RESULT, [1], None)),
    "an id of results that is a map": frames.encode((frames.RESULTS, [[{1: 1}, None]])),
    "an id of an error that is a list": frames.encode((frames.ERROR, [], "rpc", "", None)),
    "a map whose key is a list": b"\x93\x02\x01\x81\x90\xc0",
    "too deep": b"\x91" * 5000,
    "too long": frames.encode((frames.RESULT, 1, bytes(ANSWER_BYTES_MAX + frames.READ_BYTES + 1))),
    "too many": b"\x92\x0c\xdd\xff\xff\xff\xff",
}


@pytest.mark.parametrize("said", GREETINGS.values(), ids=GREETINGS)
async def test_who_does_not_greet_as_a_door_gets_no_calls(loopback: LoopbackPool, said: bytes) -> None:
    raw = RawDoor(loopback(), said)
    async with pool_of(loopback(), raw) as pool:
        calls = Outcomes(pool, raw.address)
        pool.open(raw.address)
        await until(lambda: raw.streams)
        await until(lambda: not pool.is_dialing(raw.address))
        assert calls.begin("a") is None
        assert not raw.calls


@pytest.mark.parametrize("said", GREETINGS.values(), ids=GREETINGS)
async def test_calls_that_were_sent_before_it_end_with_such_a_greeting(loopback: LoopbackPool, said: bytes) -> None:
    raw = RawDoor(loopback(), b"")
    async with pool_of(loopback(), raw, only_proven=False) as pool:
        calls = Outcomes(pool, raw.address)
        await calls.begun("a")
        await until(lambda: raw.calls)
        await raw.say_raw(said)
        await until(lambda: calls.found)
        assert calls.errors() == {"a": "rpc error making call: EOF"}
        await until(lambda: not pool.is_ready(raw.address))


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS)
async def test_what_is_no_answer_ends_the_connection_with_its_calls_and_nothing_else(
    loopback: LoopbackPool, capfd: pytest.CaptureFixture[str], said: bytes
) -> None:
    raw, held = RawDoor(loopback()), Held()
    good = DoorServer(loopback(), Apply=held.append)
    async with pool_of(loopback(), raw, good) as pool:
        calls, others = Outcomes(pool, raw.address), Outcomes(pool, good.address)
        await calls.begun("a")
        assert calls.begin("b", repeatable=True)
        await others.begun("other")
        await until(lambda: len(raw.calls) == 2 and held)
        await raw.say_raw(said)
        await until(lambda: len(calls.found) == 2)
        assert calls.errors() == dict.fromkeys("ab", "rpc error making call: EOF")
        await until(lambda: not pool.is_ready(raw.address))
        assert not others.found
        held[0].reply("fine")
        await until(lambda: others.found)
        assert others.found == [("other", "fine")]

        await calls.begun("c")  # a new connection, a new chance
        await until(lambda: len(raw.calls) == 3)
        await raw.say((frames.RESULT, raw.calls[2][1], "better"))
        await until(lambda: len(calls.found) == 3)
        assert calls.found[2] == ("c", "better")
        assert len(raw.streams) == 2
    log = capfd.readouterr().err
    assert f"Closing a connection: server={raw.address}" in log
    assert "RPC connection failed" not in log  # as that of a bug would


async def test_the_end_of_a_connection_is_the_end_of_its_calls(loopback: LoopbackPool) -> None:
    raw = RawDoor(loopback())
    async with pool_of(loopback(), raw) as pool:
        calls = Outcomes(pool, raw.address)
        await calls.begun("a")
        await until(lambda: raw.calls)
        await raw.streams[0].aclose()
        await until(lambda: calls.found)
        assert calls.errors() == {"a": "rpc error making call: EOF"}
        await until(lambda: not pool.is_ready(raw.address))


async def test_answers_before_the_nonsense_count(loopback: LoopbackPool) -> None:
    raw = RawDoor(loopback())
    async with pool_of(loopback(), raw) as pool:
        calls = Outcomes(pool, raw.address)
        for name in "abc":
            await calls.begun(name)
        await until(lambda: len(raw.calls) == 3)
        first, second, _ = (call[1] for call in raw.calls)
        await raw.say((frames.RESULT, first, 1), (frames.RESULTS, [[second, 2], 7]))
        await until(lambda: len(calls.found) == 3)
        assert calls.found[:2] == [("a", 1), ("b", 2)]
        assert calls.errors() == {"c": "rpc error making call: EOF"}


async def test_answers_to_calls_that_nobody_made_are_dropped(loopback: LoopbackPool) -> None:
    raw = RawDoor(loopback())
    async with pool_of(loopback(), raw) as pool:
        calls = Outcomes(pool, raw.address)
        await calls.begun("a")
        await until(lambda: raw.calls)
        unknown = [77, -1, 1 << 63, "1", None, b""]
        await raw.say(
            *((frames.RESULT, number, "no") for number in unknown),
            *((frames.ERROR, number, "rpc", "no", None) for number in unknown),
            (frames.RESULTS, [[number, "no"] for number in unknown]),
            (frames.RESULTS, []),
            (frames.RESULT, raw.calls[0][1], "yes"),
            (frames.RESULT, raw.calls[0][1], "and no"),
        )
        assert calls.begin("b")
        await until(lambda: len(raw.calls) == 2)
        await raw.say((frames.RESULT, raw.calls[1][1], "yes"))
        await until(lambda: len(calls.found) == 2)
        assert calls.found == [("a", "yes"), ("b", "yes")]


async def test_an_answer_may_be_as_long_as_it_may_be(loopback: LoopbackPool) -> None:
    long = bytes(ANSWER_BYTES_MAX - 16)
    door = DoorServer(loopback(), Apply=lambda request: request.reply(long))
    async with pool_of(loopback(), door) as pool:
        calls = Outcomes(pool, door.address)
        await calls.begun("a")
        await until(lambda: calls.found)
        assert calls.found == [("a", long)]


@pytest.mark.parametrize(
    ("code", "data", "leader"),
    [
        ("not_leader", {"leader": "127.0.0.9:8300", "door": True}, "127.0.0.9:8300"),
        ("not_leader", {"leader": "127.0.0.9:8300", "door": False}, ""),
        ("not_leader", {"leader": "127.0.0.9:8300"}, ""),
        ("not_leader", {"leader": "127.0.0.9:8300", "door": 1}, ""),
        ("not_leader", {"leader": None, "door": True}, ""),
        ("not_leader", {"leader": ["127.0.0.9:8300"], "door": True}, ""),
        ("not_leader", {"leader": b"127.0.0.9:8300", "door": True}, ""),
        ("not_leader", "127.0.0.9:8300", ""),
        ("not_leader", None, ""),
        ("no_leader", {"leader": "127.0.0.9:8300", "door": True}, ""),
        ("no_leader", {"leader": None}, ""),
        ("bad_request", None, ""),
        ("unknown_method", None, ""),
    ],
)
async def test_a_refusal_says_that_nothing_was_done_and_who_leads(
    loopback: LoopbackPool, code: str, data: Any, leader: str
) -> None:
    door = DoorServer(loopback(), Apply=lambda request: request.fail(code, "no", data))
    async with pool_of(loopback(), door) as pool:
        calls = Outcomes(pool, door.address)
        await calls.begun("a")
        await until(lambda: calls.found)
        [(_, error)] = calls.found
        assert isinstance(error, NotTakenError)
        assert (str(error), error.leader, error.retry_always) == ("rpc error making call: no", leader, True)


@pytest.mark.parametrize(
    ("code", "text", "shown"),
    [
        ("rpc", "it broke", "it broke"),
        ("unavailable", "no room", "no room"),
        ("else", None, "an error without a text"),
        (["not_leader"], {"a": 1}, "an error without a text"),
        (None, 7, "an error without a text"),
    ],
)
async def test_another_error_fails_its_own_call(loopback: LoopbackPool, code: Any, text: Any, shown: str) -> None:
    raw = RawDoor(loopback())
    async with pool_of(loopback(), raw) as pool:
        calls = Outcomes(pool, raw.address)
        await calls.begun("a")
        await calls.begun("b")
        await until(lambda: len(raw.calls) == 2)
        first, second = (call[1] for call in raw.calls)
        await raw.say((frames.ERROR, first, code, text, [None]), (frames.RESULT, second, "fine"))
        await until(lambda: len(calls.found) == 2)
        (_, error), fine = calls.found
        assert fine == ("b", "fine")
        assert isinstance(error, RemoteCallError)
        assert (str(error), error.retry_always) == (f"rpc error making call: {shown}", False)


async def test_a_bug_of_one_caller_does_not_cost_the_others_their_answers(loopback: LoopbackPool) -> None:
    held = Held()
    door = DoorServer(loopback(), Apply=held.append)
    async with pool_of(loopback(), door) as pool:
        calls = Outcomes(pool, door.address)
        await calls.begun("a")
        assert pool.begin(door.address, APPLY, None, lambda value, error: [][1])
        assert calls.begin("b")
        await until(lambda: len(held) == 3)
        for request in held:
            request.reply("fine")
        await until(lambda: len(calls.found) == 2)
        assert calls.found == [("a", "fine"), ("b", "fine")]
        assert pool.is_ready(door.address)


# -- how calls are kept ------------------------------------------------------------------------------


@pytest.mark.usefixtures("watched_closely")
async def test_a_door_that_leaves_answers_what_it_has_and_gets_no_more(loopback: LoopbackPool) -> None:
    held = Held()
    door = DoorServer(loopback(), Apply=held.append)
    async with pool_of(loopback(), door) as pool:
        calls = Outcomes(pool, door.address)
        await calls.begun("a")
        assert calls.begin("b")
        await until(lambda: len(held) == 2)
        leaving = door.connections[0]
        leaving.say_leaving()
        await until(lambda: not pool.is_ready(door.address))
        assert calls.begin("c") is None
        held[0].reply("before another has taken its place")
        await until(lambda: len(calls.found) == 1)

        await calls.begun("d")
        await until(lambda: len(held) == 3)
        assert len(door.connections) == 2
        assert not leaving.transport.closed
        held[2].reply("by the new one")
        held[1].reply("and after it")
        await until(lambda: len(calls.found) == 3)
        assert sorted(calls.found) == [
            ("a", "before another has taken its place"),
            ("b", "and after it"),
            ("d", "by the new one"),
        ]
        await until(lambda: leaving.transport.closed)  # it has nothing left to do
        assert pool.is_ready(door.address)


async def test_a_call_that_was_let_go_is_never_heard_of_again(loopback: LoopbackPool) -> None:
    held = Held()
    door = DoorServer(loopback(), Apply=held.append)
    async with pool_of(loopback(), door) as pool:
        calls = Outcomes(pool, door.address)
        await calls.begun("a")
        let_go = calls.begin("b")
        assert let_go is not None
        assert calls.begin("c")
        await until(lambda: len(held) == 3)
        let_go()
        let_go()
        for request in reversed(held):
            request.reply("fine")
        await until(lambda: len(calls.found) == 2)
        assert calls.found == [("c", "fine"), ("a", "fine")]


async def test_no_more_calls_are_under_way_than_a_door_takes(
    loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "CALLS_MAX", 16)
    held = Held()
    door = DoorServer(loopback(), Apply=held.append)
    async with pool_of(loopback(), door) as pool:
        calls = Outcomes(pool, door.address)
        await calls.begun("first")
        assert all(calls.begin(str(number)) for number in range(15))
        assert calls.begin("one too many") is None
        await until(lambda: len(held) == 16)
        held[0].reply("fine")
        await until(lambda: calls.found)
        assert calls.begin("now")
        await until(lambda: len(held) == 17)


@pytest.mark.usefixtures("watched_closely")
async def test_a_door_that_says_nothing_is_noticed_and_what_can_be_repeated_leaves_it(loopback: LoopbackPool) -> None:
    raw, silent = RawDoor(loopback()), list[str]()
    async with pool_of(loopback(), raw) as pool:

        def on_silent(address: str) -> None:
            silent.append(address)
            pool.give_up(address, "nothing comes from the server")

        pool.on_silent = on_silent
        calls = Outcomes(pool, raw.address)
        await calls.begun("a")
        assert calls.begin("b", repeatable=True)
        await until(lambda: calls.found)
        assert calls.errors() == {"b": "rpc error making call: nothing comes from the server"}
        assert set(silent) == {raw.address}
        assert pool.is_silent(raw.address)
        assert [call[2] for call in raw.calls] == [APPLY, APPLY, "Raft.Term"]

        await raw.say((frames.RESULT, raw.calls[0][1], "at last"))
        await until(lambda: len(calls.found) == 2)
        assert calls.found[1] == ("a", "at last")
        assert not pool.is_silent(raw.address)
        assert pool.is_ready(raw.address)


async def test_a_door_that_answers_probes_is_not_silent_whatever_its_calls_wait_for(
    loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_pool, "REAP_INTERVAL_S", 0.02)
    monkeypatch.setattr(hearing, "PROBE_AFTER_S", 0.02)
    monkeypatch.setattr(hearing, "PROBE_TIMEOUT_S", PATIENCE_S)
    probes, silent, held = Held(), list[str](), Held()

    def term(request: Request) -> None:
        probes.append(request)
        request.reply(["id-2", 5])

    door = DoorServer(loopback(), Apply=held.append, Term=term, LeaseIndex=echo)
    async with pool_of(loopback(), door) as pool:
        pool.on_silent = silent.append
        calls, heard = Outcomes(pool, door.address), list[Any]()
        for number in range(3):
            await calls.begun(str(number), repeatable=True)
            await until(lambda number=number: len(probes) > number)  # type: ignore[misc]
            # What the caller hears next was said behind the answer to the probe.
            assert pool.begin(door.address, "Raft.LeaseIndex", number, lambda value, error: heard.append(value))
            await until(lambda number=number: len(heard) > number)  # type: ignore[misc]
        held[0].reply("fine")
        await until(lambda: calls.found)
        assert calls.found == [("0", "fine")]
        assert not silent


# -- a client's writes -------------------------------------------------------------------------------


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


# -- whom a leader asks ------------------------------------------------------------------------------


class Voter(DoorServer):
    """Says its term when it is asked. asked: calls; those of a voter that is `slow` wait for an answer."""

    def __init__(self, host: str, server_id: str, term: int = 5) -> None:
        super().__init__(host, Term=self._take)
        self.server_id, self.term = server_id, term
        self.asked: Held = []
        self.slow = False
        self.answer: Callable[[Request], None] = self.confirm

    def _take(self, request: Request) -> None:
        self.asked.append(request)
        if not self.slow:
            self.answer(request)

    def confirm(self, request: Request) -> None:
        request.reply([self.server_id, self.term])


class Leading:
    """A leader's questions: what came of each. asked_otherwise: who waits for raft_node."""

    def __init__(self, directory: Path, own: str, voters: list[Voter], needed: int) -> None:
        peers = " ".join(f"{one.server_id} {one.address}" for one in voters)
        self.shown = Leadership(LEADER, 5, "id-1", f"{own}:8300", 0, 0, 12, 12, True, needed, peers)
        self.page = LeadershipPage.create(str(directory / "leader.page"))
        self.page.write(self.shown)
        self.voters, self.up, self.batches = voters, True, 0
        self.asked_otherwise: list[OnDone] = []
        self.waiting: list[OnDone] = []
        self.outcomes: list[tuple[int, Any]] = []
        self.confirming = Confirming(
            self.page, self.asked_otherwise.append, lambda: self.up, own, lambda: self._after_batch()
        )
        self.pool = self.confirming._pool

    def _after_batch(self) -> None:
        self.batches += 1

    def shows(self, **changes: Any) -> None:
        self.page.write(self.shown._replace(**changes))

    def ask(self) -> int:
        """The number of the question."""
        number = len(self.waiting)

        def on_done(value: Any, error: IpcError | None) -> None:
            assert error is None
            self.outcomes.append((number, value))

        self.waiting.append(on_done)
        self.confirming.ask(on_done)
        self.confirming.flush()
        return number

    def others(self) -> list[int]:
        """Numbers of the questions that raft_node was asked, in their order."""
        return [self.waiting.index(one) for one in self.asked_otherwise]

    def counts(self) -> list[int]:
        return [len(one.asked) for one in self.voters]

    async def ready(self, *voters: Voter) -> None:
        """Waits for connections to these, which a first question leads to."""
        confirmations, self.shown = self.shown, self.shown._replace(confirmations=len(self.voters))
        self.shows()
        self.ask()
        self.shown = confirmations
        self.shows()
        for one in voters:
            await until(lambda one=one: self.pool.is_ready(one.address))  # type: ignore[misc]
        assert self.others() == [0]
        assert sum(self.counts()) == 0
        self.forget()

    def forget(self) -> None:
        """Of what was asked so far nothing is counted."""
        self.asked_otherwise.clear()
        self.waiting.clear()
        self.outcomes.clear()
        for one in self.voters:
            one.asked.clear()

    async def nothing_under_way(self) -> None:
        """Every answer has come in."""
        await until(lambda: not any(connection.calls for connection in self.pool._connections.values()))


@asynccontextmanager
async def leading(
    directory: Path, loopback: LoopbackPool, *, voters: int = 2, needed: int = 1, running: int | None = None
) -> AsyncIterator[Leading]:
    """A leader of whose `voters` the first ones are running, and connected to; all of them by default."""
    made = Leading(directory, loopback(), [Voter(loopback(), f"id-{number + 2}") for number in range(voters)], needed)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for one in made.voters[:running]:
                await nursery.start(one.run)
            nursery.start_soon(made.confirming.run)
            await until(lambda: made.pool._nursery is not None)
            await made.ready(*made.voters[:running])
            yield made
            nursery.cancel_scope.cancel()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is late because the processor was busy."""
    monkeypatch.setattr(confirming, "PATIENCE_S", FOR_EVER_S)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_as_many_voters_are_asked_as_have_to_confirm(
    loopback: LoopbackPool, tmp_path: Path, voters: int, needed: int
) -> None:
    """The others sleep on."""
    async with leading(tmp_path, loopback, voters=voters, needed=needed) as leader:
        for questions in range(1, 6):
            leader.ask()
            await until(lambda questions=questions: len(leader.outcomes) == questions)  # type: ignore[misc]
            assert sum(leader.counts()) == questions * needed
        assert sorted(leader.counts(), reverse=True)[:needed] == [5] * needed  # always the same
        assert leader.outcomes == [(number, 12) for number in range(5)]
        assert not leader.others()
        assert leader.batches


@pytest.mark.usefixtures("patient")
async def test_questions_under_way_together_have_answers_of_their_own(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback) as leader:
        leader.ask()
        leader.page.write_committed(15)
        leader.ask()
        leader.shows(applied_index=16)
        leader.ask()
        await until(lambda: len(leader.outcomes) == 3)
        assert leader.outcomes == [(0, 12), (1, 15), (2, 16)]
        assert not leader.others()


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "changes",
    [{"role": FOLLOWER}, {"ready": False}, {"confirmations": 0}, {"confirmations": 3}, NOBODY._asdict()],
    ids=["no leader", "not ready", "nobody to ask", "more than there are", "no page yet"],
)
async def test_who_cannot_be_confirmed_leaves_it_to_raft_node(
    loopback: LoopbackPool, tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with leading(tmp_path, loopback) as leader:
        leader.shows(**changes)
        leader.ask()
        assert leader.others() == [0]
        assert leader.counts() == [0, 0]


@pytest.mark.usefixtures("patient")
async def test_without_its_raft_node_a_leader_confirms_nothing(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback) as leader:
        leader.up = False
        leader.ask()
        assert leader.others() == [0]
        assert leader.counts() == [0, 0]
        leader.up = True
        leader.ask()
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
async def test_without_enough_connections_nobody_is_asked(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback, voters=2, needed=2, running=1) as leader:
        leader.ask()
        assert leader.others() == [0]
        assert leader.counts() == [0, 0]
        leader.shows(confirmations=1)  # the one that runs suffices
        leader.ask()
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.counts() == [1, 0]


@pytest.mark.usefixtures("patient")
async def test_voters_are_connected_to_again_after_a_while(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "DIAL_PAUSE_S", 0.01)
    async with leading(tmp_path, loopback, voters=1) as leader:
        [voter] = leader.voters
        voter.cut()
        await until(lambda: not leader.pool.is_ready(voter.address))

        def is_back() -> bool:
            if not leader.pool.is_ready(voter.address):
                leader.ask()
            return leader.pool.is_ready(voter.address)

        await until(is_back)
        assert not voter.asked
        last = leader.ask()
        await until(lambda: leader.outcomes)
        assert leader.outcomes == [(last, 12)]
        assert leader.others() == list(range(last))


def other_term(voter: Voter, request: Request) -> None:
    request.reply([voter.server_id, voter.term + 1])


def other_id(voter: Voter, request: Request) -> None:
    request.reply(["id-9", voter.term])


def other_shape(voter: Voter, request: Request) -> None:
    request.reply({"id": voter.server_id, "term": voter.term})


def an_error(voter: Voter, request: Request) -> None:
    request.fail("unavailable", "no room")


def a_refusal(voter: Voter, request: Request) -> None:
    request.fail("unknown_method", "no such method")


def the_end(voter: Voter, request: Request) -> None:
    voter.cut()


FAILURES = [other_term, other_id, other_shape, an_error, a_refusal, the_end]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("failure", FAILURES)
async def test_after_a_voter_that_fails_raft_node_is_asked_and_next_time_the_other_voter(
    loopback: LoopbackPool, tmp_path: Path, failure: Callable[[Voter, Request], None]
) -> None:
    async with leading(tmp_path, loopback) as leader:
        first, second = leader.voters
        first.answer = second.answer = partial(failure, first)
        leader.ask()
        await until(lambda: leader.others() == [0])
        assert (len(first.asked), len(second.asked)) == (1, 0)
        second.answer = second.confirm
        for number in (1, 2):  # and it remains the one who is asked
            leader.ask()
            await until(lambda number=number: len(leader.outcomes) == number)  # type: ignore[misc]
        await leader.nothing_under_way()
        assert (len(first.asked), len(second.asked)) == (1, 2)
        assert leader.outcomes == [(1, 12), (2, 12)]
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
async def test_of_several_that_fail_only_the_first_makes_raft_node_asked(
    loopback: LoopbackPool, tmp_path: Path
) -> None:
    async with leading(tmp_path, loopback, voters=4, needed=2) as leader:
        for one, failure in zip(leader.voters, (an_error, other_term, an_error, other_term), strict=True):
            one.slow, one.answer = True, partial(failure, one)
        leader.ask()
        await until(lambda: sum(leader.counts()) == 2)
        asked = [one for one in leader.voters if one.asked]
        for one in asked:
            one.answer(one.asked[0])
        await leader.nothing_under_way()
        assert leader.others() == [0]
        for one in leader.voters:
            one.slow, one.answer = False, one.confirm
        leader.ask()  # of the two that have not failed
        await until(lambda: leader.outcomes == [(1, 12)])
        assert all(len(one.asked) == 1 for one in leader.voters)
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
async def test_one_of_two_confirmations_is_not_enough(loopback: LoopbackPool, tmp_path: Path) -> None:
    async with leading(tmp_path, loopback, needed=2) as leader:
        first, second = leader.voters
        second.slow = True
        leader.ask()
        await until(lambda: leader.counts() == [1, 1])
        await until(lambda: leader.pool._connections[first.address].calls == 0)
        assert not leader.outcomes
        second.answer(second.asked[0])
        await until(lambda: leader.outcomes == [(0, 12)])
        assert not leader.others()


async def test_a_voter_that_is_late_is_heard_no_more(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "PATIENCE_S", 0.05)
    async with leading(tmp_path, loopback) as leader:
        first, second = leader.voters
        first.slow = second.slow = True
        leader.ask()
        await until(lambda: leader.others() == [0])
        assert leader.counts() == [1, 0]
        monkeypatch.setattr(confirming, "PATIENCE_S", FOR_EVER_S)
        leader.ask()  # of the other one
        await until(lambda: leader.counts() == [1, 1])
        first.answer(first.asked[0])
        await until(lambda: leader.pool._connections[first.address].calls == 0)
        assert not leader.outcomes
        second.answer(second.asked[0])
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.others() == [0]


@pytest.mark.usefixtures("watched_closely")
async def test_a_voter_that_says_nothing_is_not_asked(
    loopback: LoopbackPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirming, "PATIENCE_S", 0.01)
    async with leading(tmp_path, loopback, voters=1) as leader:
        [voter] = leader.voters
        voter.slow = True
        leader.ask()
        await until(lambda: leader.pool.is_silent(voter.address))
        assert leader.others() == [0]
        before = len(voter.asked)  # with a probe
        leader.ask()
        assert leader.others() == [0, 1]
        assert len(voter.asked) == before
        voter.slow = False
        voter.answer(voter.asked[0])
        await until(lambda: not leader.pool.is_silent(voter.address))
        monkeypatch.setattr(confirming, "PATIENCE_S", FOR_EVER_S)
        leader.ask()
        await until(lambda: leader.outcomes == [(2, 12)])
        assert leader.others() == [0, 1]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "changes",
    [
        {"term": 6},
        {"role": FOLLOWER},
        {"ready": False},
        {"confirmations": 0, "applied_index": 0},
        {"confirmations": 0},
        {"applied_index": 11},
    ],
    ids=["another term", "a follower", "not ready", "taken back", "nobody to ask", "less is applied"],
)
async def test_a_confirmation_that_comes_too_late_for_the_page_confirms_nothing(
    loopback: LoopbackPool, tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with leading(tmp_path, loopback) as leader:
        first, _ = leader.voters
        first.slow = True
        leader.ask()
        await until(lambda: first.asked)
        leader.shows(**changes)
        first.answer(first.asked[0])
        await until(lambda: leader.others() == [0])
        leader.shows()
        leader.ask()
        await until(lambda: len(first.asked) == 2)  # it has done nothing wrong
        first.answer(first.asked[1])
        await until(lambda: leader.outcomes == [(1, 12)])
        assert leader.others() == [0]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("is_applied", [True, False])
async def test_what_was_committed_when_the_question_came_has_to_be_applied_when_it_is_answered(
    loopback: LoopbackPool, tmp_path: Path, is_applied: bool
) -> None:
    async with leading(tmp_path, loopback) as leader:
        first, _ = leader.voters
        first.slow = True
        leader.page.write_committed(14)
        leader.ask()
        leader.page.write_committed(15)  # of later reads
        await until(lambda: first.asked)
        if is_applied:
            leader.shows(applied_index=14)
        first.answer(first.asked[0])
        await leader.nothing_under_way()
        assert (leader.outcomes, leader.others()) == (([(0, 14)], []) if is_applied else ([], [0]))
