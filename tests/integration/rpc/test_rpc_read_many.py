"""Reads that need not wait: answered at once, several in one call, and again by a word when nothing has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from rpc_neighbours import Rig, running, until

from shared import many_reads
from shared.server_rpc.connection import ServerConnection
from shared.server_rpc.errors import RemoteCallError, ServerCallError
from shared.wire import rpc

DC = {"Datacenter": "dc1"}


class Peer:
    """A client agent's connection to the RPC port."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def call(self, method: str, body: bytes) -> bytes:
        """The body of the answer, in msgpack. Raises ServerCallError."""
        done = trio.Event()
        outcome: list[tuple[Any, ServerCallError | None]] = []

        def on_reply(value: Any, error: ServerCallError | None) -> None:
            outcome.append((value, error))
            done.set()

        self._connection.post(method, body, on_reply, packed=True)
        with trio.fail_after(30):
            await done.wait()
        value, error = outcome[0]
        if error is not None:
            raise error
        assert isinstance(value, bytes)
        return value

    async def read(self, *reads: tuple[str, dict[str, Any], bytes], stale: bool = False) -> tuple[int, bool, list[Any]]:
        packed = [(method, rpc.pack(body), tag) for method, body, tag in reads]
        reply = await self.call(many_reads.METHOD, many_reads.request("dc1", packed, stale=stale))
        return many_reads.answers(reply, len(reads))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


