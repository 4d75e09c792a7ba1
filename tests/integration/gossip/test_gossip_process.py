"""The gossip process alone and with others of its kind: real sockets, real kills, real floods."""

import errno
import json
import re
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from gossip_process import GossipProcess, wait_for

from services.gossip.codec.messages import COMPRESSED, Ack, Compressed, Ping, encode_message
from services.gossip.codec.packet import decode_packet
from services.gossip.codec.stream import Err, PushPull, StreamDecoder, encode_stream
from shared.config import sections
from shared.ipc import RemoteError
from tests.promises import within_s
from tests.unit.gossip.gossip_bombs import lzw_zeros

ALIVE, LEFT, FAILED = 1, 3, 4
Loopback = Callable[[], str]
# Far from the well-known ports, so that agents started by hand on any address do not matter.
PORTS = sections.Ports(serf_lan=18301, serf_wan=18302, server=18300)


@pytest.fixture
def make(loopback: Loopback, tmp_path: Path) -> Callable[..., GossipProcess]:
    """make(name, **config) -> GossipProcess on an address of its own."""

    def made(name: str, **config: object) -> GossipProcess:
        address = str(config.pop("address", "")) or loopback()
        return GossipProcess(address, tmp_path / name, name, **{"ports": PORTS, **config})

    return made


Make = Callable[..., GossipProcess]


def exchange(address: str, data: bytes, timeout_s: float = 30.0) -> bytes:
    """Send on a stream, half-close, read to the end."""
    with socket.create_connection((address, PORTS.serf_lan), timeout=timeout_s) as stream:
        answer = b""
        try:  # an agent that does not like the beginning may be gone before the end was sent
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            while chunk := stream.recv(65536):
                answer += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
        return answer


def udp_ping(address: str, node: str, timeout_s: float = 20.0) -> Ack | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.sendto(encode_message(Ping(77, node)), (address, PORTS.serf_lan))
        try:
            data = sock.recv(65536)
        except TimeoutError:
            return None
        # Rumours may ride along.
        return next(message for message in decode_packet(data).messages if isinstance(message, Ack))


async def test_a_pool_of_one(make: Make) -> None:
    with make("one") as process:
        async with process.link() as call:
            await call.wait_statuses({"one": ALIVE})
            await call.wait_statuses({"one.dc1": ALIVE}, "wan")
            [member] = await call("Members", pool="lan")
            assert (member["Addr"], member["Port"]) == (process.address, PORTS.serf_lan)
            assert member["Tags"]["role"] == "consul"
            assert member["Tags"]["wan_join_port"] == str(PORTS.serf_wan)
            assert [member[key] for key in ("ProtocolMin", "ProtocolMax", "ProtocolCur")] == [1, 5, 2]
            assert [member[key] for key in ("DelegateMin", "DelegateMax", "DelegateCur")] == [2, 5, 4]
            stats = await call("Stats", pool="lan")
            assert stats == {
                "coordinate_resets": "0",
                "encrypted": "false",
                "event_queue": "0",
                "event_time": "1",
                "failed": "0",
                "health_score": "0",
                "intent_queue": "0",
                "left": "0",
                "member_time": "1",
                "members": "1",
                "query_queue": "0",
                "query_time": "1",
            }
            coordinate = await call("Coordinate", pool="lan")
            assert coordinate["Vec"] == [0.0] * 8
            assert udp_ping(process.address, "one") is not None
            assert udp_ping(process.address, "two", 0.3) is None
            for bad in ({"pool": "moon"}, {"pool": 7}):
                with pytest.raises(RemoteError):
                    await call("Members", **bad)
            for factor in (-1, 256):
                with pytest.raises(RemoteError, match="relay_factor must be from 0 to 255"):
                    await call("Keyring", operation="list-keys", relay_factor=factor)
                with pytest.raises(RemoteError, match="relay_factor must be from 0 to 255"):
                    await call("Query", name="who", relay_factor=factor)
        lines = process.log().splitlines()
        assert lines[0].endswith(f"[INFO]  agent.server.serf.wan: serf: EventMemberJoin: one.dc1 {process.address}")
        assert lines[1].endswith(f"[INFO]  agent.server.serf.lan: serf: EventMemberJoin: one {process.address}")
        assert process.stop() == 0
        tail = process.log().splitlines()[-2:]
        assert tail[0].endswith("[WARN]  agent.server.serf.lan: serf: Shutdown without a Leave")
        assert tail[1].endswith("[WARN]  agent.server.serf.wan: serf: Shutdown without a Leave")


