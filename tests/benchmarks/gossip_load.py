"""A process that stands for the other 1,000 members of an agent's LAN pool, on real UDP and TCP sockets of loopback.

    python -m tests.benchmarks.gossip_load --address 127.0.0.9 --members 1000 [--key BASE64]

It prints the port to join, then obeys lines on stdin, each answered with a line of JSON: `start AGENT_IP:PORT NAME
SPEED` sends the agent what a pool of that size would (speed: how much faster), `stop` ends that, `push_pull` has a
member exchange states with the agent, `stats` tells what was sent and received. It ends with its stdin."""

from __future__ import annotations

import argparse
import base64
import collections
import heapq
import json
import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

from services.gossip.codec.errors import PacketError
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import Ack, IndirectPing, Ping
from services.gossip.codec.packet import decode_packet
from services.gossip.codec.stream import PushPull, StreamDecoder, encode_stream
from tests.benchmarks import flapping, gossip_pool
from tests.benchmarks.gossip_pool import LoadPool, Member

_TIMEOUT_S = 20.0


class Load:
    """Sockets and clock around a LoadPool."""

    def __init__(self, address: str, count: int, key: bytes | None) -> None:
        self._address = address
        self._keyring = Keyring([key]) if key else None
        self._rng = random.Random(7)
        self._udp: dict[int, socket.socket] = {}
        self._tcp: dict[int, socket.socket] = {}
        ports = [self._open() for _ in range(count)]
        self._by_descriptor = dict(zip((sock.fileno() for sock in self._udp.values()), self._udp.values(), strict=True))
        self.pool = LoadPool(socket.inet_aton(address), ports, self._rng, self._keyring)
        self._agent: tuple[str, int] = ("", 0)
        self._agent_name = ""
        self._speed = 1.0
        self._running = False
        self._due: list[tuple[float, int, Callable[[float], None], float]] = []
        self._stats: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def _open(self) -> int:
        """The same free port for both protocols."""
        while True:
            tcp = socket.create_server((self._address, 0), backlog=8)
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            port: int = tcp.getsockname()[1]
            try:
                udp.bind((self._address, port))
            except OSError:
                tcp.close()
                udp.close()
                continue
            self._tcp[tcp.fileno()], self._udp[port] = tcp, udp
            return port

    def run(self) -> None:
        poll = select.epoll()
        for descriptor in [*self._by_descriptor, *self._tcp, sys.stdin.fileno()]:
            poll.register(descriptor, select.EPOLLIN)
        print(self.pool.members[0].port, flush=True)
        while True:
            now = time.monotonic()
            self._run_due(now)
            wait_s = min(max(self._due[0][0] - now, 0.0), 1.0) if self._running else 1.0
            for descriptor, _ in poll.poll(wait_s):
                if descriptor in self._by_descriptor:
                    self._receive(self._by_descriptor[descriptor])
                elif descriptor in self._tcp:
                    stream, _ = self._tcp[descriptor].accept()
                    threading.Thread(target=self._answer_stream, args=(stream,), daemon=True).start()
                elif not self._obey(sys.stdin.readline()):
                    return

    # ---- commands

    def _obey(self, line: str) -> bool:
        if not line:
            return False
        command, *arguments = line.split()
        if command == "start":
            host, port = arguments[0].rsplit(":", 1)
            self._start((host, int(port)), arguments[1], float(arguments[2]))
        elif command == "stop":
            self._running = False
        elif command == "push_pull":
            self._push_pull()
        print(json.dumps(self._stats), flush=True)
        return True

    def _start(self, agent: tuple[str, int], name: str, speed: float) -> None:
        self._agent, self._agent_name, self._speed, self._running = agent, name, speed, True
        self._stats.clear()
        self._due.clear()
        now = time.monotonic()
        for number, (rate, action) in enumerate(
            (
                (gossip_pool.GOSSIP_IN_PER_S, self._gossip),
                (gossip_pool.PINGS_IN_PER_S, self._ping),
                (gossip_pool.INDIRECT_PINGS_IN_PER_S, self._indirect_ping),
                (gossip_pool.SUSPICIONS_PER_S, lambda now: self.pool.suspicion(now, self._speed)),
                (gossip_pool.USER_EVENTS_PER_S, self.pool.user_event),
            )
        ):
            mean_s = 1 / (rate * speed)
            heapq.heappush(self._due, (now + self._rng.expovariate(1 / mean_s), number, action, mean_s))

    def _run_due(self, now: float) -> None:
        while self._running and self._due[0][0] <= now:
            at, number, action, mean_s = heapq.heappop(self._due)
            with self._lock:
                self.pool.step(at, self._speed)
                action(at)
            heapq.heappush(self._due, (at + self._rng.expovariate(1 / mean_s), number, action, mean_s))

    # ---- datagrams

    def _gossip(self, now: float) -> None:
        packet = self.pool.gossip()
        if packet is not None:
            self._send("gossip", self._rng.choice(self.pool.members), packet)

    def _ping(self, now: float) -> None:
        source = self._rng.choice(self.pool.members)
        self._send("pings", source, self.pool.ping(source, self._agent_name))

    def _indirect_ping(self, now: float) -> None:
        source, target = self._rng.sample(self.pool.members, 2)
        self._send("indirect pings", source, self.pool.indirect_ping(source, target))

    def _send(self, kind: str, source: Member, packet: bytes, to: tuple[str, int] | None = None) -> None:
        self._stats[f"{kind} sent"] += 1
        self._stats["bytes sent"] += len(packet)
        self._udp[source.port].sendto(packet, to or self._agent)

    def _receive(self, sock: socket.socket) -> None:
        try:
            data, source = sock.recvfrom(65536)
        except BlockingIOError:
            return
        self._stats["packets received"] += 1
        self._stats["bytes received"] += len(data)
        try:
            packet = decode_packet(data, self._keyring)
        except PacketError:
            self._stats["unreadable"] += 1
            return
        for message in packet.messages:
            self._stats[f"{type(message).__name__} received"] += 1
            if isinstance(message, Ping | IndirectPing):
                to = (socket.inet_ntoa(message.source_addr), message.source_port) if message.source_port else source
                with self._lock:
                    sock.sendto(self.pool.ack(message.seq_no), to)

    # ---- streams

    def _encode_state(self, join: bool) -> bytes:
        with self._lock:
            state = self.pool.state(join)
        return encode_stream(state, self._keyring, compress_up_to=1 << 30)

    def _read(self, stream: socket.socket) -> object:
        decoder = StreamDecoder(self._keyring)
        while True:
            data = stream.recv(65536)
            message = decoder.feed(data) if data else None
            if message is not None or not data:
                return message

    def _answer_stream(self, stream: socket.socket) -> None:
        with stream:
            stream.settimeout(_TIMEOUT_S)
            message = self._read(stream)
            if isinstance(message, PushPull):
                self._stats["push/pulls answered"] += 1
                stream.sendall(self._encode_state(message.join))
            elif isinstance(message, Ping):
                self._stats["TCP pings answered"] += 1
                stream.sendall(encode_stream(Ack(message.seq_no), self._keyring))

    def _push_pull(self) -> None:
        data = self._encode_state(False)
        threading.Thread(target=self._exchange, args=(data,), daemon=True).start()

    def _exchange(self, data: bytes) -> None:
        with socket.create_connection(self._agent, timeout=_TIMEOUT_S) as stream:
            stream.sendall(data)
            answer = self._read(stream)
        self._stats["push/pulls started"] += 1
        self._stats["nodes in the last answer"] = len(answer.nodes) if isinstance(answer, PushPull) else -1


def main() -> None:
    parser = argparse.ArgumentParser(prog="gossip_load")
    parser.add_argument("--address", required=True)
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--key", default="")
    options = parser.parse_args()
    flapping.allow_files(2 * options.members + 200)
    Load(options.address, options.members, base64.b64decode(options.key) if options.key else None).run()


if __name__ == "__main__":
    main()
