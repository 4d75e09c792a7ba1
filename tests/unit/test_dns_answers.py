"""What is answered to which name, with a catalog made by hand. Expected answers are those of a Consul 1.8.7 agent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dnslib
import pytest

from services.dns_frontend import message as dns
from services.dns_frontend.answers import LookupFailedError, QueryResult, Resolver, Rules
from services.dns_frontend.question import Lookup, address_of_reverse_name, parse_name
from services.dns_frontend.records import Instance
from shared.structs.catalog import HealthCheck, Node, NodeService
from shared.structs.proxy import Weights

NOW = 1_795_229_260


def instance(
    node: str = "n2", ip: str = "10.0.0.2", service: str = "web", port: int = 80, address: str = "", **more: Any
) -> Instance:
    return Instance(
        node=Node(node=node, address=ip, datacenter="dc1", meta=more.get("meta", {})),
        service=NodeService(
            id=service, service=service, port=port, address=address, weights=more.get("weights"), tags=more.get("tags")
        ),
        checks=[
            HealthCheck(node=node, check_id=f"c{number}", status=status)
            for number, status in enumerate(more.get("checks", ()))
        ],
    )


@dataclass
class HandMade:
    """A catalog made by hand."""

    instances: Sequence[Instance] = ()
    names: dict[str, list[dns.Record]] = field(default_factory=dict)
    queries: dict[str, QueryResult] = field(default_factory=dict)

    def service_nodes(self, lookup: Lookup) -> Sequence[Instance]:
        if lookup.datacenter != "dc1":
            raise LookupFailedError(dns.NXDOMAIN, "No path to datacenter")
        return [
            one
            for one in self.instances
            if one.service.service == lookup.name and (not lookup.tag or lookup.tag in (one.service.tags or ()))
        ]

    def prepared_query(self, lookup: Lookup) -> QueryResult:
        if lookup.name not in self.queries:
            raise LookupFailedError(dns.NXDOMAIN, "Query not found")
        return self.queries[lookup.name]

    def node(self, datacenter: str, name: str) -> Node | None:
        return next((one.node for one in self.instances if one.node.node == name), None)

    def node_with_address(self, address: str) -> Node | None:
        return next((one.node for one in self.instances if one.node.address == address), None)

    def service_with_address(self, address: str) -> str | None:
        return next((one.service.service for one in self.instances if one.service.address == address), None)

    def recurse(self, name: str) -> Sequence[dns.Record]:
        return self.names.get(name, ())


def ask(
    catalog: HandMade, name: str, qtype: str = "A", *, tcp: bool = False, edns: int | None = 1232, **rules: Any
) -> dnslib.DNSRecord:
    packet = dnslib.DNSRecord.question(name, qtype)
    if edns is not None:
        packet.add_ar(dnslib.EDNS0(udp_len=edns))
    query = dns.parse_query(bytes(packet.pack()))
    shape = Rules(datacenter="dc1", **rules)
    answer = Resolver(shape, catalog, random.Random(7), NOW).resolve(query, tcp=tcp)
    assert answer is not None
    return dnslib.DNSRecord.parse(answer.pack(query, compress=shape.compress))


def texts(records: list[Any]) -> list[str]:
    return [" ".join(str(record).replace("\t", " ").split()) for record in records if record.rtype != dns.OPT]


def test_a_service_has_the_addresses_of_its_instances() -> None:
    reply = ask(HandMade([instance(), instance("n3", "fe80::1", address="10.1.1.1")]), "web.service.consul")
    assert sorted(texts(reply.rr)) == [
        "web.service.consul. 0 IN A 10.0.0.2",
        "web.service.consul. 0 IN A 10.1.1.1",
    ]
    assert reply.header.aa
    assert not reply.header.ra


def test_srv_names_the_node_or_the_bare_address() -> None:
    catalog = HandMade([instance(meta={"a": "b"}), instance("n3", "fe80::1", address="10.1.1.1", port=81)])
    reply = ask(catalog, "_web._tcp.service.consul", "SRV")
    assert sorted(texts(reply.rr)) == [
        "_web._tcp.service.consul. 0 IN SRV 1 1 80 n2.node.dc1.consul.",
        "_web._tcp.service.consul. 0 IN SRV 1 1 81 0a010101.addr.dc1.consul.",
    ]
    assert sorted(texts(reply.ar)) == [
        "0a010101.addr.dc1.consul. 0 IN A 10.1.1.1",
        "n2.node.dc1.consul. 0 IN A 10.0.0.2",
        'n2.node.dc1.consul. 0 IN TXT "a=b"',
    ]


@pytest.mark.parametrize("name", ["_web._tcp.consul", "_web._v1.service.consul", "v1.web.service.dc1.consul"])
def test_other_spellings_of_a_service(name: str) -> None:
    catalog = HandMade([instance(tags=["v1"])])
    assert len(ask(catalog, name, "SRV").rr) == 1


def test_critical_instances_are_left_out_and_warnings_only_on_request() -> None:
    catalog = HandMade(
        [
            instance("ok", "10.0.0.1"),
            instance("warn", "10.0.0.2", checks=["warning"]),
            instance("bad", "10.0.0.3", checks=["critical"]),
        ]
    )
    assert sorted(str(rr.rdata) for rr in ask(catalog, "web.service.consul").rr) == ["10.0.0.1", "10.0.0.2"]
    assert [str(rr.rdata) for rr in ask(catalog, "web.service.consul", only_passing=True).rr] == ["10.0.0.1"]


def test_weights_follow_the_status() -> None:
    one = instance(weights=Weights(passing=10, warning=2), checks=["warning"])
    assert ask(HandMade([one]), "web.service.consul", "SRV").rr[0].rdata.weight == 2
    one = one._replace(checks=[HealthCheck(node="n2", check_id="c", status="warning", service_name="another")])
    assert ask(HandMade([one]), "web.service.consul", "SRV").rr[0].rdata.weight == 10


@pytest.mark.parametrize(
    ("name", "qtype", "rcode", "has_soa"),
    [
        ("nope.service.consul", "A", dns.NXDOMAIN, True),
        ("nope.node.consul", "A", dns.NXDOMAIN, True),
        ("web.service.dc2.consul", "A", dns.NXDOMAIN, True),
        ("consul", "A", dns.NXDOMAIN, True),
        ("web.service.a.b.consul", "A", dns.NXDOMAIN, True),
        ("web.service.consul", "AAAA", dns.NOERROR, True),
        ("web.service.consul", "MX", dns.NOERROR, True),
        ("n2.node.consul", "MX", dns.NOERROR, False),
        ("n2.node.consul", "AAAA", dns.NOERROR, False),
        ("zz.addr.consul", "A", dns.NOERROR, False),
        ("web.service.consul", "AXFR", dns.NOTIMP, False),
    ],
)
def test_nothing_found_is_told_apart(name: str, qtype: str, rcode: int, has_soa: bool) -> None:
    reply = ask(HandMade([instance()]), name, qtype)
    assert (reply.header.rcode, reply.rr, bool(reply.auth)) == (rcode, [], has_soa)


def test_a_node_answers_with_its_meta() -> None:
    catalog = HandMade([instance(meta={"a": "b", "rfc1035-x": "v=spf1"})])
    assert texts(ask(catalog, "n2.node.consul").ar) == [
        'n2.node.consul. 0 IN TXT "a=b"',
        'n2.node.consul. 0 IN TXT "v=spf1"',
    ]
    assert len(ask(catalog, "n2.node.consul", "TXT").rr) == 2
    assert [rr.rtype for rr in ask(catalog, "n2.node.consul", "ANY").rr] == [dns.A, dns.TXT, dns.TXT]
    assert texts(ask(catalog, "n2.node.consul", node_meta_txt=False).ar) == []


def test_an_address_name_is_its_address() -> None:
    assert texts(ask(HandMade(), "0a000002.addr.dc1.consul", "SRV").rr) == ["0a000002.addr.dc1.consul. 0 IN A 10.0.0.2"]
    assert ask(HandMade(), "20010db8000000000000000000000001.addr.consul", "AAAA").rr[0].rtype == dns.AAAA


def test_external_names_become_cnames_and_are_chased() -> None:
    external = instance("ext", "www.example.com", service="ext")
    assert texts(ask(HandMade([external]), "ext.service.consul").rr) == [
        "ext.service.consul. 0 IN CNAME www.example.com."
    ]
    known = HandMade([external], {"www.example.com.": [dns.Record("www.example.com.", dns.A, 99, bytes(4))]})
    assert [rr.rtype for rr in ask(known, "ext.service.consul").rr] == [dns.CNAME, dns.A]
    ours = HandMade([instance(), instance("n4", "10.0.0.4", service="cn", address="n2.node.consul")])
    assert texts(ask(ours, "cn.service.consul").rr) == [
        "cn.service.consul. 0 IN CNAME n2.node.consul.",
        "n2.node.consul. 0 IN A 10.0.0.2",
    ]


def test_a_name_that_points_to_itself_ends() -> None:
    loop = HandMade([instance("n4", "other.service.consul", service="other", address="other.service.consul")])
    assert ask(loop, "other.service.consul").header.rcode == dns.NOERROR


def test_the_domain_itself() -> None:
    servers = HandMade([instance("srv-1", "10.0.0.9", service="consul", port=8300)])
    soa = ask(servers, "consul", "SOA")
    assert str(soa.rr[0].rdata.times) == str((NOW, 3600, 600, 86400, 0))
    assert texts(soa.auth) == ["consul. 0 IN NS srv-1.node.dc1.consul."]
    assert texts(soa.ar) == ["srv-1.node.dc1.consul. 0 IN A 10.0.0.9"]
    assert texts(ask(servers, "consul", "NS").rr) == ["consul. 0 IN NS srv-1.node.dc1.consul."]
    dotted = HandMade([instance("srv.1", service="consul")])
    assert ask(dotted, "consul", "NS").rr == []


def test_addresses_back_to_names() -> None:
    catalog = HandMade([instance(), instance("n3", "10.0.0.3", address="10.1.1.1")])
    assert texts(ask(catalog, "2.0.0.10.in-addr.arpa", "PTR").rr) == [
        "2.0.0.10.in-addr.arpa. 0 IN PTR n2.node.dc1.consul."
    ]
    assert texts(ask(catalog, "1.1.1.10.in-addr.arpa", "PTR").rr)[0].endswith("PTR web.service.dc1.consul.")


def many(count: int) -> HandMade:
    return HandMade([instance(f"n{number}", f"10.0.{number // 256}.{number % 256}") for number in range(count)])


@pytest.mark.parametrize(
    ("count", "qtype", "tcp", "edns", "expected"),
    [
        (10, "A", False, None, 3),
        (10, "A", False, 4096, 10),
        (200, "A", True, None, 200),
        (2000, "A", True, None, 2000),
        (5000, "A", True, None, 4093),
    ],
)
def test_how_many_addresses_fit(count: int, qtype: str, tcp: bool, edns: int | None, expected: int) -> None:
    reply = ask(many(count), "web.service.consul", qtype, tcp=tcp, edns=edns)
    assert abs(len(reply.rr) - expected) <= 3


def test_the_edns_size_is_kept_and_extras_follow_the_targets() -> None:
    packet = dnslib.DNSRecord.question("web.service.consul", "SRV")
    packet.add_ar(dnslib.EDNS0(udp_len=1232))
    query = dns.parse_query(bytes(packet.pack()))
    answer = Resolver(Rules("dc1", enable_truncate=True), many(300), random.Random(1), NOW).resolve(query, tcp=False)
    assert answer is not None
    reply = answer.pack(query, compress=True)
    assert 1000 < len(reply) <= 1232 + 11
    read = dnslib.DNSRecord.parse(reply)
    assert read.header.tc
    assert {str(rr.rdata.target) for rr in read.rr} == {str(rr.rname) for rr in read.ar if rr.rtype == dns.A}


def test_a_record_limit_and_truncation_flag() -> None:
    assert len(ask(many(10), "web.service.consul", a_record_limit=2).rr) == 2
    assert ask(many(10), "web.service.consul", edns=None, enable_truncate=True).header.tc
    assert not ask(many(10), "web.service.consul", edns=None).header.tc


def test_ttls_by_exact_name_then_longest_prefix() -> None:
    rules = Rules("dc1", service_ttl={"web": 1, "we*": 2, "*": 3})
    assert (rules.ttl_of("web"), rules.ttl_of("wet"), rules.ttl_of("db")) == (1, 2, 3)
    assert Rules("dc1").ttl_of("web") == 0


def test_names_are_taken_apart() -> None:
    assert parse_name("a.b.web.service.dc9.", dns.A, "dc1") == Lookup("service", "web", "a.b", "dc9")
    assert parse_name("my.local.node.", dns.A, "dc1") == Lookup("node", "my.local", "", "dc1")
    assert parse_name("geo.q.query.", dns.A, "dc1") == Lookup("query", "geo.q", "", "dc1")
    assert parse_name("service.", dns.A, "dc1") is None
    assert address_of_reverse_name("1." + "0." * 31 + "ip6.arpa.") == "::1"
    assert address_of_reverse_name("300.0.0.10.in-addr.arpa.") == ""


def test_a_prepared_query_is_answered_in_its_order_with_its_times_and_datacenter() -> None:
    found = [instance(f"n{n}", f"10.0.0.{n}") for n in (3, 1, 2)]
    near, plain = QueryResult(found, "web", "dc2", ttl_s=9), QueryResult(found, "web", "dc1")
    catalog = HandMade(queries={"near": near, "plain": plain})
    reply = ask(catalog, "near.query.consul", "SRV", service_ttl={"web": 4})
    assert [str(record.rdata.target) for record in reply.rr] == [f"{one.node.node}.node.dc2.consul." for one in found]
    assert {record.ttl for record in reply.rr} == {9}
    assert {record.ttl for record in ask(catalog, "plain.query.consul", service_ttl={"web": 4}).rr} == {4}
    assert ask(catalog, "nope.query.consul").header.rcode == dns.NXDOMAIN


def test_what_a_prepared_query_lets_pass_is_not_judged_again() -> None:
    found = [instance("n1", "10.0.0.1", checks=["warning"]), instance("n2", "10.0.0.2", checks=["critical"])]
    reply = ask(HandMade(queries={"q": QueryResult(found, "web", "dc1")}), "q.query.consul", only_passing=True)
    assert len(reply.rr) == 2


@pytest.mark.parametrize(("flags", "shown"), [(0x0110, 0x8510), (0x0010, 0x8410), (0x2110, 0xA400), (0x0120, 0x8500)])
def test_flags_come_back_with_plain_queries(flags: int, shown: int) -> None:
    packet = bytearray(dnslib.DNSRecord.question("n2.node.consul").pack())
    packet[2:4] = flags.to_bytes(2, "big")
    query = dns.parse_query(bytes(packet))
    answer = Resolver(Rules("dc1"), HandMade([instance()]), random.Random(7), NOW).resolve(query, tcp=False)
    assert answer is not None
    assert int.from_bytes(answer.pack(query, compress=True)[2:4], "big") == shown
