"""rpc_core between its neighbours: every door, every family, the leader's work and the agent's own entry."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from rpc_neighbours import Rig, running, until

from services.rpc_core import snapshot_port
from shared.config.sections import Coordinate, Limits, Performance
from shared.ipc import DeadlineError, RemoteError
from shared.structs.wire import pack, unpack
from tests.promises import within_s

DC = {"Datacenter": "dc1"}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as made:
        yield made


async def settled(rig: Rig) -> dict[str, Any]:
    """Waits until the leader and the agent have written the node's entry; the entry."""
    index = 1
    while True:
        reply = await rig.call(
            "Catalog.NodeServices",
            {**DC, "Node": "n1", "MinQueryIndex": index, "MaxQueryTime": 2_000_000_000},
        )
        found = reply["NodeServices"]
        if found is not None and "consul" in found["Services"] and found["Node"]["TaggedAddresses"]:
            return found
        index = reply["Index"]


def writes_of_keys(rig: Rig) -> int:
    """Commands for keys in the log; other ones come by themselves."""
    return sum(command.startswith(b"\x02") for command in rig.raft.commands)


async def put(rig: Rig, key: str, value: bytes, **entry: Any) -> Any:
    request = {**DC, "Op": entry.pop("op", "set"), "DirEnt": {"Key": key, "Value": value, **entry}}
    return await rig.call("KVS.Apply", request)


async def test_the_leader_registers_itself_and_the_agent_completes_the_entry(rig: Rig) -> None:
    found = await settled(rig)
    assert found["Node"]["ID"] == rig.config.node_id
    assert found["Node"]["Meta"] == {"consul-network-segment": ""}
    assert found["Node"]["TaggedAddresses"] == rig.config.tagged_addresses
    service = found["Services"]["consul"]
    assert (service["Port"], service["Tags"]) == (rig.config.ports.server, None)
    assert service["Meta"]["version"] == "1.8.7"
    checks = (await rig.call("Health.NodeChecks", {**DC, "Node": "n1"}))["HealthChecks"]
    assert [(check["CheckID"], check["Status"]) for check in checks] == [("serfHealth", "passing")]
    assert [command[0] for command in rig.raft.commands[:3]] == [9, 0, 0]
    autopilot = await rig.call("Operator.AutopilotGetConfiguration", DC)
    assert autopilot["LastContactThreshold"] == 200_000_000


async def test_key_values_over_both_doors(rig: Rig) -> None:
    assert await put(rig, "a/1", b"one", Flags=42) is False  # as Consul: only cas and the like say true
    raw = b"\xff\x00\xfe"
    written = await rig.wire("KVS.Apply", {**DC, "Op": "set", "DirEnt": {"Key": "a/2", "Value": raw}})
    assert (written.error, written.body) == ("", False)
    got = await rig.call("KVS.Get", {**DC, "Key": "a/2"})
    assert got["Entries"][0]["Value"] == raw
    assert (got["KnownLeader"], got["LastContact"], got["ConsistencyLevel"]) == (True, 0, "")
    listed = await rig.wire("KVS.List", {**DC, "Key": "a/"})
    assert [entry["Key"] for entry in listed.body["Entries"]] == ["a/1", "a/2"]
    assert listed.body["Index"] == got["Index"]
    keys = await rig.call("KVS.ListKeys", {**DC, "Prefix": "", "Seperator": "/"})
    assert keys["Keys"] == ["a/"]
    missing = await rig.wire("KVS.Get", {**DC, "Key": "none"})
    assert missing.body["Entries"] is None
    index = got["Entries"][0]["ModifyIndex"]
    assert await put(rig, "a/2", b"x", op="cas", ModifyIndex=index - 1) is False
    assert await put(rig, "a/2", b"x", op="cas", ModifyIndex=index) is True


