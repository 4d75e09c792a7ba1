"""A resolver for tests: answers by the first label of the name, over UDP and TCP, on one address."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

from dnslib import AAAA, CNAME, EDNS0, QTYPE, RR, SOA, TXT, A, DNSRecord

PORT = 5300
SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 2, 3, 4, 5
_CODES = {"servfail": SERVFAIL, "nx": NXDOMAIN, "notimp": NOTIMP, "refused": REFUSED}


class StubResolver:
    """knows: names that begin with "other-" are answered only if this is True, with SERVFAIL else.

    asked: every question that came, as "name TYPE transport edns"."""

    def __init__(self, address: str, *, knows: bool) -> None:
        self.address, self._knows = address, knows
        self.asked: list[str] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((address, PORT))
        self._tcp = socket.create_server((address, PORT))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for sock in (self._udp, self._tcp):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()

    def _serve_udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                packet, client = self._udp.recvfrom(65_535)
                if not packet:  # shut down
                    return
                reply = self._answer(packet, "udp")
                if reply is not None:
                    self._udp.sendto(reply, client)

    def _serve_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._tcp.accept()
                with client, contextlib.suppress(OSError, struct.error):
                    client.settimeout(10)
                    (size,) = struct.unpack("!H", client.recv(2))
                    reply = self._answer(client.recv(size), "tcp")
                    if reply is not None:
                        client.sendall(struct.pack("!H", len(reply)) + reply)

    def _answer(self, packet: bytes, transport: str) -> bytes | None:
        query = DNSRecord.parse(packet)
        name, qtype = str(query.q.qname), QTYPE[query.q.qtype]
        edns = next((f"edns={each.rclass}" for each in query.ar if each.rtype == QTYPE.OPT), "")
        self.asked.append(" ".join(filter(None, (name.lower(), qtype, transport, edns))))
        reply, first = query.reply(), name.lower().partition(".")[0]
        if first == "silent":
            return None
        if first in _CODES or (first.startswith("other-") and not self._knows):
            reply.header.rcode = _CODES.get(first, SERVFAIL)
            if first == "nx":
                reply.add_auth(RR("example.com", QTYPE.SOA, ttl=60, rdata=SOA("ns.example.com", "h.example.com")))
        elif qtype == "TXT":
            for number in range(30 if first == "big" else 1):
                reply.add_answer(RR(name, QTYPE.TXT, ttl=30, rdata=TXT(f"{number} {'t' * 100}")))
        elif qtype == "AAAA":
            reply.add_answer(RR(name, QTYPE.AAAA, ttl=30, rdata=AAAA("2001:db8::53")))
        elif qtype in ("A", "ANY"):
            self._add_addresses(reply, name, first)
        if edns:
            reply.add_ar(EDNS0(udp_len=1400))
        if transport == "udp" and first == "big":
            reply.rr = []
            reply.header.tc = 1
        return bytes(reply.pack())

    def _add_addresses(self, reply: DNSRecord, name: str, first: str) -> None:
        if first in ("www", "alias"):
            reply.add_answer(RR(name, QTYPE.CNAME, ttl=300, rdata=CNAME("real.example.com")))
            reply.add_answer(RR("real.example.com", QTYPE.A, ttl=200, rdata=A("192.0.2.1")))
            return
        for number in range(8 if first == "target" else 1):
            reply.add_answer(RR(name, QTYPE.A, ttl=100, rdata=A(f"192.0.2.{number + 10}")))
