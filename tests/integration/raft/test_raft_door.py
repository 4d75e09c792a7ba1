"""The door of a real raft_node: what gateways of other agents get there, and what odd callers cannot do to anybody."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from services.raft_node import door
from services.raft_node.core.configuration import ADD_VOTER
from shared.config import runtime
from shared.config.sections import Limits, Raft
from shared.ipc import FrameDecoder, Link, RemoteError, frames
from shared.ipc.remote import CALLS_MAX, FRAME_BYTES_MAX, LEAVING, PAYLOAD_BYTES_MAX, VERSION
from shared.state.queries import catalog
from shared.state.reader import StateReader
from shared.structs.catalog import DeregisterRequest, NodeService, RegisterRequest
from shared.structs.commands import encode
from shared.structs.kv import DirEntry, KVSRequest
from shared.structs.registration import prepare_deregister, prepare_register
from tests.integration.raft.raft_process import (
    RaftProcess,
    apply,
    call,
    hand_over_connections,
    kv_set,
    stored,
)
from tests.loopback import LoopbackPool

LIMIT_S = 30.0
PATIENT = Raft(heartbeat_timeout_s=60.0, election_timeout_s=60.0, leader_lease_timeout_s=60.0)
"""A leader that hears from nobody stays one for the length of a test."""
HELLO = (frames.HELLO, VERSION, "http_gateway")
Make = Callable[..., RaftProcess]


class Caller:
    """A gateway at the door: one connection, which rpc_core has handed over."""

    def __init__(self, link: Link, source: str = "127.0.0.1:1") -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        with theirs:
            link.send_fds("Raft.Handoff", {"source": source, "door": True}, [theirs.fileno()])
        ours.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        self._decoder = FrameDecoder()
        self._frames: deque[frames.Frame] = deque()
        self._ids = itertools.count(1)
        self._answers: dict[int, Any] = {}
        self.is_leaving = False

    async def send(self, data: bytes | bytearray) -> None:
        """Whoever has closed the connection need not take it."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.send_all(data)

    async def end(self) -> None:
        """Nothing follows."""
        await self._stream.send_eof()

    async def next(self) -> frames.Frame | None:
        """The next frame, None at the end of the connection."""
        with trio.fail_after(LIMIT_S):
            while not self._frames:
                try:
                    data = await self._stream.receive_some(frames.READ_BYTES)
                except trio.BrokenResourceError:  # what it had not read when it closed
                    return None
                if not data:
                    return None
                self._frames.extend(self._decoder.feed(data))
        return self._frames.popleft()

    async def greet(self) -> Caller:
        await self.send(frames.encode(HELLO))
        assert await self.next() == [frames.HELLO, VERSION, "raft_node"]
        return self

    async def post(self, method: str, payload: Any = None) -> int:
        """Sends a call without waiting for its answer."""
        call_id = next(self._ids)
        await self.send(frames.encode((frames.CALL, call_id, method, 30_000, payload)))
        return call_id

    async def answer(self, call_id: int) -> Any:
        """Raises RemoteError."""
        while call_id not in self._answers:
            frame = await self.next()
            assert frame is not None, "the connection was closed"
            self.take(frame)
        value = self._answers.pop(call_id)
        if isinstance(value, RemoteError):
            raise value
        return value

    def take(self, frame: frames.Frame) -> None:
        match frame:
            case [frames.RESULT, call_id, value]:
                self._answers[call_id] = value
            case [frames.RESULTS, results]:
                self._answers.update((call_id, value) for call_id, value in results)
            case [frames.ERROR, call_id, code, message, data]:
                self._answers[call_id] = RemoteError(code, message, data)
            case [frames.EVENT, topic, None]:
                assert topic == LEAVING
                self.is_leaving = True
            case _:
                raise AssertionError(f"nothing that is said at the door: {frame}")

    async def call(self, method: str, payload: Any = None) -> Any:
        """Raises RemoteError."""
        return await self.answer(await self.post(method, payload))

    async def code(self, call_id: int) -> str:
        """Of the error that answers a call, "" for a result."""
        try:
            await self.answer(call_id)
        except RemoteError as error:
            return error.code
        return ""

    async def refusal(self, method: str, payload: Any = None) -> RemoteError:
        with pytest.raises(RemoteError) as caught:
            await self.call(method, payload)
        return caught.value

    async def wait_closed(self) -> list[frames.Frame]:
        """What else came before the connection was closed."""
        found = []
        while (frame := await self.next()) is not None:
            found.append(frame)
        return found


