"""DNS: damaged questions are answered, refused or met with silence; whatever the catalog holds, answers fit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import dnslib
from hypothesis import given
from hypothesis import strategies as st

from services.dns_frontend import message as dns
from services.dns_frontend.answers import QueryResult, Resolver, Rules
from services.dns_frontend.question import Lookup
from services.dns_frontend.records import Instance
from shared.structs.catalog import Node, NodeService
from tests.unit.fuzz.fuzzing import damaged, fuzz

NAMES = (
    "web.service.consul",
    "_web._tcp.service.dc1.consul",
    "v1.web.service.consul",
    "n1.node.consul",
    "n1.node.dc1.consul",
    "0a000001.addr.consul",
    "1.0.0.10.in-addr.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.e.f.ip6.arpa",
    "consul",
    "x.query.consul",
)
TYPES = ("A", "AAAA", "SRV", "TXT", "ANY", "SOA", "NS", "PTR", "CNAME", "AXFR")


def question(name: str, kind: str, udp_size: int | None) -> bytes:
    record = dnslib.DNSRecord.question(name, kind)
    if udp_size is not None:
        record.add_ar(dnslib.EDNS0(udp_len=udp_size))
    return bytes(record.pack())


GOOD = tuple(question(name, kind, size) for name in NAMES for kind in TYPES for size in (None, 0, 1232, 65535))


class OddCatalog:
    """Every lookup finds things whose names and addresses are `texts`, whatever was asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def _text(self, number: int) -> str:
        return self._texts[number % len(self._texts)]

    def service_nodes(self, lookup: Lookup) -> Sequence[Instance]:
        return [
            Instance(
                node=Node(node=self._text(n), address=self._text(n + 1), datacenter="dc1", meta={self._text(n): "x"}),
                service=NodeService(id="i", service=lookup.name, port=n * 70_000 - 1, address=self._text(n + 2)),
                checks=[],
            )
            for n in range(len(self._texts))
        ]

    def prepared_query(self, lookup: Lookup) -> QueryResult:
        return QueryResult(self.service_nodes(lookup), self._text(0), self._text(1))

    def node(self, datacenter: str, name: str) -> Node | None:
        meta = {self._text(2): self._text(0)}
        return Node(node=self._text(0), address=self._text(1), datacenter=datacenter, meta=meta)

    def node_with_address(self, address: str) -> Node | None:
        return Node(node=self._text(0), address=address, datacenter="dc1")

    def service_with_address(self, address: str) -> str | None:
        return self._text(1)

    def recurse(self, name: str) -> Sequence[dns.Record]:
        return [dns.Record(name, dns.A, 0, bytes(4)), dns.Record(name, dns.CNAME, 0, "other.example.")]


ADDRESSES = ["10.0.0.1", "fe80::1", "host.example.com", "", ".", "a..b", "x" * 70, "\udcff", "ü", "a b", "::"]
TEXTS = st.lists(st.sampled_from(ADDRESSES) | st.text(max_size=10), min_size=3, max_size=8)


@given(packet=damaged(GOOD) | st.sampled_from(GOOD) | st.binary(max_size=80), texts=TEXTS, tcp=st.booleans())
@fuzz(300)
def test_any_packet_about_any_catalog_gets_an_answer_that_fits_or_none(
    packet: bytes, texts: list[str], tcp: bool
) -> None:
    try:
        query = dns.parse_query(packet)
    except dns.QueryError as error:
        if error.rcode is not None:
            dns.error_reply(packet, error.rcode)
        return
    rules = Rules(datacenter="dc1", enable_truncate=True)
    answer = Resolver(rules, OddCatalog(texts), random.Random(1), 1_795_229_260).resolve(query, tcp=tcp)
    if answer is None:
        return
    reply = answer.pack(query, compress=True)
    assert reply[:2] == packet[:2]
    assert len(reply) <= 65535
    if not tcp and not reply[2] & 2 and query.qtype in (dns.A, dns.SRV):
        assert len(reply) <= max(query.udp_size or 0, 512) + 200