@pytest.mark.parametrize(
    ("method", "body", "error"),
    [
        ("KVS.Apply", {**DC, "Op": "set", "DirEnt": {}}, "Must provide key"),
        ("KVS.Apply", {**DC, "Op": "bogus", "DirEnt": {"Key": "a"}}, "Invalid KVS operation 'bogus'"),
        ("KVS.Get", {"Datacenter": "dc9", "Key": "a"}, "No path to datacenter"),
        ("KVS.Get", {"Key": "a"}, "No path to datacenter"),
        ("Catalog.Register", {**DC, "Address": "1.2.3.4"}, "Must provide node"),
        ("Catalog.Register", {**DC, "Node": "x"}, "Must provide address if SkipNodeUpdate is not set"),
        (
            "Catalog.Register",
            {**DC, "Node": "x", "Address": "1.1.1.1", "Service": {"ID": "s"}},
            "Must provide service name with ID",
        ),
        ("Catalog.Deregister", DC, "Must provide node"),
        ("Catalog.NodeServices", DC, "Must provide node"),
        ("Catalog.ServiceNodes", DC, "Must provide service name"),
        ("Health.ServiceNodes", DC, "Must provide service name"),
        ("Health.ServiceChecks", {**DC, "ServiceName": "s", "TagFilter": True}, "Tag filtering is not supported"),
        ("Session.Apply", {**DC, "Op": "destroy"}, "Must provide ID"),
        ("Session.Apply", {**DC, "Op": "create"}, "Must provide Node"),
        (
            "Session.Apply",
            {**DC, "Op": "create", "Session": {"Node": "n1", "TTL": "1s"}},
            "Invalid Session TTL '1000000000', must be between [10s=24h0m0s]",
        ),
        (
            "Session.Apply",
            {**DC, "Op": "create", "Session": {"Node": "n1", "Behavior": "x"}},
            "Invalid Behavior setting 'x'",
        ),
    ],
)
async def test_refusals_have_consuls_texts_and_leave_the_stream_usable(
    rig: Rig, method: str, body: dict[str, Any], error: str
) -> None:
    assert (await rig.wire(method, body)).error == error
    with pytest.raises(RemoteError) as caught:
        await rig.call(method, body)
    assert (str(caught.value), caught.value.code) == (error, "rpc")


@pytest.mark.parametrize(
    ("method", "body", "error"),
    [
        ("Nope.Nope", {}, "rpc: can't find service Nope.Nope"),
        ("Status.Nope", {}, "rpc: can't find method Status.Nope"),
        ("Nope", {}, "rpc: service/method request ill-formed: Nope"),
        ("KVS.Get", {"Datacenter": 5}, "codec.decoder: "),
    ],
)
async def test_calls_that_cannot_be_understood(rig: Rig, method: str, body: Any, error: str) -> None:
    assert (await rig.wire(method, body)).error.startswith(error)


async def test_a_blocking_query_wakes_on_its_key_and_gives_up_in_time(rig: Rig) -> None:
    await put(rig, "k", b"1")
    index = (await rig.call("KVS.Get", {**DC, "Key": "k"}))["Index"]
    answers: list[Any] = []

    async def wait(timeout_ns: int) -> None:
        body = {**DC, "Key": "k", "MinQueryIndex": index, "MaxQueryTime": timeout_ns}
        answers.append((await rig.wire("KVS.Get", body)).body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 60_000_000_000)
        await until(lambda: len(rig.core.core.hub))
        await put(rig, "other", b"x")
        await put(rig, "k", b"2")
    assert answers[0]["Entries"][0]["Value"] == "2"
    assert answers[0]["Index"] > index
    index = answers[0]["Index"]
    started = trio.current_time()
    await wait(50_000_000)
    assert answers[1] == {**answers[0]}
    assert trio.current_time() - started < 30
    assert len(rig.core.core.hub) == 0


