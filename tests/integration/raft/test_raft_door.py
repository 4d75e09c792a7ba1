"""The door of a real raft_node: what gateways of other agents get there."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio

from services.raft_node import door
from services.raft_node.core.configuration import ADD_VOTER
from shared.config import runtime
from shared.config.sections import Limits, Raft
from shared.ipc import Link, frames
from shared.ipc.remote import CALLS_MAX, LEAVING, PAYLOAD_BYTES_MAX, VERSION
from shared.state.queries import catalog
from shared.state.reader import StateReader
from shared.structs.catalog import DeregisterRequest, NodeService, RegisterRequest
from shared.structs.commands import encode
from shared.structs.kv import DirEntry, KVSRequest
from shared.structs.registration import prepare_deregister, prepare_register
from tests.integration.raft.door_caller import HELLO, LIMIT_S, Caller, kv, linked
from tests.integration.raft.raft_process import (
    Make,
    RaftProcess,
    apply,
    call,
    hand_over_connections,
    kv_set,
    stored,
)
from tests.loopback import LoopbackPool

PATIENT = Raft(heartbeat_timeout_s=60.0, election_timeout_s=60.0, leader_lease_timeout_s=60.0)
"""A leader that hears from nobody stays one for the length of a test."""


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