@pytest.fixture
def make(tmp_path: Path, loopback: LoopbackPool) -> Iterator[Make]:
    """make("name", ...) -> RaftProcess that is ended with the test."""
    made: list[RaftProcess] = []

    def make_one(name: str = "n1", **changes: Any) -> RaftProcess:
        process = RaftProcess(tmp_path / name, loopback(), **changes)
        made.append(process)
        return process

    yield make_one
    for process in made:
        process.end()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, loopback: LoopbackPool) -> Iterator[RaftProcess]:
    """A server that leads alone. One for all tests that should leave it as well as they have found it."""
    made = RaftProcess(tmp_path_factory.mktemp("door") / "n1", loopback(), dev=True)
    made.start()
    yield made
    made.end()


async def linked(nursery: trio.Nursery, process: RaftProcess) -> Link:
    """A link to a server that leads, and has a state store."""
    link = process.link()
    await nursery.start(link.run)
    await apply(link, "first", b"")
    return link


def kv(op: str, key: str, value: bytes | None = None, **fields: Any) -> bytes:
    return encode(KVSRequest("dc1", op, DirEntry(key=key, value=value, **fields)))


# ---- what is asked there --------------------------------------------------------------------------


async def test_either_side_greets_without_waiting_for_the_other(nursery: trio.Nursery, process: RaftProcess) -> None:
    link = await linked(nursery, process)
    caller = Caller(link)
    assert await caller.next() == [frames.HELLO, VERSION, "raft_node"]
    other = Caller(link)
    await other.send(frames.encode(HELLO) + frames.encode((frames.CALL, 7, "Raft.Term", 0, None)))
    assert await other.next() == [frames.HELLO, VERSION, "raft_node"]
    assert await other.answer(7) == [process.config.node_id, 2]
    nursery.cancel_scope.cancel()


async def test_writes_are_applied_and_answered_with_their_index(nursery: trio.Nursery, process: RaftProcess) -> None:
    link = await linked(nursery, process)
    caller = await Caller(link).greet()
    index, result = await caller.call("Raft.Apply", kv("set", "w", b"1"))
    assert result is None
    assert (await call(link, "Raft.Stats"))["applied_index"] == str(index)
    assert await caller.call("Raft.Apply", kv("cas", "w", b"2", modify_index=index)) == [index + 1, True]
    assert await caller.call("Raft.Apply", kv("cas", "w", b"3", modify_index=index)) == [index + 2, False]
    assert stored(process)["w"] == b"2"
    refused = await caller.refusal("Raft.Apply", kv("unlock", "w"))
    assert (refused.code, str(refused)) == ("rpc", "missing session")
    assert await caller.call("Raft.Apply", kv("delete-tree", "w")) == [index + 4, None]
    assert "w" not in stored(process)
    nursery.cancel_scope.cancel()


async def test_registrations_are_applied(nursery: trio.Nursery, process: RaftProcess) -> None:
    link = await linked(nursery, process)
    caller = await Caller(link).greet()

    def services() -> list[str]:
        with StateReader(process.config.state_dir).snapshot() as snap:
            return [service.service_id for service in catalog.service_nodes(snap, "web").value]

    request = RegisterRequest("dc1", node="far", address="10.0.0.1", service=NodeService(service="web"))
    index, result = await caller.call("Raft.Apply", encode(prepare_register(request)))
    assert (result, services()) == (None, ["web"])
    gone = encode(prepare_deregister(DeregisterRequest("dc1", "far")))
    assert await caller.call("Raft.Apply", gone) == [index + 1, None]
    assert services() == []
    nursery.cancel_scope.cancel()


async def test_a_command_as_large_as_a_caller_may_send_is_taken(nursery: trio.Nursery, process: RaftProcess) -> None:
    link = await linked(nursery, process)
    caller = await Caller(link).greet()
    value = os.urandom(PAYLOAD_BYTES_MAX - 1000)
    _, result = await caller.call("Raft.Apply", kv("set", "large", value))
    assert result is None
    assert stored(process)["large"] == value
    nursery.cancel_scope.cancel()


