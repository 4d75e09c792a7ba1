"""Hostile peers and real gossip processes: whoever floods, forges or steals is refused, counted and told of in few
words, and meanwhile the honest members go on trusting each other."""

from __future__ import annotations

import base64
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from gossip_process import Caller, GossipProcess, wait_for

from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import (
    COMPRESSED,
    NODE_RECORD,
    PUSH_PULL_HEADER,
    Alive,
    Compressed,
    Dead,
    IndirectPing,
    Message,
    NodeRecord,
    PushPullHeader,
    Suspect,
    User,
    encode_message,
)
from services.gossip.codec.packet import encode_packet
from services.gossip.codec.serf_messages import (
    LeaveIntent,
    QueryMessage,
    QueryResponseMessage,
    UserEventMessage,
    encode_key_request,
    encode_serf,
    encode_tags,
)
from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from shared.config import sections
from shared.ipc import RemoteError
from tests.promises import within_s
from tests.unit.gossip.gossip_bombs import lzw_zeros

ALIVE = 1
Loopback = Callable[[], str]
Make = Callable[..., GossipProcess]
PORTS = sections.Ports(serf_lan=18301, serf_wan=18302, server=18300)
VSN = bytes((1, 5, 2, 2, 5, 4))
KEY, OTHER_KEY = bytes(range(32)), bytes(range(16))
MIB = 1024 * 1024


@pytest.fixture
def make(loopback: Loopback, tmp_path: Path) -> Make:
    """make(name, **config) -> GossipProcess, a client."""

    def made(name: str, **config: Any) -> GossipProcess:
        return GossipProcess(loopback(), tmp_path / name, name, **{"ports": PORTS, "server": False, **config})

    return made


class Attacker:
    """Sends from an address of its own."""

    def __init__(self, source: str, victim: str) -> None:
        self._target = (victim, PORTS.serf_lan)
        self._source = source
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))

    def send(self, *messages: Message, keyring: Keyring | None = None) -> None:
        self.send_bytes(encode_packet(list(map(encode_message, messages)), keyring=keyring))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendto(data, self._target)

    def connect(self) -> socket.socket:
        return socket.create_connection(self._target, timeout=30, source_address=(self._source, 0))

    def stream(self, data: bytes) -> bytes:
        """Send, and read to the end; who is not liked may be cut off before."""
        answer = b""
        try:
            with self.connect() as stream:
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)
                while chunk := stream.recv(65536):
                    answer += chunk
        except OSError:
            pass
        return answer

    def close(self) -> None:
        self._socket.close()


def alive(name: str, address: str, incarnation: int = 1, **tags: str) -> Alive:
    meta = encode_tags({"role": "node", "dc": "dc1", "segment": "", **tags})
    return Alive(incarnation, name, socket.inet_aton(address), PORTS.serf_lan, meta, VSN)


async def counters(call: Caller) -> dict[str, int]:
    """What was counted since the process began."""
    report = await call.link.call("Metrics.Dump", {}, timeout_s=10.0)
    return {name: int(total) for name, _, total in report["Totals"]["Counters"]}


async def join(call: Caller, to: GossipProcess | str) -> None:
    address = to if isinstance(to, str) else to.address
    assert await call("Join", pool="lan", addresses=[address]) == 1


def lines(process: GossipProcess, text: str) -> list[str]:
    return [line for line in process.log().splitlines() if text in line]


def junk() -> list[bytes]:
    nested = b"\x04"
    for _ in range(12):
        nested = b"\x07\x01" + struct.pack(">H", len(nested)) + nested
    return [
        b"", b"\x00", b"\xff" * 1000, b"\x07\xff", nested, b"\x0c\0\0\0\0junk", b"\x04\xdd\x7f\xff\xff\xff",
        b"\x08\x05\x81\xa5LTime\x01", b"\x08\x04\xc1", bytes(60_000), b"\x0a" + bytes(60), b"\x08\x09\x80",
    ]  # fmt: skip


