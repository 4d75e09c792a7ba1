"""Recursors: questions outside our domain go to the servers that the operator named, one after the other.

Source: Consul: the first answer with NOERROR or NXDOMAIN wins, a recursor that fails or does not answer within
`recursor_timeout` is skipped, SERVFAIL if none is left.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import trio

from services.dns_frontend import message as dns
from shared.log import get_logger

_log = get_logger("agent.dns")
_MAX_UDP_BYTES: Final = 65_535


class Recursors:
    """addresses: (host, port) of each recursor, in the order of preference."""

    def __init__(self, addresses: Sequence[tuple[str, int]], timeout_s: float) -> None:
        self._addresses = tuple(addresses)
        self._timeout_s = timeout_s

    def __bool__(self) -> bool:
        return bool(self._addresses)

    async def forward(self, packet: bytes, *, tcp: bool) -> bytes | None:
        """The raw answer to the raw query, None if every recursor failed."""
        for host, port in self._addresses:
            try:
                with trio.fail_after(self._timeout_s):
                    reply = await (_ask_tcp if tcp else _ask_udp)(packet, host, port)
            except (trio.TooSlowError, OSError, EOFError) as error:
                reason = str(error) or "no answer in time"
                _log.error("recurse failed", recursor=f"{host}:{port}", error=reason)
                continue
            if reply[3] & 0x0F in (dns.NOERROR, dns.NXDOMAIN):
                return reply
            _log.debug("recurse failed for question", recursor=f"{host}:{port}", rcode=reply[3] & 0x0F)
        return None

    async def addresses_of(self, name: str, query_id: int) -> list[dns.Record]:
        """A and CNAME records behind a name, empty if nobody knows it."""
        from dnslib import DNSError, DNSRecord  # parses what others send; not needed before the first CNAME

        question = DNSRecord.question(name, "A")
        question.header.id = query_id
        reply = await self.forward(question.pack(), tcp=False)
        if reply is None:
            return []
        try:
            answers = DNSRecord.parse(reply).rr
        except (DNSError, ValueError, struct.error, IndexError):
            return []
        records: list[dns.Record] = []
        for answer in answers:
            if answer.rtype == dns.A:
                records.append(dns.Record(str(answer.rname), dns.A, answer.ttl, bytes(answer.rdata.data)))
            elif answer.rtype == dns.AAAA:
                records.append(dns.Record(str(answer.rname), dns.AAAA, answer.ttl, bytes(answer.rdata.data)))
            elif answer.rtype == dns.CNAME:
                records.append(dns.Record(str(answer.rname), dns.CNAME, answer.ttl, str(answer.rdata.label)))
        return records


async def _ask_udp(packet: bytes, host: str, port: int) -> bytes:
    """Sends once and takes the first datagram of that server with the same id that is a response."""
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((host, port))
        await sock.send(packet)
        while True:
            reply = await sock.recv(_MAX_UDP_BYTES)
            if len(reply) >= 12 and reply[:2] == packet[:2] and reply[2] & 0x80:
                return reply


async def _ask_tcp(packet: bytes, host: str, port: int) -> bytes:
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(len(packet).to_bytes(2, "big") + packet)
        reply = b""
        while len(reply) < 2 or len(reply) < 2 + int.from_bytes(reply[:2], "big"):
            more = await stream.receive_some(_MAX_UDP_BYTES)
            if not more:
                raise EOFError("the recursor closed the connection")
            reply += more
        reply = reply[2 : 2 + int.from_bytes(reply[:2], "big")]
        if len(reply) < 12 or reply[:2] != packet[:2]:
            raise EOFError("the recursor answered something else")
        return reply