async def test_calls_that_come_together_are_all_answered(nursery: trio.Nursery, process: RaftProcess) -> None:
    link = await linked(nursery, process)
    callers = [await Caller(link).greet() for _ in range(3)]
    posted = []
    for number in range(50):
        posted += [(caller, await caller.post("Raft.Apply", kv("set", f"t{number}", b"v"))) for caller in callers]
    indexes = [(await caller.answer(call_id))[0] for caller, call_id in posted]
    assert len(set(indexes)) == 150
    nursery.cancel_scope.cancel()


async def test_a_leader_says_its_term_and_how_far_a_state_has_to_be(
    nursery: trio.Nursery, process: RaftProcess
) -> None:
    link = await linked(nursery, process)
    caller = await Caller(link).greet()
    node_id = process.config.node_id
    index = await apply(link, "a", b"1")
    assert await caller.call("Raft.Term") == [node_id, 2]
    assert await caller.call("Raft.LeaseIndex") == index
    for asker in ([node_id, 2], ["", 0], ["some-follower", 2], ["some-follower", 2**64 - 1]):
        assert await caller.call("Raft.ReadIndex", asker) == index
    nursery.cancel_scope.cancel()


async def test_who_does_not_lead_says_who_does(nursery: trio.Nursery, make: Make) -> None:
    leader, follower = make("n1", raft=PATIENT), make("n2", bootstrap=False, raft=PATIENT)
    link, other_link = await two_servers(nursery, leader, follower)
    index = await apply(link, "a", b"1")
    caller = await Caller(other_link).greet()
    for method, payload in (("Raft.Apply", kv_set("b", b"")), ("Raft.LeaseIndex", None), ("Raft.ReadIndex", ["x", 2])):
        refused = await caller.refusal(method, payload)
        assert (refused.code, refused.data) == (
            "not_leader",
            {"leader": leader.config.rpc_advertise_addr, "door": True},
        )
    assert await caller.call("Raft.Term") == [follower.config.node_id, 2]
    # What a follower's gateway does for a read, and what one does that believes in leases.
    caller = await Caller(link).greet()
    assert await caller.call("Raft.ReadIndex", [follower.config.node_id, 2]) == index
    assert await caller.call("Raft.ReadIndex", [follower.config.node_id, 1]) == index  # after a round
    assert await caller.call("Raft.LeaseIndex") == index
    assert "b" not in stored(leader)
    nursery.cancel_scope.cancel()


async def test_without_a_leader_nothing_is_promised(nursery: trio.Nursery, make: Make) -> None:
    process = make(bootstrap=False)
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await call(link, "Raft.Stats")
    caller = await Caller(link).greet()
    for method, payload in (("Raft.Apply", kv_set("b", b"")), ("Raft.LeaseIndex", None), ("Raft.ReadIndex", ["x", 0])):
        refused = await caller.refusal(method, payload)
        assert (refused.code, str(refused)) == ("no_leader", "No cluster leader")
    assert await caller.call("Raft.Term") == [process.config.node_id, 0]
    nursery.cancel_scope.cancel()


# ---- what is not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    [
        "Raft.Addresses",
        "Raft.Barrier",
        "Raft.Bootstrap",
        "Raft.ChangeConfiguration",
        "Raft.Configuration",
        "Raft.Handoff",
        "Raft.RestoreSnapshot",
        "Raft.SaveSnapshot",
        "Raft.Snapshot",
        "Raft.Stats",
        "Raft.TransferLeadership",
        "Metrics.Dump",
        "Process.Profile",
        "raft.apply",
        "no such method\udcff\n",
        "",
    ],
)
async def test_methods_of_the_own_agent_are_unknown_at_the_door(
    nursery: trio.Nursery, process: RaftProcess, method: str
) -> None:
    caller = await Caller(await linked(nursery, process)).greet()
    for payload in (None, {"target": ""}, {"command": ADD_VOTER, "id": "x", "address": "x:1"}):
        assert (await caller.refusal(method, payload)).code == "unknown_method"
    assert await caller.call("Raft.Term") == [process.config.node_id, 2]
    nursery.cancel_scope.cancel()


BAD_COMMANDS: list[Any] = [
    None,
    b"",
    "text",
    7,
    [kv("set", "k")],
    {"command": kv("set", "k")},
    b"\x02",
    b"\x02\xc1",
    kv("lock", "k"),
    kv("set", ""),
    kv("set", "k")[:-1],
    kv("set", "k") + b"\xc0",
    encode(KVSRequest("dc9", "set", DirEntry(key="k"))),
    b"\x00\xc0",
    encode(RegisterRequest("dc1", node="n")),
    encode(RegisterRequest("dc9", node="n", address="10.0.0.1")),
    encode(DeregisterRequest("dc1")),
    b"\x01" + b"\x91" * 2000,
    b"\x03" + kv("set", "k")[1:],
    b"\x82" + kv("set", "k")[1:],
    b"\xff",
]