async def test_a_service_is_registered_found_filtered_and_removed(rig: Rig) -> None:
    await settled(rig)
    for number in range(2):
        body = {
            **DC,
            "Node": f"web{number}",
            "Address": f"10.0.0.{number}",
            "NodeMeta": {"rack": f"r{number}"},
            "Service": {"Service": "web", "Port": 80 + number, "Tags": ["v1", f"t{number}"]},
            "Check": {"Name": "alive", "Status": "passing", "ServiceID": "web"},
        }
        assert await rig.call("Catalog.Register", body) == {}
    services = (await rig.call("Catalog.ListServices", DC))["Services"]
    assert sorted(services["web"]) == ["t0", "t1", "v1"]
    tagged = {**DC, "ServiceName": "web", "TagFilter": True, "ServiceTags": ["T1"]}
    found = await rig.call("Health.ServiceNodes", tagged)
    [instance] = found["Nodes"]
    assert (instance["Node"]["Node"], instance["Checks"][0]["CheckID"]) == ("web1", "alive")
    filtered = await rig.wire("Catalog.ServiceNodes", {**DC, "ServiceName": "web", "Filter": "ServicePort == 80"})
    assert [node["Node"] for node in filtered.body["ServiceNodes"]] == ["web0"]
    broken = await rig.wire("Catalog.ListNodes", {**DC, "Filter": "Nope == 1"})
    assert broken.error.startswith("Failed to create boolean expression evaluator: ")
    nodes = await rig.call("Catalog.ListNodes", {**DC, "NodeMetaFilters": {"rack": "r1"}})
    assert [node["Node"] for node in nodes["Nodes"]] == ["web1"]
    dump = await rig.call("Internal.NodeInfo", {**DC, "Node": "web0"})
    assert dump["Dump"][0]["Services"][0]["ID"] == "web"
    await rig.call("Catalog.Deregister", {**DC, "Node": "web0"})
    left = await rig.call("Catalog.ServiceNodes", {**DC, "ServiceName": "web"})
    assert [node["Node"] for node in left["ServiceNodes"]] == ["web1"]
    assert left["Index"] > found["Index"]


async def test_answers_are_sorted_by_distance_from_a_node(rig: Rig) -> None:
    for name, seconds in (("far", 0.5), ("near", 0.1), ("here", 0.0)):
        await rig.call("Catalog.Register", {**DC, "Node": name, "Address": "10.0.0.1"})
        coord = {"Vec": [seconds] + [0.0] * 7, "Error": 1.0, "Adjustment": 0.0, "Height": 0.0}
        assert await rig.call("Coordinate.Update", {**DC, "Node": name, "Coord": coord}) == {}
    index, coordinates = 1, []
    while len(coordinates) < 3:  # one batch of updates, or several
        reply = await rig.call("Coordinate.ListNodes", {**DC, "MinQueryIndex": index, "MaxQueryTime": 2_000_000_000})
        index = reply["Index"]
        coordinates = [
            one for one in reply["Coordinates"] or () if one["Node"] != "n1"
        ]  # which sends its own some time
    assert sorted(one["Node"] for one in coordinates) == ["far", "here", "near"]
    source = {"Datacenter": "dc1", "Node": "here"}
    nodes = (await rig.call("Catalog.ListNodes", {**DC, "Source": source}))["Nodes"]
    assert [node["Node"] for node in nodes if node["Node"] != "n1"] == ["here", "near", "far"]
    refused = await rig.wire("Coordinate.Update", {**DC, "Node": "far", "Coord": {"Vec": [1.0]}})
    assert refused.error == "incompatible coordinate"


async def test_the_agent_sends_its_own_coordinate(tmp_path: Path) -> None:
    knobs = Coordinate(update_period_s=0.01, sync_interval_min_s=0.01, sync_rate_target=1000.0)
    async with running(tmp_path, coordinate=knobs) as rig:
        await settled(rig)
        body = {**DC, "Node": "n1", "MinQueryIndex": 1, "MaxQueryTime": 60_000_000_000}
        [own] = (await rig.call("Coordinate.Node", body, timeout_s=60))["Coordinates"]
        assert own["Coord"]["Error"] == 1.5


async def test_sessions_live_lock_and_die(rig: Rig) -> None:
    await settled(rig)
    create = {**DC, "Op": "create", "Session": {"Node": "n1", "TTL": "60s", "LockDelay": 60_000_000_000}}
    session = await rig.call("Session.Apply", create)
    assert len(session) == 36
    assert len(rig.core.core.session_timers) == 1
    assert await put(rig, "lock", b"", op="lock", Session=session) is True
    renewed = await rig.wire("Session.Renew", {**DC, "SessionID": session})
    assert renewed.body["Sessions"][0]["ID"] == session
    unknown = session[:-1] + ("0" if session[-1] != "0" else "1")
    assert (await rig.wire("Session.Renew", {**DC, "SessionID": unknown})).body["Sessions"] is None
    assert (await rig.wire("Session.Get", {**DC, "SessionID": "x"})).error.startswith("failed session lookup")
    listed = await rig.call("Session.NodeSessions", {**DC, "Node": "n1"})
    assert [one["ID"] for one in listed["Sessions"]] == [session]
    assert await rig.call("Session.Apply", {**DC, "Op": "destroy", "Session": {"ID": session}}) == ""
    assert len(rig.core.core.session_timers) == 0
    other = await rig.call("Session.Apply", create)
    assert await put(rig, "lock", b"", op="lock", Session=other) is False  # the lock-delay of the first holder
    commands = writes_of_keys(rig)
    assert await put(rig, "lock", b"", op="lock", Session=other) is False
    assert writes_of_keys(rig) == commands