@pytest.fixture
async def peer(rig: Rig) -> AsyncIterator[Peer]:
    host, _, port = rig.config.rpc_bind_addr.rpartition(":")
    connection = ServerConnection(await trio.open_tcp_stream(host, int(port)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        yield Peer(connection)
        connection.close()


async def put(rig: Rig, key: str, value: bytes) -> None:
    await rig.call("KVS.Apply", {**DC, "Op": "set", "DirEnt": {"Key": key, "Value": value}})


async def test_an_answer_is_told_by_its_tag_until_it_changes(rig: Rig, peer: Peer) -> None:
    await put(rig, "a", b"one")
    question = ("KVS.Get", {**DC, "Key": "a"})
    contact_ns, known_leader, [[what, tag, body]] = await peer.read((*question, b""))
    assert (contact_ns, known_leader, what) == (0, True, many_reads.VALUE)
    assert body == await peer.call("KVS.Get", rpc.pack(question[1])), "as when it is asked alone"

    await put(rig, "b", b"another")
    assert (await peer.read((*question, tag)))[2] == [[many_reads.SAME, b"", b""]]
    await put(rig, "a", b"two")
    _, _, [[what, new_tag, body]] = await peer.read((*question, tag))
    assert (what, new_tag != tag) == (many_reads.VALUE, True)
    assert many_reads.unpacked(body)["Entries"][0]["Value"] == "two"


async def test_what_has_to_wait_or_fails_is_to_be_asked_alone(rig: Rig, peer: Peer) -> None:
    await put(rig, "a", b"one")
    index = (await rig.call("KVS.Get", {**DC, "Key": "a"}))["Index"]
    _, _, answers = await peer.read(
        ("KVS.Get", {**DC, "Key": "a", "MinQueryIndex": index}, b""),
        ("KVS.Get", {**DC, "Key": "a", "RequireConsistent": True}, b""),
        ("KVS.Get", {"Datacenter": "elsewhere", "Key": "a"}, b""),
        ("Health.ServiceNodes", DC, b""),
        ("Health.ServiceNodes", {**DC, "ServiceName": "web", "Filter": "nonsense"}, b""),
        ("KVS.Apply", {**DC, "Op": "delete", "DirEnt": {"Key": "a"}}, b""),
        ("No.Such", DC, b""),
        ("KVS.Get", {**DC, "Key": "a"}, b""),
    )
    assert [what for what, _, _ in answers] == [many_reads.ALONE] * 7 + [many_reads.VALUE]
    assert (await rig.call("KVS.Get", {**DC, "Key": "a"}))["Entries"], "a write is no read"
    with pytest.raises(RemoteCallError, match="Must provide service name"):
        await peer.call("Health.ServiceNodes", rpc.pack(DC))


async def test_answers_by_distance_have_no_tag(peer: Peer) -> None:
    question = {**DC, "ServiceName": "consul", "Source": {"Datacenter": "dc1", "Node": "n1"}}
    _, _, [[what, tag, _]] = await peer.read(("Health.ServiceNodes", question, b""))
    assert (what, tag) == (many_reads.VALUE, b"")


async def test_a_follower_answers_what_may_be_stale(rig: Rig, peer: Peer) -> None:
    await put(rig, "a", b"one")
    rig.raft.follow("127.0.0.1:1")
    _, known_leader, [[what, _, body]] = await peer.read(("KVS.Get", {**DC, "Key": "a"}, b""), stale=True)
    assert (known_leader, what) == (True, many_reads.VALUE)
    assert many_reads.unpacked(body)["Entries"][0]["Value"] == "one"


@pytest.mark.parametrize("body", [b"\xc0", b"\x80", rpc.pack({"Reads": 7}), rpc.pack({"Reads": [["KVS.Get"]]})])
async def test_what_is_no_list_of_reads_is_refused(peer: Peer, body: bytes) -> None:
    with pytest.raises(RemoteCallError):
        await peer.call(many_reads.METHOD, body)


async def test_writes_take_no_detour(rig: Rig, peer: Peer) -> None:
    entry = {"Key": "w", "Value": b"one"}
    assert many_reads.pack(False) == await peer.call("KVS.Apply", rpc.pack({**DC, "Op": "set", "DirEnt": entry}))
    swap = {**DC, "Op": "cas", "DirEnt": {**entry, "ModifyIndex": 0}}
    assert many_reads.pack(False) == await peer.call("KVS.Apply", rpc.pack(swap))
    index = (await rig.call("KVS.Get", {**DC, "Key": "w"}))["Entries"][0]["ModifyIndex"]
    swap["DirEnt"]["ModifyIndex"] = index
    assert many_reads.pack(True) == await peer.call("KVS.Apply", rpc.pack(swap))
    node = {**DC, "Node": "other", "Address": "10.0.0.9"}
    assert await peer.call("Catalog.Register", rpc.pack(node)) == many_reads.pack({})
    assert (await rig.call("Catalog.NodeServices", {**DC, "Node": "other"}))["NodeServices"]["Node"]["Node"] == "other"
    assert await peer.call("Catalog.Deregister", rpc.pack({**DC, "Node": "other"})) == many_reads.pack({})
    assert (await rig.call("Catalog.NodeServices", {**DC, "Node": "other"}))["NodeServices"] is None


async def test_what_is_refused_says_why(peer: Peer) -> None:
    for method, body, why in (
        ("KVS.Apply", {**DC, "Op": "set", "DirEnt": {"Key": ""}}, "Must provide key"),
        ("Catalog.Register", {**DC, "Node": "x"}, "Must provide address"),
        ("KVS.Apply", {"Datacenter": "elsewhere", "Op": "set", "DirEnt": {"Key": "a"}}, "No path to datacenter"),
    ):
        with pytest.raises(RemoteCallError, match=why):
            await peer.call(method, rpc.pack(body))


async def test_a_write_that_finds_no_leader_waits_for_one(rig: Rig, peer: Peer) -> None:
    rig.raft.refusing = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.call, "KVS.Apply", rpc.pack({**DC, "Op": "set", "DirEnt": {"Key": "late"}}))
        await until(lambda: rig.raft.refusals >= 2)  # it came again after it was refused
        rig.raft.refusing = False
    assert (await rig.call("KVS.Get", {**DC, "Key": "late"}))["Entries"]


async def test_a_long_answer_comes_whole(rig: Rig, peer: Peer) -> None:
    for number in range(4):
        await put(rig, f"long/{number}", b"x" * 200_000)
    listed = many_reads.unpacked(await peer.call("KVS.List", rpc.pack({**DC, "Key": "long/"})))
    assert [len(entry["Value"]) for entry in listed["Entries"]] == [200_000] * 4


async def test_who_waits_for_the_same_gets_the_same(rig: Rig, peer: Peer) -> None:
    await put(rig, "w", b"one")
    index = (await rig.call("KVS.Get", {**DC, "Key": "w"}))["Index"]
    answers: list[bytes] = []

    async def wait(method: str, **more: Any) -> None:
        question = {**DC, **more, "MinQueryIndex": index, "MaxQueryTime": 60_000_000_000}
        answers.append(await peer.call(method, rpc.pack(question)))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(partial(wait, "KVS.Get", Key="w"))
        await until(lambda: rig.core.core._blocking == 3)
        await put(rig, "other", b"x")
        await peer.call("KVS.Get", rpc.pack({**DC, "Key": "other"}))  # what that change had set off came before this
        assert answers == []
        await put(rig, "w", b"two")
    assert len(set(answers)) == 1
    assert many_reads.unpacked(answers[0])["Entries"][0]["Value"] == "two"


async def test_a_wait_has_an_end(rig: Rig, peer: Peer) -> None:
    await put(rig, "w", b"one")
    index = (await rig.call("KVS.Get", {**DC, "Key": "w"}))["Index"]
    question = {**DC, "Key": "w", "MinQueryIndex": index, "MaxQueryTime": 50_000_000}
    reply = many_reads.unpacked(await peer.call("KVS.Get", rpc.pack(question)))
    assert (reply["Index"], reply["Entries"][0]["Value"]) == (index, "one")