async def test_bad_commands_are_refused_and_nothing_is_logged(nursery: trio.Nursery, process: RaftProcess) -> None:
    link = await linked(nursery, process)
    caller = await Caller(link).greet()
    before = (await call(link, "Raft.Stats"))["last_log_index"]
    for command in BAD_COMMANDS:
        assert (await caller.refusal("Raft.Apply", command)).code == "bad_request", command
    assert (await call(link, "Raft.Stats"))["last_log_index"] == before
    assert (await caller.call("Raft.Apply", kv("set", "good", b"1")))[1] is None
    nursery.cancel_scope.cancel()


async def test_a_read_needs_the_id_and_the_term_of_a_server(nursery: trio.Nursery, process: RaftProcess) -> None:
    caller = await Caller(await linked(nursery, process)).greet()
    sound = ["id", 2]
    odd: list[Any] = [None, 7, [], ["id"], [*sound, 1], {"id": 2}]
    odd += [[b"id", 2], [["id"], 2], ["id", True], ["id", 2.0], ["id", "2"]]
    for payload in odd:
        assert (await caller.refusal("Raft.ReadIndex", payload)).code == "bad_request", payload
    assert type(await caller.call("Raft.ReadIndex", sound)) is int
    nursery.cancel_scope.cancel()


# ---- hostile callers ------------------------------------------------------------------------------


def framed(*elements: Any) -> bytes:
    return frames.encode(elements)


def a_call(call_id: Any = 1, method: Any = "Raft.Term", timeout_ms: Any = 1000) -> bytes:
    return framed(frames.CALL, call_id, method, timeout_ms, None)


BEFORE_HELLO = {
    "rubbish": b"\xc1\x00\xff",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(1000),
    "random": bytes(range(255, -1, -1)) * 500,
    "a call": a_call(),
    "a cancellation": framed(frames.CANCEL, 1),
    "an older version": framed(frames.HELLO, VERSION - 1, "http_gateway"),
    "a newer version": framed(frames.HELLO, VERSION + 1, "http_gateway"),
    "a version as text": framed(frames.HELLO, str(VERSION), "http_gateway"),
    "a version with an odd name": framed(frames.HELLO, [[]], {"\udcff\n": "\x1b[2J"}),
    "half a greeting": framed(frames.HELLO, VERSION),
    "no frame": framed(),
    "a kind that is none": framed(True, VERSION, "http_gateway"),
}
AFTER_HELLO = {
    "a cancellation, which nobody sends": framed(frames.CANCEL, 1),
    "a list that is too long": framed(frames.CALL, 1, "Raft.ReadIndex", 1000, list(range(9))),
    "rubbish": b"\xc1",
    "a map": msgpack.packb({1: 2}),
    "a number": b"\x01",
    "arrays in arrays": b"\x91" * 5000,
    "arrays that promise much": b"\xdd\x00\x1f\xff\xff" * 1500,
    "lengths that promise more": b"\xdf\xff\xff\xff\xff\xdd\xff\xff\xff\xff\xc6\xff\xff\xff\xff",
    "an unknown kind": framed(99, 1, 2, 3),
    "a kind as text": framed("1", 1, "Raft.Term", 1000, None),
    "a huge kind": framed(2**64 - 1, 1, "Raft.Term", 1000, None),
    "a short call": framed(frames.CALL, 1, "Raft.Term", 1000),
    "a second greeting": framed(*HELLO),
    "a notification": framed(frames.NOTIFY, "Raft.Apply", kv("set", "notified", b"1"), 0),
    "a notification with descriptors": framed(frames.NOTIFY, "Raft.Handoff", {"source": "x", "door": True}, 1),
    "a subscription": framed(frames.SUBSCRIBE, "changes"),
    "the end of a subscription": framed(frames.UNSUBSCRIBE, "changes"),
    "a stream": framed(frames.OPEN, 1, "Raft.SaveSnapshot", 1000, None, 8),
    "credit": framed(frames.CREDIT, 1, 8),
    "a result": framed(frames.RESULT, 1, None),
    "results": framed(frames.RESULTS, [[1, None]]),
    "an error": framed(frames.ERROR, 1, "rpc", "text", None),
    "an event": framed(frames.EVENT, LEAVING, None),
    "an id as text": a_call("1"),
    "an id as bytes": a_call(b"1"),
    "an id of 0": a_call(0),
    "a negative id": a_call(-1),
    "an id of 64 bits": a_call(2**63),
    "an id that is true": a_call(True),
    "an id that is a fraction": a_call(1.0),
    "no id": a_call(None),
    "ids": a_call([1]),
    "a method as list": a_call(method=["Raft.Term"]),
    "a method as map": a_call(method={"Raft.Term": 1}),
    "a method as bytes": a_call(method=b"Raft.Term"),
    "no method": a_call(method=None),
    "a negative timeout": a_call(timeout_ms=-1),
    "a timeout of more than an hour": a_call(timeout_ms=3_600_001),
    "a huge timeout": a_call(timeout_ms=2**64 - 1),
    "a timeout as text": a_call(timeout_ms="1"),
    "a timeout that is true": a_call(timeout_ms=True),
    "a timeout that is a fraction": a_call(timeout_ms=1.5),
    "no timeout": a_call(timeout_ms=None),
    "too large a frame": framed(frames.CALL, 1, "Raft.Apply", 1000, kv("set", "huge", bytes(FRAME_BYTES_MAX * 2))),
}


