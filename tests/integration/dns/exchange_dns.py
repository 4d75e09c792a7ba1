"""One question to a DNS server, and its answer with everything masked that may rightly differ between two agents.

Masked: the id, the agent's own address, the serial of SOA records. Answers come shuffled: what is compared are the
sections as sorted lists. Where an answer was cut, another choice of records is as good: then the records' data do not
count, only what was asked and how many came."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any

from services.dns_frontend import message as dns

TIMEOUT_S = 20.0
_SILENCE_S = 0.5
_OWN = b"\0\0\0\0"
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "AXFR": 252,
         "ANY": 255, "HTTPS": 65, "IXFR": 251, "CAA": 257, "TYPE999": 999}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """udp_size: EDNS is used if it is not None. subnet: the text of an EDNS client subnet option, "1.2.3.0/24".
    cut: the answer is one of many possible choices."""

    name: str
    qtype: str = "A"
    tcp: bool = False
    udp_size: int | None = None
    subnet: str = ""
    flags: int = 0x0100
    qclass: int = 1
    cut: bool = False

    def __str__(self) -> str:
        extra = [f"edns={self.udp_size}" if self.udp_size is not None else "", self.subnet, "tcp" if self.tcp else ""]
        more = [f"flags={self.flags:04x}" if self.flags != 0x0100 else ""]
        more += [f"class={self.qclass}"] if self.qclass != 1 else []
        return " ".join(filter(None, (self.name, self.qtype, *extra, *more)))

    def encode(self) -> bytes:
        labels = [label.encode("utf-8", "surrogateescape") for label in self.name.rstrip(".").split(".") if label]
        name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
        packet = struct.pack("!HHHHHH", 0x4646, self.flags, 1, 0, 0, int(self.udp_size is not None))
        packet += name + struct.pack("!HH", TYPES[self.qtype], self.qclass)
        if self.udp_size is not None:
            option = self._subnet_option()
            packet += b"\0" + struct.pack("!HHIH", dns.OPT, self.udp_size, 0, len(option)) + option
        return packet

    def _subnet_option(self) -> bytes:
        if not self.subnet:
            return b""
        address, _, bits = self.subnet.partition("/")
        family = 2 if ":" in address else 1
        packed = socket.inet_pton(socket.AF_INET6 if family == 2 else socket.AF_INET, address)
        value = struct.pack("!HBB", family, int(bits), 0) + packed[: (int(bits) + 7) // 8]
        return struct.pack("!HH", 8, len(value)) + value


def ask(address: str, question: Question, port: int = 8600, timeout_s: float = TIMEOUT_S) -> bytes:
    """The raw answer, b"" for none within the deadline."""
    kind = socket.SOCK_STREAM if question.tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(_SILENCE_S if question.flags & 0x8000 else timeout_s)  # nobody answers an answer
        sock.connect((address, port))
        packet = question.encode()
        try:
            if not question.tcp:
                sock.send(packet)
                return sock.recv(65_535)
            sock.sendall(struct.pack("!H", len(packet)) + packet)
            reply = b""
            while len(reply) < 2 or len(reply) < 2 + struct.unpack_from("!H", reply)[0]:
                data = sock.recv(65_537)
                if not data:
                    return reply
                reply += data
            return reply[2:]
        except TimeoutError:
            return b""


def shown(reply: bytes, address: str, question: Question) -> dict[str, Any]:
    """What can be compared, ready to be printed."""
    if not reply:
        return {"answer": None}
    reply = reply.replace(socket.inet_aton(address), _OWN).replace(
        socket.inet_aton(address).hex().encode(), _OWN.hex().encode()
    )
    _, flags, *counts = struct.unpack_from("!HHHHHH", reply)
    seen: dict[str, Any] = {"flags": f"{flags:04x}", "counts": counts}
    offset, sections = 12, []
    for _ in range(counts[0]):
        name, offset = dns._read_name(reply, offset)
        seen["question"] = (name, reply[offset : offset + 4].hex())
        offset += 4
    for count in counts[1:]:
        records = []
        for _ in range(count):
            record, offset = _record(reply, offset)
            records.append(record)
        sections.append(records)
    seen["trailing"] = len(reply) - offset
    if question.cut:
        sections = [[record[:4] if record[1] in (1, 28, 33) else record for record in each] for each in sections]
        sections = [[(_anonymous(record[0]), *record[1:]) for record in each] for each in sections]
    for name, records in zip(("answers", "authorities", "additionals"), sections, strict=True):
        seen[name] = sorted(records, key=repr)
    if counts[1] <= 1 and counts[3] <= 2 and not question.cut:
        seen["size"] = len(reply)  # with more of them, the order decides what can be compressed
    return seen


def _anonymous(name: str) -> str:
    """Without the digits that tell one of many from the others."""
    digits = "0123456789abcdef" if ".addr." in name else "0123456789"
    return name.translate(str.maketrans(digits, "#" * len(digits)))


def _record(reply: bytes, offset: int) -> tuple[tuple[Any, ...], int]:
    name, offset = dns._read_name(reply, offset)
    rtype, rclass, ttl, size = struct.unpack_from("!HHIH", reply, offset)
    offset += 10
    data: Any = reply[offset : offset + size].hex()
    if rtype in (dns.CNAME, dns.NS, dns.PTR):
        data = dns._read_name(reply, offset)[0]
    elif rtype == dns.SRV:
        data = (*struct.unpack_from("!HHH", reply, offset), dns._read_name(reply, offset + 6)[0])
    elif rtype == dns.SOA:
        mname, at = dns._read_name(reply, offset)
        rname, at = dns._read_name(reply, at)
        data = (mname, rname, *struct.unpack_from("!4I", reply, at + 4))
    elif rtype == dns.TXT:
        data = reply[offset : offset + size]
    return (name, rtype, rclass, ttl, data), offset + size