def forged(rng: random.Random, victim: GossipProcess, other: GossipProcess) -> Message:
    """What nobody may believe, or remember for long."""
    number, name = rng.getrandbits(30), f"n{rng.getrandbits(30)}"
    address = f"127.{rng.randrange(1, 250)}.{rng.randrange(250)}.{rng.randrange(1, 250)}"
    choice = rng.randrange(9)
    if choice == 0:
        return alive(name, address, dc="dc9")
    if choice == 1:
        return alive(other.name, address, rng.getrandbits(20))
    if choice == 2:
        return alive("n" * 900, address)
    if choice == 3:
        return rng.choice((Dead, Suspect))(rng.getrandbits(8), victim.name, name)
    if choice == 4:
        return User(encode_serf(UserEventMessage(1 + number % 500, name, rng.randbytes(1000), False)))
    if choice == 5:
        return User(encode_serf(QueryResponseMessage(number % 9, number, name, 0, b"x" * 500)))
    if choice == 6:
        query = QueryMessage(number % 500, number, b"", 0, name, None, 0, 0, 10**9, "_serf_list-keys", b"x" * 900)
        return User(encode_serf(query))
    if choice == 7:
        nowhere = socket.inet_aton("127.0.0.1")
        return IndirectPing(number, nowhere, 1, name, True, nowhere, 1, name)
    return User(encode_serf(LeaveIntent(number % 9, name * rng.randrange(1, 90))))