async def test_a_client_is_in_the_lan_pool_only(make: Make) -> None:
    with make("c", server=False) as process:
        async with process.link() as call:
            await call.wait_statuses({"c": ALIVE})
            with pytest.raises(RemoteError, match="has no wan pool"):
                await call("Members", pool="wan")
        assert "agent.client.serf.lan: serf: EventMemberJoin: c" in process.log()


async def test_a_lone_agent_leaves_at_once_and_costs_nothing_while_idle(make: Make) -> None:
    with make("lone") as process:
        async with process.link() as call:
            await call.wait_statuses({"lone": ALIVE})
            await call.wait_statuses({"lone.dc1": ALIVE}, "wan")

            async def cost_s() -> float:
                before = process.cpu_s()
                await trio.sleep(2)  # virtual time does not reach other processes
                return process.cpu_s() - before

            costs = [await cost_s()]
            while min(costs) > 0.1 and len(costs) < 5:  # the end of its start may be among the first
                costs.append(await cost_s())
            assert min(costs) <= 0.1, costs
            started = trio.current_time()
            for pool in ("wan", "lan"):
                await call("Leave", pool=pool)
            assert trio.current_time() - started < within_s(1)
            assert await call.statuses() == {"lone": LEFT}
            with pytest.raises(RemoteError, match="Serf can't Join after Leave or Shutdown"):
                await call("Join", pool="lan", addresses=[process.address])
        assert process.stop() == 0
        assert "EventMemberLeave: lone" in process.log()
        assert "Shutdown without a Leave" not in process.log()


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_port_in_use_is_named(make: Make, kind: str) -> None:
    process = make("p")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as other:
        other.bind((process.address, PORTS.serf_lan))
        if kind == "tcp":
            other.listen()
        with process:
            assert process.wait_exit() == 1
    text = f"listen {kind} {process.address}:{PORTS.serf_lan}: bind: address already in use"
    assert "Failed to start Consul server: Failed to start LAN Serf: " in process.log()
    assert text in process.log()
    assert "choose another port" in process.log()


def test_an_address_of_another_host_is_named(make: Make) -> None:
    with make("p", address="192.0.2.1") as process:
        assert process.wait_exit() == 1
    assert "listen tcp 192.0.2.1:18302: bind: cannot assign requested address" in process.log()


async def test_two_find_each_other_and_see_each_other_die_and_return(make: Make) -> None:
    with make("a", server=False) as a, make("b", server=False) as b:
        async with a.link() as call_a, b.link() as call_b:
            events: list[tuple[str, list[str]]] = []
            await call_a.wait_statuses({"a": ALIVE})
            call_a.link.subscribe(
                "members", lambda one: events.append((one["event"], [member["Name"] for member in one["members"]]))
            )
            assert await call_b("Join", pool="lan", addresses=[a.address]) == 1
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            await call_b.wait_statuses({"a": ALIVE, "b": ALIVE})
            await call_b("SetTags", pool="lan", tags={"role": "node", "dc": "dc1", "acls": "1"})

            async def tags_of_b() -> dict[str, str]:
                return {one["Name"]: one["Tags"] for one in await call_a("Members", pool="lan")}["b"]

            with trio.fail_after(30):
                while (await tags_of_b()).get("acls") != "1":
                    await trio.sleep(0.02)
            b.kill()
            await call_a.wait_statuses({"a": ALIVE, "b": FAILED})
            b.start()
            await call_b.wait_statuses({"b": ALIVE})
            assert await call_b("Join", pool="lan", addresses=[f"a/{a.address}:{PORTS.serf_lan}"]) == 1
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            await call_b("Leave", pool="lan")
            await call_a.wait_statuses({"a": ALIVE, "b": LEFT})
            await wait_for(lambda: ("leave", ["b"]) in events)
            kinds = " ".join(kind for kind, names in events if names == ["b"])
            # A process that gets no processor for a second seems to have failed, and returns.
            assert re.fullmatch(r"join (failed join )*update (failed join )+leave", kinds), kinds
            await call_a("ForceLeave", node="b", prune=True)
            assert await call_a.statuses() == {"a": ALIVE}


