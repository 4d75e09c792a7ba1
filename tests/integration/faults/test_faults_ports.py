"""Garbage and floods on every port but HTTP's: the right error or silence, no crash, no memory kept, no endless log."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dnslib
import pytest

from shared.wire import rpc
from tests.agents import Agent, wait_until
from tests.integration.faults.processes import bounded, memory_kib
from tests.integration.faults.raw import connected, read_to_end
from tests.unit.fuzz.odd_calls import odd_call

RPC, DNS, LAN, WAN = 8300, 8600, 8301, 8302
VECTORS = Path(__file__).resolve().parents[2] / "vectors"
CONNECTION_BYTES = range(10)
"""Type bytes of the RPC port that mean something, and some that do not."""


def call(agent: Agent, method: str, body: object) -> rpc.Response:
    """One call on a connection of its own."""
    with connected(agent.address, RPC) as sock:
        sock.sendall(b"\0" + rpc.encode_request(7, method, body))
        decoder = rpc.ResponseDecoder()
        while True:
            data = sock.recv(1 << 16)
            assert data, f"no answer to {method}"
            for response in decoder.feed(data):
                return response


def resolve(agent: Agent, name: str) -> dnslib.DNSRecord:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)

        def answer() -> bytes:
            """A question that met a full buffer is lost: it is asked again, as every resolver does."""
            sock.sendto(dnslib.DNSRecord.question(name).pack(), (agent.address, DNS))
            return sock.recv(1 << 16)

        return dnslib.DNSRecord.parse(wait_until(answer, what=f"the address of {name}"))


def assert_serves(agent: Agent) -> None:
    assert call(agent, "Status.Ping", {}).error == ""
    assert str(resolve(agent, "consul.service.consul").rr[0].rdata) == agent.address
    assert agent.http("PUT", "/v1/kv/still", b"here").body.strip() == b"true"
    assert [member["Status"] for member in agent.http("GET", "/v1/agent/members").json()] == [1]


def throw(agent: Agent, port: int, data: bytes, wait_s: float = 0.2) -> bytes:
    """Sends and reads what comes within `wait_s`; a connection that is reset counts as silence."""
    with contextlib.suppress(OSError), connected(agent.address, port) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock, wait_s)[0]
    return b""


def throw_all(agent: Agent, port: int, pieces: list[bytes]) -> None:
    """Throws each; in the end the agent has let go of all, so that none counts for a limit of connections."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: throw(agent, port, data), pieces))
    agent.wait_quiet(port)