@contextmanager
def in_background(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """act(stop) runs in a thread until the block ends."""
    stop = threading.Event()
    thread = threading.Thread(target=act, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


MEASURED = sections.Telemetry(prometheus_retention_time_s=600.0)


async def test_under_a_flood_of_forgeries_and_junk_honest_members_keep_each_other(
    make: Make, loopback: Loopback
) -> None:
    with make("a", telemetry=MEASURED, log_level="info") as a, make("b") as b:
        async with a.link() as call_a, b.link() as call_b:
            await call_a.wait_statuses({"a": ALIVE})
            await join(call_b, a)
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            before, pid = a.rss_bytes(), a.process.pid if a.process else 0
            attacker = Attacker(loopback(), a.address)
            rng, rubbish = random.Random(11), junk()
            lzw_bomb = b"\x09" + COMPRESSED.encode(Compressed(0, lzw_zeros(60_000_000, 8)))
            sent = 0

            def flood(stop: threading.Event) -> None:
                nonlocal sent
                while not stop.is_set():
                    for _ in range(50):
                        attacker.send(*(forged(rng, a, b) for _ in range(rng.randrange(1, 4))))
                        attacker.send_bytes(rng.choice(rubbish))
                    attacker.send_bytes(lzw_bomb)
                    sent += 101
                    time.sleep(0.02)

            names = (
                "consul.memberlist.udp.malformed", "consul.memberlist.alive.refused", "consul.memberlist.conflict",
                "consul.serf.msgs.malformed", "consul.serf.events",
            )  # fmt: skip

            async def enough() -> bool:
                counted = await counters(call_a)
                return sent > 1000 and all(counted.get(name, 0) > 10 for name in names)

            slowest, until = 0.0, trio.current_time() + 2
            with in_background(flood), trio.fail_after(60):
                while trio.current_time() < until or not await enough():
                    asked = trio.current_time()
                    await call_a("Stats", pool="lan")
                    slowest = max(slowest, trio.current_time() - asked)
                    await trio.sleep(0.05)
            attacker.close()
            assert slowest < within_s(1)
            assert a.process is not None
            assert (a.process.pid, a.process.poll()) == (pid, None)
            for call in (call_a, call_b):
                await call.wait_statuses({"a": ALIVE, "b": ALIVE})
            heard: list[str] = []
            call_a.link.subscribe("events", lambda one: heard.append(one["name"]))
            await call_a("Stats", pool="lan")
            await call_b("UserEvent", name="consul:event:still-here", payload=b"", coalesce=False)
            await wait_for(lambda: "consul:event:still-here" in heard)

            assert a.rss_bytes() - before < 40 * MIB
            assert len(a.log()) < 150_000, "the log is bounded too"
            [member] = [one for one in await call_a("Members", pool="lan") if one["Name"] == "b"]
            assert (member["Addr"], member["Tags"]["dc"]) == (b.address, "dc1")
        assert a.stop() == 0
        assert lines(a, "more lines like this"), "what was left out of it is told, at the end at the latest"


async def test_without_the_key_nothing_gets_in_and_replays_do_nothing(make: Make, loopback: Loopback) -> None:
    key, other_key = (base64.b64encode(one).decode() for one in (KEY, OTHER_KEY))
    with make("a", encrypt=key, telemetry=MEASURED) as a, make("b", encrypt=key) as b:
        async with a.link() as call_a, b.link() as call_b:
            await call_a.wait_statuses({"a": ALIVE})
            await join(call_b, a)
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            attacker = Attacker(loopback(), a.address)
            heard: list[str] = []
            call_a.link.subscribe("events", lambda one: heard.append(one["name"]))
            await call_a("Stats", pool="lan")
            right, wrong = Keyring([KEY]), Keyring([OTHER_KEY])
            event = User(encode_serf(UserEventMessage(40, "consul:event:once", b"", False)))
            install = QueryMessage(
                40, 77, socket.inet_aton(a.address), 1, "x", None, 0, 0, 10**9, "_serf_install-key",
                encode_key_request(OTHER_KEY),
            )  # fmt: skip
            for ring in (None, wrong):
                for _ in range(200):
                    attacker.send(alive("x", attacker._source), event, User(encode_serf(install)), keyring=ring)
                attacker.stream(encode_stream(PushPull(True, (), b""), ring))
            captured = [right.encrypt(encode_message(one)) for one in (event, User(encode_serf(install)))]
            for _ in range(200):
                for data in captured:
                    attacker.send_bytes(data)
            await wait_for(lambda: "consul:event:once" in heard)

            async def all_arrived() -> dict[str, int]:
                with trio.fail_after(30):
                    while (found := await counters(call_a)).get("consul.memberlist.udp.malformed", 0) < 300:
                        attacker.send(event, keyring=wrong)  # in the place of one that met a full buffer
                        await trio.sleep(0.05)
                return found

            counted = await all_arrived()
            assert counted["consul.memberlist.tcp.malformed"] == 2
            assert heard == ["consul:event:once"]
            assert len(lines(a, "Decrypt packet failed")) <= 24
            assert len(lines(a, "Received install-key query")) == 1, "the right key, once"
            for call in (call_a, call_b):
                await call.wait_statuses({"a": ALIVE, "b": ALIVE})

            for operation, of in (("install-key", other_key), ("use-key", other_key), ("remove-key", key)):
                assert (await call_b.keyring(operation, of))["Error"] == ""
            before = (await counters(call_a))["consul.memberlist.udp.malformed"]
            with trio.fail_after(30):
                while (await counters(call_a))["consul.memberlist.udp.malformed"] == before:
                    attacker.send_bytes(right.encrypt(encode_message(alive("late", attacker._source))))
                    await trio.sleep(0.02)
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            attacker.close()


async def test_streams_of_one_address_leave_room_and_memory_for_others(make: Make, loopback: Loopback) -> None:
    with make("a", telemetry=MEASURED) as a, make("b") as b:
        async with a.link() as call_a, b.link() as call_b:
            await call_a.wait_statuses({"a": ALIVE})
            before = a.rss_bytes()
            attacker = Attacker(loopback(), a.address)
            header = b"\x06" + PUSH_PULL_HEADER.encode(PushPullHeader(60_000, 0, False))
            record = NODE_RECORD.encode(NodeRecord("", b"", 0, b"", 0, 0, b""))
            held = [attacker.connect() for _ in range(60)]
            for number, stream in enumerate(held):
                try:
                    stream.sendall(header + record * 40_000 if number % 2 else b"\x06")
                except OSError:  # over the limit: closed at once
                    continue
            await join(call_b, a)
            for call in (call_a, call_b):
                await call.wait_statuses({"a": ALIVE, "b": ALIVE})
            counted = await counters(call_a)
            assert counted["consul.memberlist.tcp.rejected"] >= 60 - 32
            assert a.rss_bytes() - before < 120 * MIB
            for stream in held:
                stream.close()
            endless = b"\x06" + PUSH_PULL_HEADER.encode(PushPullHeader(1 << 40, 0, False))
            with trio.fail_after(30):
                while not lines(a, "1099511627776 nodes announced, the limit is 65536"):
                    attacker.stream(endless)  # refused while the closed ones are still there
                    await trio.sleep(0.05)
            attacker.close()


async def test_another_cluster_and_a_thief_of_names_are_refused_on_both_sides(make: Make) -> None:
    with (
        make("a", telemetry=MEASURED) as a, make("b") as b, make("b2", telemetry=MEASURED) as thief,
        make("c", datacenter="dc2", telemetry=MEASURED) as stranger,
    ):  # fmt: skip
        async with a.link() as call_a, b.link() as call_b, stranger.link() as call_stranger:
            await call_a.wait_statuses({"a": ALIVE})
            await join(call_b, a)
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})
            for _ in range(3):
                with pytest.raises(RemoteError, match=r"Member '[ab]' part of wrong datacenter 'dc1'"):
                    await join(call_stranger, a)
            await wait_for(lambda: len(lines(a, "Failed push/pull merge: Member 'c' part of wrong datacenter")) == 3)
            for call in (call_a, call_stranger):
                assert (await counters(call))["consul.memberlist.merge.refused"] == 3
            assert await call_stranger.statuses() == {"c": ALIVE}

            thief.kill()
            thief.config = thief.config.replace(node_name="b", node_id="99999999-0000-0000-0000-000000000000")
            thief.start()
            async with thief.link() as call_thief:
                await call_thief.wait_statuses({"b": ALIVE})
                await join(call_thief, a)
                text = f"serf: Name conflict for 'b' both {b.address}:18301 and {thief.address}:18301 are claiming"
                await wait_for(lambda: lines(a, text))
                await wait_for(lambda: lines(thief, "Node name conflicts with another node at"))
                assert (await counters(call_a))["consul.memberlist.conflict"] >= 1
            thief.kill()
            [member] = [one for one in await call_a("Members", pool="lan") if one["Name"] == "b"]
            assert member["Addr"] == b.address
            await call_a.wait_statuses({"a": ALIVE, "b": ALIVE})