async def test_servers_that_join_on_the_lan_meet_on_the_wan(make: Make) -> None:
    with make("s1") as one, make("s2") as two:
        async with one.link() as call_one, two.link() as call_two:
            await call_one.wait_statuses({"s1": ALIVE})
            await call_two("Join", pool="lan", addresses=[one.address])
            for call in (call_one, call_two):
                await call.wait_statuses({"s1.dc1": ALIVE, "s2.dc1": ALIVE}, "wan")


async def test_user_events_reach_the_subscribers_of_all_members(make: Make) -> None:
    with make("a", server=False) as a, make("b", server=False) as b:
        async with a.link() as call_a, b.link() as call_b:
            await call_a.wait_statuses({"a": ALIVE})
            await call_b("Join", pool="lan", addresses=[a.address])
            seen: dict[str, list[dict[str, object]]] = {"a": [], "b": []}
            call_a.link.subscribe("events", seen["a"].append)
            call_b.link.subscribe("events", seen["b"].append)
            await call_a("Stats", pool="lan")
            await call_b("Stats", pool="lan")
            await call_a("UserEvent", name="consul:event:deploy", payload=b"\x81", coalesce=False)
            await wait_for(lambda: seen["a"] and seen["b"])
            assert seen["a"] == seen["b"] == [{"name": "consul:event:deploy", "payload": b"\x81", "ltime": 1}]
            with pytest.raises(RemoteError, match="user event exceeds configured limit of 512 bytes before encoding"):
                await call_a("UserEvent", name="x", payload=bytes(600), coalesce=False)


async def test_failed_joins_tell_why(make: Make, loopback: Loopback) -> None:
    nobody = loopback()
    with make("a") as a:
        async with a.link() as call:
            with pytest.raises(RemoteError) as error:
                await call("Join", pool="lan", addresses=[nobody])
            assert str(error.value) == (
                f"1 error occurred:\n\t* Failed to join {nobody}: "
                f"dial tcp {nobody}:18301: connect: connection refused\n\n"
            )
            with pytest.raises(RemoteError) as error:
                await call("Join", timeout_s=120.0, pool="lan", addresses=[nobody, "no.such.host.invalid"])
            assert str(error.value).startswith("2 errors occurred:\n\t* Failed to join ")
            assert "* Failed to resolve no.such.host.invalid: lookup no.such.host.invalid" in str(error.value)
            for address in ("[::1", "/1.2.3.4", "1.2.3.4:port", ""):
                with pytest.raises(RemoteError, match="Failed to resolve"):
                    await call("Join", pool="lan", addresses=[address])
            with pytest.raises(RemoteError):
                await call("Join", pool="lan")


async def test_agents_of_different_datacenters_do_not_mix(make: Make) -> None:
    with make("a") as a, make("b", datacenter="dc2") as b:
        async with a.link() as call_a, b.link() as call_b:
            await call_a.wait_statuses({"a": ALIVE})
            with pytest.raises(RemoteError, match="Member 'a' part of wrong datacenter 'dc1'"):
                await call_b("Join", pool="lan", addresses=[a.address])
            assert await call_a.statuses() == {"a": ALIVE}
            assert await call_b("Join", pool="wan", addresses=[f"{a.address}:{PORTS.serf_wan}"]) == 1
            await call_a.wait_statuses({"a.dc1": ALIVE, "b.dc2": ALIVE}, "wan")