def damage(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, cut out or doubled; sometimes the end is missing."""
    out = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            out[at : at + 1] = rng.randbytes(rng.randrange(3))
        elif kind == 1:
            del out[at : at + rng.randrange(4)]
        elif kind == 2:
            out[at:at] = out[at : at + 8] * rng.randrange(1, 50)
        else:
            out[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xdd\xff\xff\xff"])
    return bytes(out[: rng.randrange(len(out) + 1)] if rng.random() < 0.2 else out)


def test_every_first_byte_of_the_rpc_port_with_garbage_behind_it(agent: Agent) -> None:
    rng = random.Random(1)
    pieces = [bytes((first,)) + rng.randbytes(rng.choice((0, 1, 12, 300))) for first in range(256)]
    pieces += [bytes((first,)) + rng.randbytes(70_000) for first in CONNECTION_BYTES]
    with bounded(agent, grows_kib=16_000, lines=3 * len(pieces)):
        throw_all(agent, RPC, pieces)
        assert_serves(agent)


def raft_requests() -> list[bytes]:
    exchanges = json.loads((VECTORS / "raft" / "raft_rpc.json").read_text())["exchanges"].values()
    return [bytes.fromhex(exchange["request_hex"]) for exchange in exchanges if "request_hex" in exchange]


def yamux_frames() -> list[bytes]:
    """Whole client sides of captured sessions, without the type byte."""
    sessions = json.loads((VECTORS / "rpc" / "yamux_sessions.json").read_text())["scenarios"].values()
    sides = []
    for session in sessions:
        frames = [frame for frame in session["frames"] if frame["dir"] == "c2s" and "header_hex" in frame]
        sides.append(b"".join(bytes.fromhex(frame["header_hex"] + frame.get("payload_hex", "")) for frame in frames))
    return [side for side in sides if side]


def frame(kind: int, flags: int, stream: int, length: int, version: int = 0) -> bytes:
    return struct.pack(">BBHII", version, kind, flags, stream, length)


YAMUX_VIOLATIONS = [
    frame(0, 0, 1, 10, version=9),
    frame(9, 0, 1, 0),
    frame(0, 1, 1, 0xFFFFFFFF) + b"x" * 1000,
    frame(1, 1, 2, 0),
    frame(1, 1, 1, 0) * 3,
    frame(1, 1, 1, 0xFFFFFFFF) * 2,
    frame(1, 4, 1, 0) * 2,
    b"".join(frame(1, 1, 2 * number + 1, 0) for number in range(3000)),
    b"".join(frame(2, 1, 0, number) for number in range(3000)),
    frame(3, 0, 0, 0) + frame(1, 1, 1, 0),
]


def test_odd_frames_for_raft_and_the_multiplexer(agent: Agent) -> None:
    """Raft's vectors vote in terms and for addresses of another cluster, so only damaged ones are thrown."""
    rng = random.Random(2)
    pieces = [b"\x04" + violation for violation in YAMUX_VIOLATIONS]
    pieces += [b"\x04" + damage(rng, rng.choice(yamux_frames())) for _ in range(100)]
    pieces += [b"\x01" + rng.randbytes(1) + damage(rng, request[1:]) for request in raft_requests() * 3]
    pieces += [b"\x01" + bytes((kind,)) + rng.randbytes(200) for kind in range(8)]
    term = agent.http("GET", "/v1/agent/self").json()["Stats"]["raft"]["term"]
    with bounded(agent, grows_kib=16_000, lines=6 * len(pieces)):
        throw_all(agent, RPC, pieces)
        wait_until(lambda: agent.http("GET", "/v1/status/leader").json(), what="a leader")
        assert_serves(agent)
    assert int(agent.http("GET", "/v1/agent/self").json()["Stats"]["raft"]["term"]) >= int(term)


def test_streams_that_rest_cost_little(agent: Agent) -> None:
    """Three thousand on one connection: as many as a client may open, with one call made on each."""
    encoded = rpc.encode_request(1, "Status.Ping", {})
    before = memory_kib(agent)["rpc_core"]
    with bounded(agent, grows_kib=8_000, lines=20), connected(agent.address, RPC) as sock:
        sock.sendall(b"\x04")
        for stream in range(1, 6001, 2):
            sock.sendall(frame(0, 1, stream, len(encoded)) + encoded)
            if stream % 200 == 1:
                read_to_end(sock, 0.02)
        read_to_end(sock, 0.5)
        assert memory_kib(agent)["rpc_core"] - before < 40_000
        assert_serves(agent)


def test_half_open_connections_hold_up_nobody(agent: Agent) -> None:
    """Up to rpc_max_conns_per_client (100) of them, with no byte or with half a message."""
    agent.wait_quiet(RPC)
    halves = [b"", b"\0\x82", b"\x01\x00\x88", b"\x04\x00\x00", b"\x04" + frame(0, 1, 1, 9000), b"\x05"]
    with contextlib.ExitStack() as stack:
        for number in range(90):
            sock = stack.enter_context(connected(agent.address, RPC))
            sock.sendall(halves[number % len(halves)])
        assert_serves(agent)
    with bounded(agent, grows_kib=8_000, lines=600):
        assert_serves(agent)


def test_odd_calls_are_refused_or_done_and_poison_nothing(agent: Agent) -> None:
    rng = random.Random(3)
    refused = 0
    with bounded(agent, grows_kib=64_000, lines=4000), contextlib.ExitStack() as stack:
        sock, decoder = None, rpc.ResponseDecoder()
        for number in range(1000):
            if sock is None:
                sock, decoder = stack.enter_context(connected(agent.address, RPC)), rpc.ResponseDecoder()
                sock.sendall(b"\0")
            sock.sendall(rpc.encode_request(number, *odd_call(rng)))
            responses: list[rpc.Response] = []
            while not responses:
                data = sock.recv(1 << 16)
                assert data, "the connection ended without an answer"
                responses = list(decoder.feed(data))
            assert "inside the server" not in responses[0].error
            refused += bool(responses[0].error)
            if responses[0].error.startswith(("codec.decoder", "rpc:")):
                sock = None  # a call that is malformed ends its connection
        assert 100 < refused < 900
        for path in ("/v1/catalog/nodes", "/v1/session/list", "/v1/kv/?recurse", "/v1/health/state/any"):
            assert agent.http("GET", path).status in (200, 404)
        assert call(agent, "Status.Ping", {}).error == ""


def dns_questions() -> Iterator[bytes]:
    for name in ("consul.service.consul", "node1.node.consul", "_a._tcp.service.consul", "x" * 63 + ".consul", "."):
        for kind in ("A", "ANY", "SRV", "AXFR", "PTR"):
            yield bytes(dnslib.DNSRecord.question(name, kind).pack())
    yield struct.pack(">6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c\x00\x01\x00\x01"  # a name that points at itself
    yield struct.pack(">6H", 2, 0, 0xFFFF, 0, 0, 0) + b"\x00\x00\x01\x00\x01" * 50
    yield struct.pack(">6H", 3, 0x8000, 1, 0, 0, 0) + b"\x00\x00\x01\x00\x01"  # an answer


def test_garbage_and_floods_on_the_dns_port(agent: Agent) -> None:
    rng = random.Random(4)
    good = list(dns_questions())
    datagrams = [damage(rng, rng.choice(good)) for _ in range(3000)]
    datagrams += [rng.randbytes(rng.randrange(600)) for _ in range(500)]
    with bounded(agent, grows_kib=8_000, lines=200):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for datagram in datagrams:
                sock.sendto(datagram, (agent.address, DNS))
        assert_serves(agent)
        streams = [struct.pack(">H", len(data)) + data for data in datagrams[:150]]
        streams += [b"\0\0", b"\xff\xff" + b"x" * 100, b"\0", b"GET / HTTP/1.1\r\n\r\n"]
        throw_all(agent, DNS, streams)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(connected(agent.address, DNS)).sendall(b"\0\x30half")
            assert_serves(agent)
        assert_serves(agent)


@pytest.mark.parametrize("port", [LAN, WAN])
def test_garbage_and_floods_on_the_gossip_ports(agent: Agent, port: int) -> None:
    rng = random.Random(port)
    datagrams = [bytes((kind,)) + rng.randbytes(rng.randrange(1, 200)) for kind in range(20) for _ in range(100)]
    datagrams += [b"\x09\x82\xa4Algo\x00\xa3Buf\xda\xff\xff" + rng.randbytes(300) for _ in range(200)]
    datagrams += [b"\x07\xff" + b"\xff\xff" * 255 + rng.randbytes(100) for _ in range(200)]
    datagrams += [rng.randbytes(rng.randrange(1400)) for _ in range(600)]
    with bounded(agent, grows_kib=8_000, lines=len(datagrams) // 5):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for datagram in datagrams:
                sock.sendto(datagram, (agent.address, port))
        streams = [bytes((kind,)) + rng.randbytes(size) for kind in range(16) for size in (0, 10, 5000)]
        streams += [b"\x06\x82\xa5Nodes\xce\x7f\xff\xff\xff", b"\x0a\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"]
        throw_all(agent, port, streams)
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                stack.enter_context(connected(agent.address, port)).sendall(b"\x06\x83")
            assert_serves(agent)
        assert_serves(agent)