async def test_no_name_of_a_server_ends_the_process(make: Make, loopback: Loopback) -> None:
    """Servers are brought into the WAN pool, and after a restart into the LAN pool, by names that they choose."""
    names = ["x/\udcff", "x/" + "y" * 100, "x/y.\0", "x/" + "a." * 200, "/", "..", "x\ny 127.0.0.1:1"]
    server = {"role": "consul", "port": "8300", "vsn": "2", "build": "1.8.7:", "wan_join_port": "9"}
    with make("a", server=True) as a:
        async with a.link() as call:
            await call.wait_statuses({"a": ALIVE})
            addresses = [loopback() for _ in names]
            attacker = Attacker(addresses[0], a.address)
            for name, address in zip(names, addresses, strict=True):
                attacker.send(alive(name, address, **server))
            for address in addresses:
                await wait_for(lambda tried=f" address={address}:9 error=": lines(a, tried))
            attacker.close()
            assert len(await call.statuses()) == len(names) + 1
            assert a.process is not None
            assert a.process.poll() is None


async def test_what_a_peer_is_called_is_told_as_text(make: Make, loopback: Loopback) -> None:
    address = loopback()
    meta = encode_tags({"role": "node", "dc": "dc2", "segment": ""})
    record = NodeRecord("x\udcff", socket.inet_aton(address), PORTS.serf_lan, meta, 1, 0, VSN)

    async def answer(stream: trio.SocketStream) -> None:
        decoder = StreamDecoder()
        async with stream:
            while decoder.feed(bytes(await stream.receive_some(65536))) is None:
                pass
            await stream.send_all(encode_stream(PushPull(True, (record,), b"")))

    with make("a") as a, trio.fail_after(60):
        async with a.link() as call, trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(PORTS.serf_lan, host=address)
            nursery.start_soon(trio.serve_listeners, answer, listeners)
            with pytest.raises(RemoteError, match="Member 'x\ufffd' part of wrong datacenter 'dc2'"):
                await join(call, address)
            nursery.cancel_scope.cancel()
