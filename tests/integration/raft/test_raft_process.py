"""raft_node as a real process: elections, durability across kills, refusals, connections of other servers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

from services.raft_node.log.segment import HEADER_BYTES, decode_header, frames
from shared.ipc import Link, RemoteError
from shared.state.leadership import LeadershipPage
from tests.integration.raft.raft_process import (
    CALM,
    Make,
    apply,
    apply_by_leader,
    call,
    kv_set,
    leader_of,
    start_cluster,
    stored,
    wait_applied,
    wait_leader,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "raft"


# ---- one server -----------------------------------------------------------------------------------


async def test_a_dev_server_elects_itself_with_the_lines_of_a_real_one(nursery: trio.Nursery, make: Make) -> None:
    process = make(dev=True)
    process.start()
    link = process.link()
    await nursery.start(link.run)
    assert await apply(link, "a", b"1") == 3
    node_id, address = process.config.node_id, process.config.rpc_advertise_addr
    assert process.log_lines() == [
        f'[INFO]  agent.server.raft: initial configuration: index=1 servers="[{{Suffrage:Voter ID:{node_id} '
        f'Address:{address}}}]"',
        f'[INFO]  agent.server.raft: entering follower state: follower="Node at {address} [Follower]" leader=',
        "[WARN]  agent.server.raft: heartbeat timeout reached, starting election: last-leader=",
        f'[INFO]  agent.server.raft: entering candidate state: node="Node at {address} [Candidate]" term=2',
        "[DEBUG] agent.server.raft: votes: needed=1",
        f"[DEBUG] agent.server.raft: vote granted: from={node_id} term=2 tally=1",
        "[INFO]  agent.server.raft: election won: tally=1",
        f'[INFO]  agent.server.raft: entering leader state: leader="Node at {address} [Leader]"',
    ]
    stats = await call(link, "Raft.Stats")
    assert (stats["state"], stats["term"], stats["applied_index"], stats["num_peers"]) == ("Leader", "2", "3", "0")
    assert await call(link, "Raft.Configuration") == {
        "index": 1,
        "servers": [{"id": node_id, "address": address, "voter": True, "leader": True}],
    }
    page = LeadershipPage.open(os.path.join(process.config.state_dir, "leader.page")).read()
    assert (page.role, page.term, page.leader_address, page.commit_index, page.applied_index, page.ready) == (
        "leader", 2, address, 3, 3, True,
    )  # fmt: skip
    assert page.lease_end_ns > 1 << 62
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("dev", [True, False])
async def test_acknowledged_writes_survive_kills(nursery: trio.Nursery, make: Make, dev: bool) -> None:
    process = make(dev=dev)
    link = process.link()
    await nursery.start(link.run)
    expected = {}
    for life in range(4):
        process.start()
        for number in range(10):
            key = f"{life}/{number}"
            await apply(link, key, key.encode())
            expected[key] = key.encode()
        process.kill()
    process.start()
    await wait_leader(link)
    assert stored(process) == expected
    nursery.cancel_scope.cancel()


async def test_a_state_store_that_is_lost_is_built_again_from_snapshot_and_log(
    nursery: trio.Nursery, make: Make
) -> None:
    process = make(raft_trailing_logs=10)
    process.start()
    link = process.link()
    await nursery.start(link.run)
    for number in range(40):
        await apply(link, f"k{number}", b"before")
    taken = await call(link, "Raft.Snapshot")
    assert taken["index"] == 42
    directory = process.data_dir / "raft" / "snapshots" / taken["id"]
    assert json.loads((directory / "meta.json").read_text())["Index"] == 42
    await apply(link, "k39", b"after")
    assert process.stop() == 0
    shutil.rmtree(process.config.state_dir)
    process.start()
    stats = await wait_leader(link)
    assert stats["last_snapshot_index"] == "42"
    assert stored(process) == {**{f"k{number}": b"before" for number in range(39)}, "k39": b"after"}
    assert "restored from snapshot" in process.log
    nursery.cancel_scope.cancel()


async def test_a_large_kv_command_becomes_several_entries(nursery: trio.Nursery, make: Make) -> None:
    process = make()
    process.start()
    link = process.link()
    await nursery.start(link.run)
    first = await apply(link, "small", b"x")
    value = os.urandom(1_100_000)
    index, result = await link.call("Raft.Apply", kv_set("large", value), timeout_s=30)
    assert (index, result) == (first + 3, None)
    assert stored(process)["large"] == value
    nursery.cancel_scope.cancel()


async def test_errors_of_commands_reach_the_caller_and_change_records_the_subscribers(
    nursery: trio.Nursery, make: Make
) -> None:
    process = make(dev=True)
    process.start()
    link = process.link()
    records: list[Any] = []
    link.subscribe("changes", records.append)
    await nursery.start(link.run)
    await apply(link, "a", b"1")
    lock = kv_set("a", b"1").replace(b"\xa3set", b"\xa4lock")
    with pytest.raises(RemoteError, match=r"^missing session$") as caught:
        await link.call("Raft.Apply", lock, timeout_s=30)
    assert caught.value.code == "rpc"
    for junk in (None, b"", "text", 7):
        with pytest.raises(RemoteError) as refused:
            await link.call("Raft.Apply", junk, timeout_s=30)
        assert refused.value.code == "bad_request"
    assert records == [[3, [["kv", "a"]]]]
    nursery.cancel_scope.cancel()


async def test_requests_that_come_together_are_one_batch(nursery: trio.Nursery, make: Make) -> None:
    process = make()
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await apply(link, "first", b"")
    done: list[Any] = []
    finished = trio.Event()

    def on_done(value: Any, error: Exception | None) -> None:
        done.append(value if error is None else error)
        if len(done) == 200:
            finished.set()

    for number in range(200):
        link.post("Raft.Apply", kv_set(f"k{number}", b"v"), on_done, timeout_s=30)
    link.flush()
    with trio.fail_after(30):
        await finished.wait()
    assert sorted(index for index, _ in done) == list(range(4, 204))
    [segment] = (process.data_dir / "raft" / "wal").iterdir()
    data = segment.read_bytes()
    assert len(list(frames(data, decode_header(data).seed))) < 50  # one for each write and fdatasync
    nursery.cancel_scope.cancel()


# ---- refusals -------------------------------------------------------------------------------------


async def test_a_second_agent_on_the_data_dir_is_refused(nursery: trio.Nursery, make: Make) -> None:
    process = make()
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await wait_leader(link)
    second = make("n2")
    second.config = second.config.replace(data_dir=process.config.data_dir, state_dir=process.config.state_dir)
    second.start()
    assert second.wait_exit() == 1
    assert "is in use by another agent" in second.log
    assert await apply(link, "still", b"alive")
    nursery.cancel_scope.cancel()


async def test_a_damaged_log_refuses_to_start_and_says_where(nursery: trio.Nursery, make: Make) -> None:
    process = make()
    process.start()
    link = process.link()
    await nursery.start(link.run)
    for number in range(5):
        await apply(link, f"k{number}", b"v")
    process.stop()
    [segment] = (process.data_dir / "raft" / "wal").iterdir()
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES + 40] ^= 1
    segment.write_bytes(data)
    process.start()
    assert process.wait_exit() == 1
    assert f"{segment} is damaged at offset {HEADER_BYTES}" in process.log
    assert "Restore the data directory from a backup" in process.log
    nursery.cancel_scope.cancel()


async def test_a_torn_tail_is_cut_and_said(nursery: trio.Nursery, make: Make) -> None:
    process = make()
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await apply(link, "k", b"v")
    process.kill()
    [segment] = (process.data_dir / "raft" / "wal").iterdir()
    used = len(segment.read_bytes().rstrip(b"\0"))
    at, torn = used + 7 & ~7, b"FRME half a frame"
    data = bytearray(segment.read_bytes())
    data[at : at + len(torn)] = torn
    segment.write_bytes(data)
    process.start()
    await wait_leader(link)
    assert "cut off an unfinished write at the end of the log: bytes=17" in process.log
    assert stored(process) == {"k": b"v"}
    nursery.cancel_scope.cancel()


def test_a_foreign_log_is_refused(make: Make) -> None:
    process = make()
    (process.data_dir / "raft").mkdir(parents=True)
    (process.data_dir / "raft" / "raft.db").write_bytes(b"bolt")
    process.start()
    assert process.wait_exit() == 1
    assert "raft.db" in process.log


def test_an_unwritable_data_dir_is_refused(make: Make) -> None:
    process = make()
    process.data_dir.write_text("a file")
    process.start()
    assert process.wait_exit() == 1
    assert "-data-dir that it owns" in process.log


# ---- connections of other servers -----------------------------------------------------------------


async def handed_over(link: Link) -> trio.SocketStream:
    """Our end of a connection that raft_node got through rpc_core, first byte already read."""
    ours, theirs = socket.socketpair()
    with theirs:
        link.send_fds("Raft.Handoff", {"source": "127.0.0.1:1"}, [theirs.fileno()])
    ours.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours))


async def receive_exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    with trio.fail_after(30):
        while len(data) < size:
            more = await stream.receive_some(size - len(data))
            assert more, "the connection was closed"
            data += more
    return data


async def test_captured_requests_get_the_answers_of_a_real_server(nursery: trio.Nursery, make: Make) -> None:
    """A server without configuration, as the real one was when the vectors were taken."""
    exchanges = json.loads((VECTORS / "raft_rpc.json").read_text())["exchanges"]
    process = make(bootstrap=False)
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await call(link, "Raft.Stats")
    stream = await handed_over(link)
    for name in ("vote_unsupported_protocol", "append_rejected_gap", "append_configuration", "append_multi"):
        exchange = exchanges[name]
        expected = bytes.fromhex(exchange["response_error_hex"] + exchange["response_hex"])
        await stream.send_all(bytes.fromhex(exchange["request_hex"]))
        if name == "append_configuration":
            await receive_exactly(stream, len(expected))  # the real server had an empty log, too, but other terms
        else:
            assert await receive_exactly(stream, len(expected)) == expected, name
    stats = await call(link, "Raft.Stats")
    assert (stats["last_log_index"], stats["commit_index"], stats["term"]) == ("3", "3", "2")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("junk", [b"\x07", b"\x00\xc1", b"\x00" + bytes(50), b"\x02\x80" * 9, b"GET / HTTP/1.1\r\n"])
async def test_garbage_closes_the_connection_and_nothing_else(nursery: trio.Nursery, make: Make, junk: bytes) -> None:
    process = make(dev=True)
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await wait_leader(link)
    stream = await handed_over(link)
    with trio.fail_after(30), contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(junk)
        await stream.send_eof()
        while await stream.receive_some(1000):
            pass
    stats = await call(link, "Raft.Stats")
    assert (stats["state"], stats["term"]) == ("Leader", "2")
    nursery.cancel_scope.cancel()


# ---- three servers --------------------------------------------------------------------------------


async def test_three_servers_elect_replicate_fail_over_and_catch_up(nursery: trio.Nursery, make: Make) -> None:
    processes = [make(f"n{n}", bootstrap=False, raft_trailing_logs=10, raft=CALM) for n in range(3)]
    links, leader = await start_cluster(nursery, processes)
    for number in range(50):
        index = await apply_by_leader([links[leader], *links], f"k{number}", b"1")
    await wait_applied(links, index)
    leader = await leader_of(links)
    await call(links[leader], "Raft.ReadIndex")
    with pytest.raises(RemoteError) as refused:
        await links[(leader + 1) % 3].call("Raft.Apply", kv_set("x", b""), timeout_s=30)
    assert refused.value.code == "not_leader"
    assert refused.value.data == {"leader": processes[leader].config.rpc_advertise_addr, "door": True}
    processes[leader].kill()
    others = [n for n in range(3) if n != leader]
    new = await leader_of(links, among=others)
    remaining = [links[new], *(links[n] for n in others if n != new)]
    for number in range(1200):  # more than the leader keeps in memory
        await apply_by_leader(remaining, f"k{number % 60}", b"2")
    await call(links[new], "Raft.Snapshot")
    processes[leader].start()
    index = await apply_by_leader(remaining, "last", b"3")
    await wait_applied(links, index)
    states = [stored(process) for process in processes]
    assert states[0] == states[1] == states[2]
    assert len(states[0]) == 61
    nursery.cancel_scope.cancel()


async def test_local_reads_need_not_stop_while_the_process_is_restarted(nursery: trio.Nursery, make: Make) -> None:
    """The page goes on showing the leader: alone in its cluster, nobody else can have become one."""
    process = make()
    process.start()
    link = process.link()
    await nursery.start(link.run)
    await apply(link, "k", b"v")
    page = LeadershipPage.open(os.path.join(process.config.state_dir, "leader.page"))
    assert (page.read().role, page.read().term) == ("leader", 2)
    process.kill()
    process.start()
    roles = set()
    with trio.fail_after(30):
        while page.read().term == 2:
            roles.add(page.read().role)
            await trio.sleep(0.001)
    assert roles == {"leader"}
    assert (page.read().role, page.read().term) == ("leader", 3)
    nursery.cancel_scope.cancel()