async def test_transactions_write_through_the_log_and_read_one_snapshot(rig: Rig) -> None:
    ops = [{"KV": {"Verb": "set", "DirEnt": {"Key": f"t/{n}", "Value": b"v"}}} for n in range(2)]
    written = await rig.call("Txn.Apply", {**DC, "Ops": ops})
    assert (len(written["Results"]), written["Errors"]) == (2, None)
    read = await rig.wire("Txn.Read", {**DC, "Ops": [{"KV": {"Verb": "get-tree", "DirEnt": {"Key": "t/"}}}]})
    assert [result["KV"]["Key"] for result in read.body["Results"]] == ["t/0", "t/1"]
    missing = await rig.call("Txn.Read", {**DC, "Ops": [{"KV": {"Verb": "get", "DirEnt": {"Key": "no"}}}]})
    assert missing["Errors"] == [{"OpIndex": 0, "What": 'key "no" doesn\'t exist'}]
    refused = await rig.call("Txn.Apply", {**DC, "Ops": [{"Node": {"Verb": "set", "Node": {}}}]})
    assert refused["Errors"] == [{"OpIndex": 0, "What": "Must provide node"}]


async def test_status_and_operator(rig: Rig) -> None:
    address = rig.config.rpc_advertise_addr
    assert (await rig.wire("Status.Ping", {})).body == {}
    assert await rig.call("Status.Leader", {}) == address
    assert (await rig.wire("Status.Peers", DC)).body == [address]
    assert (await rig.wire("Status.Leader", {"Datacenter": "dc9"})).error == "No path to datacenter"
    stats = await rig.call("Status.RaftStats", {})
    assert (stats["LastContact"], stats["LastTerm"]) == ("0", 2)
    assert await rig.call("Catalog.ListDatacenters", {}) == ["dc1"]
    configuration = await rig.call("Operator.RaftGetConfiguration", DC)
    assert configuration["Index"] == 0
    [server] = configuration["Servers"]
    assert (server["Node"], server["ProtocolVersion"], server["Voter"], server["Leader"]) == ("n1", "3", True, True)


async def test_the_encoded_write_is_answered_in_one_go(rig: Rig) -> None:
    outcomes: dict[int, Any] = {}

    def encoded(key: str, op: str = "set", **entry: Any) -> list[Any]:
        request = {**DC, "DirEnt": {"Key": key, "Value": b"v", **entry}, "Op": op, "Token": ""}
        return [op, key.encode(), pack(request)]

    def post(number: int, payload: Any) -> None:
        rig.link.post(
            "KVS.ApplyEncoded",
            payload,
            lambda value, error: outcomes.__setitem__(number, value if error is None else str(error)),
            timeout_s=30.0,
        )

    for number in range(64):
        post(number, encoded(f"hot/{number}"))
    post(64, encoded(""))
    post(65, encoded("x", "bogus"))
    post(66, encoded("hot/1", "cas", ModifyIndex=1))
    post(67, ["set"])
    await until(lambda: len(outcomes) == 68)
    assert [outcomes[number] for number in range(64)] == [True] * 64
    assert outcomes[64] == "Must provide key"
    assert outcomes[65] == "Invalid KVS operation 'bogus'"
    assert outcomes[66] is False
    assert "takes [op, key, encoded request]" in outcomes[67]