@pytest.mark.parametrize("case", BEFORE_HELLO)
async def test_who_does_not_greet_as_we_do_is_not_listened_to(
    nursery: trio.Nursery, process: RaftProcess, case: str
) -> None:
    await throw_out(nursery, process, BEFORE_HELLO[case], greet=False)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("case", AFTER_HELLO)
async def test_a_frame_that_nobody_sends_ends_its_connection_and_nothing_else(
    nursery: trio.Nursery, process: RaftProcess, case: str
) -> None:
    await throw_out(nursery, process, AFTER_HELLO[case], greet=True)
    assert not {"notified", "huge"} & stored(process).keys()
    nursery.cancel_scope.cancel()


async def throw_out(nursery: trio.Nursery, process: RaftProcess, data: bytes, *, greet: bool) -> None:
    """Somebody sends `data` at the door, and then what would be good calls."""
    link = await linked(nursery, process)
    witness, hostile = await Caller(link).greet(), Caller(link)
    before = (await call(link, "Raft.Stats"))["last_log_index"]
    if greet:
        await hostile.greet()
    await hostile.send(data + a_call(10) + framed(frames.CALL, 11, "Raft.Apply", 1000, kv("set", "notified", b"2")))
    assert await hostile.wait_closed() in ([], [[frames.HELLO, VERSION, "raft_node"]])
    assert await witness.call("Raft.Term") == [process.config.node_id, 2]
    newcomer = await Caller(link).greet()
    assert await newcomer.call("Raft.Term") == [process.config.node_id, 2]
    assert (await call(link, "Raft.Stats"))["last_log_index"] == before
    assert "failed" not in process.log


async def test_half_a_frame_and_the_end_is_the_end_of_one_connection(
    nursery: trio.Nursery, process: RaftProcess
) -> None:
    link = await linked(nursery, process)
    witness = await Caller(link).greet()
    whole = framed(frames.CALL, 1, "Raft.Apply", 1000, kv("set", "half", b"1"))
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        caller = await Caller(link).greet()
        await caller.send(whole[:cut])
        await caller.end()
        assert await caller.wait_closed() == []
    assert await witness.call("Raft.Term") == [process.config.node_id, 2]
    assert "half" not in stored(process)
    assert "failed" not in process.log
    nursery.cancel_scope.cancel()


async def test_damaged_conversations_harm_nobody(nursery: trio.Nursery, process: RaftProcess) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed: {seed}")
    rng = random.Random(seed)
    link = await linked(nursery, process)
    witness = await Caller(link).greet()
    calls = [a_call(1), framed(frames.CALL, 2, "Raft.ReadIndex", 1000, ["id", 2])]
    calls += [framed(frames.CALL, 3, "Raft.Apply", 1000, kv(op, "damaged", b"1")) for op in ("set", "cas", "delete")]
    for _ in range(200):
        rng.shuffle(calls)
        data = bytearray(framed(*HELLO) + b"".join(calls))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        caller = Caller(link)
        await caller.send(data)
        await caller.end()
        await caller.wait_closed()
    assert await witness.call("Raft.Term") == [process.config.node_id, 2]
    assert "failed" not in process.log
    nursery.cancel_scope.cancel()


