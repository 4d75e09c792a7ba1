"""DNS wire format, checked against dnslib as an independent reader."""

from __future__ import annotations

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dns_frontend import message as dns


def query_of(name: str, qtype: str = "A", **edns: int) -> dns.Query:
    record = dnslib.DNSRecord.question(name, qtype)
    if edns:
        record.add_ar(dnslib.EDNS0(udp_len=edns["udp_len"]))
    return dns.parse_query(bytes(record.pack()))


def test_a_question_is_read() -> None:
    query = query_of("Web.service.CONSUL", "SRV", udp_len=1232)
    assert (query.name, query.qtype, query.qclass, query.udp_size) == ("Web.service.CONSUL.", dns.SRV, dns.IN, 1232)
    assert query.recursion_desired


def test_without_edns_there_is_no_udp_size() -> None:
    assert query_of("a.consul").udp_size is None


@pytest.mark.parametrize(
    ("packet", "rcode"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (b"\0\1\x80\0" + b"\0" * 8, None),  # a response
        (b"\0\1\x10\0" + b"\0" * 8, dns.NOTIMP),  # opcode STATUS
        (b"\0\1\1\0" + b"\0" * 8, dns.FORMERR),  # no question
        (b"\0\1\1\0\0\2\0\0\0\0\0\0", dns.FORMERR),  # two questions
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\x05ab", dns.FORMERR),  # label cut off
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", dns.FORMERR),  # pointer to itself
        (b"\0\1\1\0\0\1\0\0\0\0\0\0\x41" + b"a" * 70, dns.FORMERR),  # label type 01
    ],
)
def test_broken_packets_get_the_right_rcode_or_silence(packet: bytes, rcode: int | None) -> None:
    with pytest.raises(dns.QueryError) as caught:
        dns.parse_query(packet)
    assert caught.value.rcode == rcode


@given(st.binary(max_size=600))
def test_junk_gives_a_query_or_a_query_error(packet: bytes) -> None:
    try:
        query = dns.parse_query(packet)
    except dns.QueryError:
        return
    assert dns.Answer().pack(query, compress=True)[:2] == packet[:2]


labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=12)
names = st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join(parts) + ".")
addresses = st.binary(min_size=4, max_size=4).map(lambda ip: (dns.A, ip)) | st.binary(min_size=16, max_size=16).map(
    lambda ip: (dns.AAAA, ip)
)
others = (
    names.map(lambda name: (dns.CNAME, name))
    | names.map(lambda name: (dns.PTR, name))
    | st.text("abc =", max_size=300).map(lambda text: (dns.TXT, text))
    | st.tuples(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535), names).map(
        lambda srv: (dns.SRV, srv)
    )
)


@given(st.lists(st.tuples(names, addresses | others), max_size=8), st.booleans())
def test_what_is_written_is_what_an_independent_reader_reads(rows: list, compress: bool) -> None:
    records = [dns.Record(name, rtype, 7, data) for name, (rtype, data) in rows]
    query = query_of("web.service.consul", udp_len=4096)
    read = dnslib.DNSRecord.parse(dns.Answer(answers=records).pack(query, compress=compress))
    assert [str(rr.rname) for rr in read.rr] == [record.name for record in records]
    assert [rr.rtype for rr in read.rr] == [record.rtype for record in records]
    for rr, record in zip(read.rr, records, strict=True):
        if record.rtype in (dns.A, dns.AAAA):
            assert bytes(rr.rdata.data) == record.data
        elif record.rtype in (dns.CNAME, dns.PTR):
            assert str(rr.rdata.label) == record.data
        elif record.rtype == dns.TXT:
            assert b"".join(rr.rdata.data) == record.data.encode()
        else:
            assert (rr.rdata.priority, rr.rdata.weight, rr.rdata.port, str(rr.rdata.target)) == record.data
    assert read.ar[0].rtype == dns.OPT


def test_sizes_are_those_of_the_real_agent() -> None:
    """MSG SIZE that dig shows for the same answers of a Consul 1.8.7 agent."""
    soa = dns.Record("consul.", dns.SOA, 0, ("ns.consul.", "hostmaster.consul.", 1795229260, 3600, 600, 86400, 0))
    missing = dns.Answer(rcode=dns.NXDOMAIN, authorities=[soa])
    assert len(missing.pack(query_of("nope.node.consul", udp_len=1232), compress=True)) == 95
    node = "n2.node.dc1.consul."
    srv = dns.Answer(
        answers=[
            dns.Record("web.service.consul.", dns.SRV, 0, (1, 1, 81, "0a010101.addr.dc1.consul.")),
            dns.Record("web.service.consul.", dns.SRV, 0, (1, 1, 80, node)),
        ],
        additionals=[
            dns.Record("0a010101.addr.dc1.consul.", dns.A, 0, bytes(4)),
            dns.Record(node, dns.A, 0, bytes(4)),
            dns.Record(node, dns.TXT, 0, "v=spf1"),
            dns.Record(node, dns.TXT, 0, "a=b"),
        ],
    )
    assert len(srv.pack(query_of("web.service.consul", "SRV", udp_len=1232), compress=True)) == 196
    pointer = dns.Answer(answers=[dns.Record("2.0.0.10.in-addr.arpa.", dns.PTR, 0, node)])
    assert len(pointer.pack(query_of("2.0.0.10.in-addr.arpa", "PTR", udp_len=1232), compress=True)) == 82


def test_the_client_subnet_comes_back_with_a_scope() -> None:
    option = b"\0\x08\0\x07\0\x01\x18\0\x01\x02\x03"
    packet = bytes(dnslib.DNSRecord.question("web.query.consul").pack())
    packet = packet[:10] + b"\0\1" + packet[12:] + b"\0\0\x29\x04\xd0\0\0\0\0\0" + bytes([len(option)]) + option
    query = dns.parse_query(packet)
    assert query.subnet is not None
    assert query.subnet.ip == "1.2.3.0"
    everywhere = dns.Answer().pack(query, compress=True)
    only_there = dns.Answer(subnet_scope_is_global=False).pack(query, compress=True)
    assert everywhere.endswith(b"\0\x01\x18\x00\x01\x02\x03")
    assert only_there.endswith(b"\0\x01\x18\x18\x01\x02\x03")