async def test_members_that_come_fail_and_leave_show_in_the_catalog(rig: Rig) -> None:
    await settled(rig)
    client = rig.gossip.member("c1", Addr="10.0.0.7", Tags={"role": "node", "dc": "dc1", "id": ""})

    async def until_states(condition: Any) -> None:
        index = 1
        while True:
            body = {**DC, "State": "any", "MinQueryIndex": index, "MaxQueryTime": 2_000_000_000}
            reply = await rig.call("Health.ChecksInState", body)
            states = {check["Node"]: check["Status"] for check in reply["HealthChecks"] or ()}
            if condition(states):
                return
            index = reply["Index"]

    rig.gossip.event("join", client)
    await until_states(lambda states: states.get("c1") == "passing")
    rig.gossip.event("failed", {**client, "Status": 4})
    await until_states(lambda states: states.get("c1") == "critical")
    rig.gossip.event("join", client)
    await until_states(lambda states: states.get("c1") == "passing")
    rig.gossip.event("leave", {**client, "Status": 3})
    await until_states(lambda states: "c1" not in states)


async def test_servers_come_and_go_in_the_raft_configuration(rig: Rig) -> None:
    await settled(rig)

    async def configured(expected: list[tuple[str, bool]]) -> None:
        await until(lambda: [(one["address"], one["voter"]) for one in rig.raft.servers] == expected)

    own = (rig.config.rpc_advertise_addr, True)
    tags = rig.gossip.member("n2")["Tags"]
    second = rig.gossip.member("n2", Addr="10.0.0.2", Tags={**tags, "id": "second", "port": "8300"})
    rig.gossip.event("join", second)
    await configured([own, ("10.0.0.2:8300", False)])
    rig.gossip.event("update", {**second, "Addr": "10.0.0.3"})
    await configured([own, ("10.0.0.3:8300", False)])
    rig.gossip.event("failed", {**second, "Addr": "10.0.0.3", "Status": 4})
    rig.gossip.event("leave", {**second, "Addr": "10.0.0.3", "Status": 3})
    await configured([own])


async def test_without_a_leader_calls_wait_and_stale_reads_do_not(tmp_path: Path) -> None:
    async with running(tmp_path, lead=False) as rig:
        assert (await rig.call("KVS.Get", {**DC, "Key": "a", "AllowStale": True}))["KnownLeader"] is False
        answers = []

        async def write() -> None:
            answers.append(await put(rig, "a", b"1"))

        async def write_encoded() -> None:
            request = {**DC, "DirEnt": {"Key": "b", "Value": b"v"}, "Op": "set", "Token": ""}
            answers.append(await rig.call("KVS.ApplyEncoded", ["set", b"b", pack(request)]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(write_encoded)
            # Asked later on the same connection: without a leader neither write is answered.
            await rig.call("KVS.Get", {**DC, "Key": "a", "AllowStale": True})
            assert answers == []
            rig.raft.lead()
        assert sorted(answers) == [False, True]
        rig.raft.refusing = True
        with pytest.raises((RemoteError, DeadlineError)):
            await rig.call("KVS.Apply", {**DC, "Op": "set", "DirEnt": {"Key": "a"}}, timeout_s=0.2)


async def test_the_hold_timeout_ends_in_no_cluster_leader(tmp_path: Path) -> None:
    performance = Performance(rpc_hold_timeout_s=0.2, raft_multiplier=1)
    async with running(tmp_path, lead=False, performance=performance) as rig:
        assert (await rig.wire("KVS.Get", {**DC, "Key": "a"})).error == "No cluster leader"
        with pytest.raises(RemoteError) as caught:
            await rig.call("KVS.ApplyEncoded", ["set", b"a", b""])
        assert (caught.value.code, str(caught.value)) == ("no_leader", "No cluster leader")


async def test_the_agents_own_calls_are_limited_and_the_networks_are_not(tmp_path: Path) -> None:
    async with running(tmp_path, limits=Limits(rpc_rate=0.001, rpc_max_burst=3)) as rig:
        for _ in range(3):
            await rig.call("Status.Leader", {})
        with pytest.raises(RemoteError, match="RPC rate limit exceeded") as caught:
            await rig.call("Status.Leader", {})
        assert caught.value.code == "rate_limited"
        with pytest.raises(RemoteError, match="RPC rate limit exceeded"):
            await rig.call("KVS.ApplyEncoded", ["set", b"a", b""])
        assert (await rig.wire("Status.Leader", {})).error == ""


async def test_the_agent_joins_leaves_and_knows_its_members(rig: Rig) -> None:
    assert [member["Name"] for member in await rig.call("Agent.Members", {"wan": False})] == ["n1"]
    assert [member["Name"] for member in await rig.call("Agent.Members", {"wan": True})] == ["n1.dc1"]
    assert await rig.call("Agent.Join", {"addresses": ["10.0.0.1", "10.0.0.2"], "wan": False}) == 2
    with pytest.raises(RemoteError, match="agent: No node found with name 'ghost'"):
        await rig.call("Agent.ForceLeave", {"node": "ghost", "prune": False})
    await rig.call("Agent.ForceLeave", {"node": "n1", "prune": True})
    stats = await rig.call("Agent.Stats", {})
    assert list(stats) == ["agent", "build", "consul", "raft", "runtime", "serf_lan", "serf_wan"]
    assert stats["consul"]["leader_addr"] == rig.config.rpc_advertise_addr
    started = trio.current_time()
    await rig.call("Agent.Leave", {})
    assert trio.current_time() - started < within_s(1.0)
    pools = [payload["pool"] for name, payload in rig.gossip.calls if name == "Gossip.Leave"]
    assert pools == ["wan", "lan"]


async def test_raft_connections_reach_raft_node(rig: Rig) -> None:
    host, _, port = rig.config.rpc_bind_addr.rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        await stream.send_all(b"\x01\x02raft")
        await until(lambda: rig.raft.handed_over)
        fd = rig.raft.handed_over[0]
        assert os.read(fd, 10) == b"\x02raft"
        os.close(fd)


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ({"Datacenter": "nope", "Op": 0}, "No path to datacenter"),
        ({"Datacenter": "dc1", "Op": 1, "AllowStale": True}, "stale not allowed for restore"),
        ({"Datacenter": "dc1", "Op": 1}, "failed to decompress snapshot: gzip: invalid header"),
        ({"Datacenter": "dc1", "Op": 7}, "unrecognized snapshot op 7"),
    ],
)
async def test_snapshot_requests_are_refused_in_their_own_frame(rig: Rig, header: dict[str, Any], error: str) -> None:
    host, _, port = rig.config.rpc_bind_addr.rpartition(":")
    request = b"\x05" + pack({"AllowStale": False, "Token": "", **header})
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(request[:5])
        await stream.send_all(request[5:])
        if header["Op"] == 1:
            await stream.send_all(b"this is no archive")
            await stream.send_eof()
        data = b""
        while more := await stream.receive_some(4096):
            data += more
    assert unpack(data)["Error"] == error