async def test_a_restarted_agent_finds_its_pool_again_unless_it_left(make: Make, tmp_path: Path) -> None:
    def files(name: str) -> dict[str, object]:
        return {"dev_mode": False, "data_dir": str(tmp_path / f"{name}-data"), "server": False}

    with make("a", **files("a")) as a, make("b", **files("b")) as b:
        async with a.link() as call_a, b.link() as call_b:
            await call_a.wait_statuses({"a": ALIVE})
            await call_b("Join", pool="lan", addresses=[a.address])
            await call_b.wait_statuses({"a": ALIVE, "b": ALIVE})
            b.kill()
            b.start()
            await call_b.wait_statuses({"a": ALIVE, "b": ALIVE})
            await wait_for(lambda: "Re-joined to previously known node: a" in b.log())
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            await call_b("Leave", pool="lan")
            await call_a.wait_statuses({"a": ALIVE, "b": LEFT})
            b.stop()
            b.start()
            await call_b.wait_statuses({"b": ALIVE})
        snapshot = (tmp_path / "b-data" / "serf" / "local.snapshot").read_text()
        assert "leave\n" in snapshot
        assert f"alive: a {a.address}:{PORTS.serf_lan}\n" in snapshot


async def test_an_encrypted_pool_and_the_rotation_of_its_key(make: Make, tmp_path: Path) -> None:
    first, second = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "EBESExQVFhcYGRobHB0eHw=="

    def with_key(name: str, key: str) -> dict[str, object]:
        return {
            "dev_mode": False,
            "data_dir": str(tmp_path / f"{name}-data"),
            "server": False,
            "encrypt": key,
            "disable_keyring_file": False,
        }

    ring = tmp_path / "a-data" / "serf" / "local.keyring"
    with (
        make("a", **with_key("a", first)) as a,
        make("b", **with_key("b", first)) as b,
        make("plain", server=False) as plain,
        make("other", **with_key("other", second)) as other,
    ):
        async with a.link() as call_a, b.link() as call_b, plain.link() as call_plain, other.link() as call_other:
            await call_a.wait_statuses({"a": ALIVE})
            documented = json.loads((Path(__file__).parents[2] / "vectors" / "gossip" / "files.json").read_text())
            assert ring.read_text() == documented["serf/local.keyring right after start with one key"]
            assert ring.stat().st_mode & 0o777 == 0o600
            await call_b("Join", pool="lan", addresses=[a.address])
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            with pytest.raises(RemoteError, match="Remote state is encrypted and encryption is not configured"):
                await call_plain("Join", pool="lan", addresses=[a.address])
            with pytest.raises(RemoteError, match="No installed keys could decrypt the message"):
                await call_other("Join", pool="lan", addresses=[a.address])
            assert udp_ping(a.address, "a", 0.3) is None
            await call_b.wait_statuses({"a": ALIVE, "b": ALIVE})
            for operation, key in (("install-key", second), ("use-key", second)):
                answer = await call_b.keyring(operation, key)
                assert (answer["Error"], answer["NumResp"]) == ("", 2), answer
            assert ring.read_text() == documented["serf/local.keyring after install, use of second key"]
            answer = await call_a.keyring("list-keys")
            assert answer["Keys"] == {first: 2, second: 2}
            answer = await call_a.keyring("remove-key", second)
            assert answer["Error"] == "2/2 nodes reported failure"
            assert (await call_a("Stats", pool="lan"))["encrypted"] == "true"
            assert await call_other("Join", pool="lan", addresses=[a.address]) == 1
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE, "other": ALIVE})


def hostile_datagrams() -> list[bytes]:
    bomb = b"\x09" + COMPRESSED.encode(Compressed(0, lzw_zeros(60_000_000, 8)))
    lying = b"\x04" + b"\xdd\x7f\xff\xff\xff" * 50
    bad_crc = struct.pack(">BI", 12, zlib.crc32(b"x") ^ 1) + b"x"
    return [
        b"",
        b"\x00",
        b"\xff" * 1000,
        b"\x07\xff",
        b"\x07\x02\xff\xff\xff\xff",
        bomb,
        lying,
        bad_crc,
        b"\x08\x04\xc1",
        b"\x09\x82",
        b"\x0c",
        b"\x0a" + bytes(60),
        bytes(60000),
        b"\x04" + b"\x80" * 1400,
        b"\x08\x05" + b"\x81\xa5LTime\x01",
        b"\x01\x80",
        b"\x08\x09\x80",
    ]


