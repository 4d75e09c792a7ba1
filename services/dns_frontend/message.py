"""DNS messages on the wire: the part of RFC 1035 and RFC 6891 that an authoritative server for one domain needs.

Queries are parsed strictly and answers written with full control over name compression, because the size of an
answer decides how many records a client may get. (dnslib, which parses what recursors send, takes 850 us to build an
answer of five SRV records and cannot switch compression off.)
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
MX: Final = 15
TXT: Final = 16
AAAA: Final = 28
SRV: Final = 33
OPT: Final = 41
AXFR: Final = 252
ANY: Final = 255

IN: Final = 1

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5

MAX_NAME_BYTES: Final = 255
MAX_MESSAGE_BYTES: Final = 65_535
_MAX_POINTER: Final = 0x3FFF
_EDNS_SUBNET: Final = 8
_HEADER: Final = struct.Struct("!HHHHHH")
_FIXED: Final = struct.Struct("!HHIH")


class QueryError(Exception):
    """A packet that cannot be served. `rcode` is the answer to give, None for silence."""

    def __init__(self, rcode: int | None, why: str) -> None:
        super().__init__(why)
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class ClientSubnet:
    """EDNS client subnet option (RFC 7871) as the client sent it."""

    family: int
    source_prefix: int
    address: bytes

    @property
    def ip(self) -> str:
        """The network's address in text form, "" for an unknown family."""
        if self.family == 1:
            return str(ipaddress.IPv4Address(self.address.ljust(4, b"\0")[:4]))
        if self.family == 2:
            return str(ipaddress.IPv6Address(self.address.ljust(16, b"\0")[:16]))
        return ""


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `name` is as the client wrote it, with the final dot; bytes beyond ASCII are \\ddd escapes.

    udp_size: payload size from EDNS, None if the client sent no OPT record.
    """

    id: int
    flags: int
    name: str
    qtype: int
    qclass: int
    question: bytes
    udp_size: int | None = None
    subnet: ClientSubnet | None = None

    @property
    def recursion_desired(self) -> bool:
        return bool(self.flags & 0x0100)


def parse_query(packet: bytes) -> Query:
    """The question in `packet`. Raises QueryError with the rcode that miekg/dns would answer with."""
    if len(packet) < 12:
        raise QueryError(None, "shorter than a DNS header")
    query_id, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(packet)
    if flags & 0x8000:
        raise QueryError(None, "a response, not a query")
    if (flags >> 11) & 0xF not in (0, 4):
        raise QueryError(NOTIMP, "unknown opcode")
    if questions != 1 or answers > 1 or authorities > 1 or additionals > 2:
        raise QueryError(FORMERR, "unexpected number of records")
    try:
        name, offset = _read_name(packet, 12)
        qtype, qclass = struct.unpack_from("!HH", packet, offset)
        question = packet[12 : offset + 4]
        offset += 4
        udp_size, subnet = None, None
        for _ in range(answers + authorities + additionals):
            owner, offset = _read_name(packet, offset)
            rtype, rclass, _, size = _FIXED.unpack_from(packet, offset)
            data = packet[offset + 10 : offset + 10 + size]
            offset += 10 + size
            if len(data) != size:
                raise QueryError(FORMERR, "a record ends beyond the packet")
            if rtype == OPT and owner == ".":
                udp_size, subnet = rclass, _read_subnet(data)
    except struct.error:
        raise QueryError(FORMERR, "the packet ends in the middle of a record") from None
    return Query(query_id, flags, name, qtype, qclass, question, udp_size, subnet)


def _read_name(packet: bytes, offset: int) -> tuple[str, int]:
    """Name at `offset` with its final dot, and the offset behind it."""
    labels: list[str] = []
    end, jumps, total = -1, 0, 0
    while True:
        if offset >= len(packet):
            raise QueryError(FORMERR, "a name ends beyond the packet")
        size = packet[offset]
        if size == 0:
            offset += 1
            break
        if size >= 0xC0:
            if offset + 1 >= len(packet) or jumps >= 16:
                raise QueryError(FORMERR, "a bad compression pointer")
            if end < 0:
                end = offset + 2
            jumps += 1
            offset = ((size & 0x3F) << 8) | packet[offset + 1]
            continue
        if size > 63:
            raise QueryError(FORMERR, "a bad label type")
        label = packet[offset + 1 : offset + 1 + size]
        total += size + 1
        if len(label) != size or total >= MAX_NAME_BYTES:
            raise QueryError(FORMERR, "a bad label")
        labels.append(_label_text(label))
        offset += 1 + size
    return ".".join(labels) + ".", end if end >= 0 else offset


def _label_text(label: bytes) -> str:
    """Presentation form of one label: dots, backslashes and non-printable bytes escaped."""
    if label.isalnum():
        return label.decode("ascii")
    parts: list[str] = []
    for byte in label:
        if byte in b'.\\"();@$':
            parts.append("\\" + chr(byte))
        elif 0x21 <= byte <= 0x7E:
            parts.append(chr(byte))
        else:
            parts.append(f"\\{byte:03d}")
    return "".join(parts)


def _label_bytes(label: str) -> bytes:
    if "\\" not in label:
        return label.encode("utf-8", "surrogateescape")
    out, rest = bytearray(), label
    while rest:
        head, backslash, rest = rest.partition("\\")
        out += head.encode("utf-8", "surrogateescape")
        if backslash:
            if rest[:3].isdigit() and len(rest) >= 3:
                out.append(int(rest[:3]) & 0xFF)
                rest = rest[3:]
            else:
                out += rest[:1].encode()
                rest = rest[1:]
    return bytes(out)


def split_labels(name: str) -> list[str]:
    """Labels of a name in presentation form, without the root; escaped dots do not split."""
    name = name.removesuffix(".") if not name.endswith("\\.") else name
    if not name:
        return []
    if "\\" not in name:
        return name.split(".")
    labels, current, escaped = [], "", False
    for char in name:
        if char == "." and not escaped:
            labels.append(current)
            current = ""
        else:
            current += char
        escaped = char == "\\" and not escaped
    return [*labels, current]


def _read_subnet(data: bytes) -> ClientSubnet | None:
    offset = 0
    while offset + 4 <= len(data):
        code, size = struct.unpack_from("!HH", data, offset)
        value = data[offset + 4 : offset + 4 + size]
        offset += 4 + size
        if code == _EDNS_SUBNET and len(value) >= 4:
            family, source_prefix = struct.unpack_from("!HB", value)
            return ClientSubnet(family, source_prefix, value[4:20])
    return None


@dataclass(frozen=True, slots=True)
class Record:
    """One resource record. `data` holds what its type needs:

    A, AAAA: packed address (bytes). CNAME, NS, PTR: name (str). SRV: (priority, weight, port, target). TXT: text.
    SOA: (mname, rname, serial, refresh, retry, expire, minimum).
    """

    name: str
    rtype: int
    ttl: int
    data: bytes | str | tuple[int, int, int, str] | tuple[str, str, int, int, int, int, int]
    rclass: int = IN


class Writer:
    """Appends names and records to a message, with the compression rules of RFC 1035 and RFC 2782."""

    def __init__(self, start: bytes, *, compress: bool) -> None:
        self.out = bytearray(start)
        self._compress = compress
        self._seen: dict[str, int] = {}

    def name(self, name: str, *, may_point: bool = True) -> None:
        """Writes `name`. A name that may not point (SRV targets) can still be pointed to."""
        out, seen = self.out, self._seen
        labels = split_labels(name)
        for index in range(len(labels)):
            if self._compress:
                suffix = ".".join(labels[index:])
                known = seen.get(suffix)
                if known is None:
                    if len(out) <= _MAX_POINTER:
                        seen[suffix] = len(out)
                elif may_point:
                    out += (0xC000 | known).to_bytes(2, "big")
                    return
            label = _label_bytes(labels[index])[:63]
            out.append(len(label))
            out += label
        out.append(0)

    def record(self, record: Record) -> None:
        out, data = self.out, record.data
        self.name(record.name)
        start = len(out) + 10
        out += _FIXED.pack(record.rtype, record.rclass, record.ttl & 0xFFFFFFFF, 0)
        if isinstance(data, bytes):
            out += data
        elif record.rtype == TXT:
            assert isinstance(data, str)
            text = data.encode("utf-8", "surrogateescape")
            for offset in range(0, max(len(text), 1), 255):
                piece = text[offset : offset + 255]
                out.append(len(piece))
                out += piece
        elif isinstance(data, str):
            self.name(data)
        elif len(data) == 4:
            out += struct.pack("!HHH", data[0] & 0xFFFF, data[1] & 0xFFFF, data[2] & 0xFFFF)
            self.name(data[3], may_point=False)
        else:
            self.name(data[0])
            self.name(data[1])
            out += struct.pack("!5I", *(number & 0xFFFFFFFF for number in data[2:]))
        out[start - 2 : start] = (len(out) - start).to_bytes(2, "big")


@dataclass(slots=True)
class Answer:
    """What is said about one query; `pack` makes it a message."""

    rcode: int = NOERROR
    answers: Sequence[Record] = ()
    authorities: Sequence[Record] = ()
    additionals: Sequence[Record] = ()
    authoritative: bool = True
    recursion_available: bool = False
    truncated: bool = False
    edns: bool = True
    subnet_scope_is_global: bool = True
    name_is_invalid: bool = False
    """The question's name is of no kind that exists."""

    def pack(self, query: Query, *, compress: bool) -> bytes:
        """The whole message, id included."""
        edns = self.edns and query.udp_size is not None
        # "Recursion desired" and "checking disabled" come back with plain queries only.
        kept = 0x0110 if not query.flags & 0x7800 else 0x7800
        flags = 0x8000 | (query.flags & kept) | self.rcode
        flags |= self.authoritative << 10 | self.truncated << 9 | self.recursion_available << 7
        header = _HEADER.pack(
            query.id,
            flags,
            1,
            len(self.answers),
            len(self.authorities),
            len(self.additionals) + edns,
        )
        writer = Writer(header, compress=compress)
        if compress:
            writer.name(query.name)
            writer.out += query.question[-4:]
        else:
            writer.out += query.question
        for section in (self.answers, self.authorities, self.additionals):
            for record in section:
                writer.record(record)
        if edns:
            writer.out += self._opt(query)
        return bytes(writer.out)

    def _opt(self, query: Query) -> bytes:
        option = b""
        if query.subnet is not None:
            subnet = query.subnet
            everywhere = self.subnet_scope_is_global or self.rcode in (NXDOMAIN, SERVFAIL, REFUSED, NOTIMP)
            scope = 0 if everywhere else subnet.source_prefix
            value = struct.pack("!HBB", subnet.family, subnet.source_prefix, scope) + subnet.address
            option = struct.pack("!HH", _EDNS_SUBNET, len(value)) + value
        return b"\0" + _FIXED.pack(OPT, query.udp_size or 0, 0, len(option)) + option


def error_reply(packet: bytes, rcode: int) -> bytes:
    """The bare header that answers a packet whose question cannot be used."""
    query_id, flags = struct.unpack_from("!HH", packet)
    return _HEADER.pack(query_id, 0x8000 | (flags & 0x7930) | rcode, 0, 0, 0, 0)