async def test_frames_may_come_in_any_pieces(nursery: trio.Nursery, process: RaftProcess) -> None:
    caller = Caller(await linked(nursery, process))
    for number, byte in enumerate(frames.encode(HELLO) + a_call(3)):
        await caller.send(bytes((byte,)))
        if number == 0:
            assert await caller.next() == [frames.HELLO, VERSION, "raft_node"]
    assert await caller.answer(3) == [process.config.node_id, 2]
    nursery.cancel_scope.cancel()


# ---- limits --------------------------------------------------------------------------------------


async def cannot_commit(nursery: trio.Nursery, process: RaftProcess, ghost: str) -> Link:
    """A leader that has to wait for a server that is not there, `ghost`, and does for as long as the test takes."""
    process.start()
    link = await linked(nursery, process)
    change = {"command": ADD_VOTER, "id": "ghost", "address": f"{ghost}:8300"}
    link.post("Raft.ChangeConfiguration", change, lambda value, error: None, timeout_s=LIMIT_S)
    with trio.fail_after(LIMIT_S):
        while len((await call(link, "Raft.Configuration"))["servers"]) < 2:
            await trio.sleep(0.01)
    return link


async def test_calls_without_an_answer_have_a_limit(nursery: trio.Nursery, make: Make, loopback: LoopbackPool) -> None:
    link = await cannot_commit(nursery, make(raft=PATIENT, dev=True), loopback())
    caller = await Caller(link).greet()
    for _ in range(CALLS_MAX):
        await caller.post("Raft.Apply", kv("delete", "k"))
    for method in ("Raft.Apply", "Raft.Term", "no such method"):
        refused = await caller.refusal(method, kv("delete", "k"))
        assert (refused.code, str(refused)) == ("unavailable", f"raft_node is busy: {CALLS_MAX} calls are running")
    other = await Caller(link).greet()
    assert (await other.call("Raft.Term"))[1] == 2
    await caller.end()
    assert await caller.wait_closed() == []
    assert (await other.call("Raft.Term"))[1] == 2
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("method", "payload"),
    [("Raft.Apply", kv("delete", "k")), ("Raft.Term", None), ("Raft.ReadIndex", ["id", 1]), ("no such method", None)],
)
async def test_calls_that_were_answered_count_no_more(
    nursery: trio.Nursery, process: RaftProcess, method: str, payload: Any
) -> None:
    caller = await Caller(await linked(nursery, process)).greet()
    posted = 0
    while posted <= CALLS_MAX:
        call_ids = [await caller.post(method, payload) for _ in range(1000)]
        posted += len(call_ids)
        codes = {await caller.code(call_id) for call_id in call_ids}
        assert codes == {"unknown_method" if method == "no such method" else ""}
    nursery.cancel_scope.cancel()


async def test_reads_that_wait_for_a_round_have_a_limit_for_all_callers(
    nursery: trio.Nursery, make: Make, loopback: LoopbackPool
) -> None:
    link = await cannot_commit(nursery, make(raft=PATIENT, dev=True), loopback())
    first, second = await Caller(link).greet(), await Caller(link).greet()
    for _ in range(door._READS_MAX - 1):
        await first.post("Raft.ReadIndex", ["n2", 1])
    assert (await first.call("Raft.Term"))[1] == 2  # all before it were taken
    await second.post("Raft.ReadIndex", ["n2", 1])
    refused = await second.refusal("Raft.ReadIndex", ["n2", 1])
    assert (refused.code, str(refused)) == ("unavailable", "too many reads wait for a round of heartbeats")
    assert (await second.refusal("Raft.ReadIndex", None)).code == "bad_request"
    assert (await second.call("Raft.Term"))[1] == 2
    nursery.cancel_scope.cancel()


async def test_a_host_gets_its_share_of_connections(nursery: trio.Nursery, make: Make) -> None:
    process = make(dev=True, limits=Limits(rpc_max_conns_per_client=2))
    process.start()
    link = await linked(nursery, process)
    first, second = [await Caller(link, f"10.0.0.1:{port}").greet() for port in (1, 2)]
    assert await Caller(link, "10.0.0.1:3").wait_closed() == []
    elsewhere = await Caller(link, "10.0.0.2:4").greet()
    await first.end()
    assert await first.wait_closed() == []
    next_one = await Caller(link, "10.0.0.1:5").greet()
    assert await Caller(link, "10.0.0.1:6").wait_closed() == []
    for caller in (second, elsewhere, next_one):
        assert (await caller.call("Raft.Term"))[1] == 2
    nursery.cancel_scope.cancel()