async def test_a_flood_of_junk_datagrams_starves_nobody(make: Make) -> None:
    with make("a") as process:
        async with process.link() as call:
            await call.wait_statuses({"a": ALIVE})
            before = process.rss_bytes()
            junk = hostile_datagrams()
            slowest = 0.0
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for round_number in range(40):
                    for number in range(500):
                        sock.sendto(junk[number % len(junk)], (process.address, PORTS.serf_lan))
                    if round_number % 10 == 0:
                        started = trio.current_time()
                        assert await call.statuses() == {"a": ALIVE}
                        slowest = max(slowest, trio.current_time() - started)
            assert slowest < within_s(2)
            assert any(udp_ping(process.address, "a", 0.5) for _ in range(40))
            assert process.rss_bytes() - before < 16 * 1024 * 1024
            assert len(process.log()) < 200_000  # the log is bounded too
            assert await call.statuses() == {"a": ALIVE}


async def test_junk_streams_are_refused_and_leave_nothing_behind(make: Make) -> None:
    with make("a") as process:
        async with process.link() as call:
            await call.wait_statuses({"a": ALIVE})
            bomb = bytes([9]) + COMPRESSED.encode(Compressed(0, lzw_zeros(50 << 20, 8)))
            before = process.rss_bytes()
            for junk in (
                b"",
                b"\x63",
                b"\x06",
                b"\x06\x83",
                b"\x0a\xff\xff\xff\xff",
                b"\x0a\x00\x00\x00\x10" + bytes(16),
                b"\x09\x82\xa4Algo\x07\xa3Buf\xa1x",
                b"\x06" + b"\xde\xff\xff",
                bytes(70000),
                b"\x08\x80",
                b"\x00\x80",
                b"\x06\x83\xa4Join\xc3\xa5Nodes\xce\x7f\xff\xff\xff\xacUserStateLen\x00",
                b"\x06\x83\xa4Join\xc3\xa5Nodes\x00\xacUserStateLen\xce\x7f\xff\xff\xff",
            ):
                await trio.to_thread.run_sync(exchange, process.address, junk)
            answer = await trio.to_thread.run_sync(exchange, process.address, bomb)
            message = StreamDecoder().feed(answer)
            assert isinstance(message, Err)
            assert "after decompression" in message.error
            assert process.rss_bytes() - before < 80 * 1024 * 1024
            answer = exchange(process.address, encode_stream(PushPull(False, (), b"")))
            state = StreamDecoder().feed(answer)
            assert isinstance(state, PushPull)
            assert [record.name for record in state.nodes] == ["a"]
            assert await call.statuses() == {"a": ALIVE}


async def test_idle_connections_are_limited_in_number(make: Make) -> None:
    with make("a") as process:
        async with process.link() as call:
            await call.wait_statuses({"a": ALIVE})
            idle = [socket.create_connection((process.address, PORTS.serf_lan), timeout=30) for _ in range(128)]
            try:

                async def refused() -> bool:
                    with socket.create_connection((process.address, PORTS.serf_lan), timeout=30) as one:
                        one.settimeout(0.3)
                        try:
                            return one.recv(1) == b""
                        except TimeoutError:
                            return False

                with trio.fail_after(30):
                    while not await refused():
                        await trio.sleep(0.01)
                assert await call.statuses() == {"a": ALIVE}
            finally:
                for one in idle:
                    one.close()

            def answered() -> bool:
                try:
                    return bool(exchange(process.address, encode_stream(Ping(5, "a"))))
                except OSError:  # refused: some of the idle ones are not gone yet
                    return False

            with trio.fail_after(30):
                while not await trio.to_thread.run_sync(answered):
                    await trio.sleep(0.01)