async def test_a_broken_snapshot_request_ends_its_connection_only(rig: Rig) -> None:
    host, _, port = rig.config.rpc_bind_addr.rpartition(":")
    for junk in (b"\xc1", b"\x81", b""):
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"\x05" + junk)
            await stream.send_eof()
            with trio.fail_after(20):
                assert await stream.receive_some(4096) == b""
    assert await rig.call("Status.Leader", {}) != ""


async def test_an_archive_larger_than_there_is_room_for_is_not_taken(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_port, "room_bytes", lambda file: 10_000)
    host, _, port = rig.config.rpc_bind_addr.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        with trio.fail_after(20):
            try:
                await stream.send_all(b"\x05" + pack({"Datacenter": "dc1", "Op": 1}) + bytes(20_000))
                assert await stream.receive_some(4096) == b""
            except trio.BrokenResourceError:
                await trio.lowlevel.checkpoint()  # closed before all of it was read
    left = Path(rig.config.run_dir).rglob("spool/*/*")  # noqa: ASYNC240 - nothing else runs here
    assert not [path for path in left if path.is_file()]


async def test_a_raft_node_that_comes_back_is_used_again(rig: Rig) -> None:
    """Whoever waits looks again when the change feed was interrupted."""
    await put(rig, "k", b"1")
    index = (await rig.call("KVS.Get", {**DC, "Key": "k"}))["Index"]
    woken = []

    async def wait() -> None:
        woken.append(await rig.call("KVS.Get", {**DC, "Key": "k", "MinQueryIndex": index}, timeout_s=30))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await until(lambda: len(rig.core.core.hub))
        rig.core.core.hub.wake_all()
        await rig.call("KVS.Get", {**DC, "Key": "k"})  # it has looked again by now, and there was nothing new to tell
        assert woken == []
        await put(rig, "k", b"2")
    assert woken[0]["Entries"][0]["Value"] == b"2"
