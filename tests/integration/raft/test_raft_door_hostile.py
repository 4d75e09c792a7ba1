"""What odd callers at the door of a raft_node cannot do to anybody."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
import trio

from shared.ipc import frames
from shared.ipc.remote import FRAME_BYTES_MAX, LEAVING, VERSION
from tests.integration.raft.door_caller import HELLO, Caller, kv, linked
from tests.integration.raft.raft_process import (
    RaftProcess,
    call,
    stored,
)


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