async def test_a_reloaded_limit_holds_for_connections_from_then_on(nursery: trio.Nursery, make: Make) -> None:
    process = make(dev=True, limits=Limits(rpc_max_conns_per_client=1))
    process.start()
    link = await linked(nursery, process)
    callers = [await Caller(link).greet()]
    assert await Caller(link).wait_closed() == []
    process.config = process.config.replace(limits=Limits(rpc_max_conns_per_client=0))
    runtime.dump(process.config, process.run_dir / runtime.CONFIG_FILE_NAME)
    send_signal(process, signal.SIGHUP)
    with trio.fail_after(LIMIT_S):
        while len(callers) < 5:
            caller = Caller(link)
            if await caller.next() is not None:
                callers.append(caller)
    assert (await callers[0].call("Raft.Term"))[1] == 2
    nursery.cancel_scope.cancel()


# ---- the end -------------------------------------------------------------------------------------


async def two_servers(nursery: trio.Nursery, leader: RaftProcess, follower: RaftProcess) -> tuple[Link, Link]:
    """Links to the two; the second one, which has no configuration, joins the first one."""
    leader.start()
    follower.start()
    link, other_link = await linked(nursery, leader), follower.link()
    await nursery.start(other_link.run)
    nursery.start_soon(hand_over_connections, follower, other_link)
    await call(other_link, "Raft.Stats")
    change = {"command": ADD_VOTER, "id": follower.config.node_id, "address": follower.config.rpc_advertise_addr}
    index = await call(link, "Raft.ChangeConfiguration", change)
    with trio.fail_after(LIMIT_S):
        while int((await call(other_link, "Raft.Stats"))["last_log_index"]) < index:
            await trio.sleep(0.01)
    return link, other_link


def send_signal(process: RaftProcess, number: int) -> None:
    assert process._process is not None
    process._process.send_signal(number)


async def test_a_server_that_is_stopped_sends_callers_elsewhere_and_answers_what_is_under_way(
    nursery: trio.Nursery, make: Make
) -> None:
    leader, follower = make("n1", raft=PATIENT), make("n2", bootstrap=False, raft=PATIENT)
    link, _ = await two_servers(nursery, leader, follower)
    caller, idle = await Caller(link).greet(), await Caller(link).greet()
    send_signal(follower, signal.SIGSTOP)
    try:
        write, read = (
            await caller.post("Raft.Apply", kv("set", "last", b"1")),
            await caller.post("Raft.ReadIndex", ["", 0]),
        )
        stats = await call(link, "Raft.Stats")
        with trio.fail_after(LIMIT_S):
            while stats["last_log_index"] == stats["commit_index"]:
                stats = await call(link, "Raft.Stats")
        send_signal(leader, signal.SIGTERM)
        said = await caller.next()
    finally:
        send_signal(follower, signal.SIGCONT)
    assert said == [frames.EVENT, LEAVING, None]
    assert await caller.answer(write) == [int(stats["last_log_index"]), None]
    assert await caller.answer(read) <= int(stats["last_log_index"])
    assert await idle.wait_closed() == [[frames.EVENT, LEAVING, None]]
    assert await caller.wait_closed() == []
    assert await trio.to_thread.run_sync(leader.wait_exit) == 0
    assert "failed" not in leader.log
    nursery.cancel_scope.cancel()


async def test_an_end_does_not_wait_for_answers_that_do_not_come(
    nursery: trio.Nursery, make: Make, loopback: LoopbackPool
) -> None:
    process = make(raft=PATIENT, dev=True)
    link = await cannot_commit(nursery, process, loopback())
    caller = await Caller(link).greet()
    await caller.post("Raft.Apply", kv("set", "k", b"1"))
    assert (await caller.call("Raft.Term"))[1] == 2
    send_signal(process, signal.SIGTERM)
    assert await caller.next() == [frames.EVENT, LEAVING, None]
    assert await Caller(link).wait_closed() == []  # nobody else is let in
    assert await caller.wait_closed() == []
    assert await trio.to_thread.run_sync(process.wait_exit) == 0
    nursery.cancel_scope.cancel()
