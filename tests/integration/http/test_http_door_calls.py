"""Calls at the doors of raft_nodes: what doors may say, and how calls are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from shared.ipc import Request, frames
from shared.ipc.remote import LEAVING, VERSION
from shared.server_rpc import door as door_module
from shared.server_rpc import hearing
from shared.server_rpc import pool as server_pool
from shared.server_rpc.door import ANSWER_BYTES_MAX
from shared.server_rpc.errors import ConnectionEndedError, NotTakenError, RemoteCallError, ServerCallError
from shared.server_rpc.pool import ServerPool
from tests.agents import PATIENCE_S
from tests.integration.http.door_server import HELLO, DoorServer, RawDoor
from tests.integration.rpc.rpc_neighbours import until
from tests.loopback import LoopbackPool

APPLY = "Raft.Apply"
Held = list[Request]
"""Calls that a door has taken and not answered yet."""


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
