"""A catalog, and questions about it: every kind of name with every type, with and without EDNS, over UDP and TCP."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.agents import Agent, RealConsul
from tests.integration.dns.exchange_dns import Question

TYPES = ("A", "AAAA", "SRV", "ANY", "TXT", "CNAME", "NS", "SOA", "MX", "PTR", "AXFR", "HTTPS", "CAA", "TYPE999")


def _service(number: int, service: str, **more: Any) -> dict[str, Any]:
    checks = more.pop("checks", [])
    entry = more.pop("node", {})
    definition = {"ID": more.pop("ID", f"{service}-{number}"), "Service": service, "Port": 8000 + number, **more}
    return {
        "Node": f"n{number}",
        "Address": f"10.46.0.{number}",
        **entry,
        "Service": definition,
        "Checks": [{"CheckID": f"{definition['ID']}:{n}", "Name": "c", "Status": status,
                    "ServiceID": definition["ID"] if own else ""}
                   for n, (status, own) in enumerate(checks)],
    }  # fmt: skip


WEIGHTS = {"Passing": 7, "Warning": 3}
CATALOG: list[dict[str, Any]] = [
    _service(1, "web", Tags=["v1", "Master"], checks=[("passing", True)], Weights=WEIGHTS),
    _service(2, "web", Tags=["v2", "a.b"], checks=[("warning", True)], Weights=WEIGHTS),
    _service(3, "web", Tags=["v1"], checks=[("critical", True)], Weights=WEIGHTS),
    _service(4, "web", checks=[("critical", False)]),
    _service(5, "db", Address="10.46.9.5", node={"NodeMeta": {"k": "v", "rfc1035-x": "plain", "a=b`": " c` "}}),
    _service(5, "db", ID="db-again", Address="10.46.9.5", Port=9999),
    _service(6, "six", Address="2001:db8::6", node={"Address": "2001:db8:0:1::6"}),
    _service(
        7,
        "both",
        node={
            "Address": "10.46.0.7",
            "TaggedAddresses": {
                "lan": "10.46.0.7",
                "wan": "1.2.3.7",
                "lan_ipv4": "10.46.7.7",
                "lan_ipv6": "2001:db8::7",
            },
        },
    ),
    _service(
        8,
        "tagged",
        Address="10.46.0.88",
        TaggedAddresses={
            "lan": {"Address": "10.46.8.1", "Port": 1},
            "wan": {"Address": "1.2.3.8", "Port": 2},
            "lan_ipv4": {"Address": "10.46.8.4", "Port": 4},
            "lan_ipv6": {"Address": "2001:db8::8", "Port": 6},
        },
    ),
    _service(9, "name", Address="target.example.com"),
    _service(10, "ours", Address="web.service.consul"),
    _service(10, "loop", Address="loop.service.consul"),
    _service(10, "far", Address="n5.node.consul"),
    _service(11, "outside", node={"Address": "www.example.com"}),
    _service(12, "chain", Address="outside.service.consul"),
    _service(13, "dotted", node={"Node": "my.dotted.node"}),
    _service(14, "under_score", Tags=["_x"]),
    _service(15, "UPPER", Tags=["Tag"], node={"Node": "Upper-Node"}),
    _service(16, "nochecks"),
    _service(17, "native", Connect={"Native": True}),
    _service(18, "proxied"),
    _service(18, "proxied-proxy", Kind="connect-proxy", Port=21000, Proxy={"DestinationServiceName": "proxied"}),
    _service(19, "zero", Port=0),
    _service(19, "gated"),  # asked for below ingress only: Consul's cache takes the service for its gateway
    _service(20, "mapped", Address="::ffff:10.46.0.20"),
    _service(21, "long-" + "x" * 50),
    _service(22, "maint", checks=[("critical", True)]),
    _service(23, "odd", Address="not a host"),
    _service(24, "empty-node-address", Address="10.46.0.24", node={"NodeMeta": {"long": "y" * 240}}),
    {"Node": "bare", "Address": "10.46.0.99", "NodeMeta": {"only": "meta"}},
    {"Node": "v6only", "Address": "2001:db8::99"},
    {"Node": "aliased", "Address": "n5.node.consul"},
    {"Node": "external", "Address": "ext.example.com", "NodeMeta": {"external": "1"}},
    *(_service(30 + n, "many", checks=[("passing", True)]) for n in range(12)),
    *(_service(200 + n, "lots", Tags=[f"t{n}"], Port=20_000 + n, node={"Address": f"10.47.0.{n}"}) for n in range(60)),
]


def fill_catalog(agent: RealConsul | Agent) -> None:
    """Registers it all."""
    for body in CATALOG:
        answer = agent.http("PUT", "/v1/catalog/register", body)
        assert answer.status == 200, (body, answer.body)


_NODES = ["node1", "n1", "n5", "N5", "n6", "n7", "n11", "bare", "v6only", "aliased", "external", "my.dotted.node",
          "upper-node", "nope", "n24"]  # fmt: skip
_SERVICES = ["web", "WEB", "v1.web", "master.web", "a.b.web", "v2.web", "nope.web", "db", "six", "both", "tagged",
             "name", "ours", "loop", "far", "outside", "chain", "dotted", "under_score", "upper", "nochecks", "native",
             "proxied", "zero", "mapped", "long-" + "x" * 50, "maint", "odd", "empty-node-address", "consul", "nope",
             "_web._tcp", "_web._v1", "_web._tcp.x", "_db._udp", "_nope._tcp", "_web", "x._web._tcp"]  # fmt: skip
_RAW = ["", "consul", "CoNsUl", "service.consul", "node.consul", "connect.consul", "query.consul", "addr.consul",
        "x.consul", "a.b.c.consul", "service.dc1.consul", "web.service.dc1.dc2.consul", "web.service.nope.consul",
        "n1.node.nope.consul", "web.service.dc1.consul", "n1.node.dc1.consul", "WEB.SERVICE.DC1.CONSUL",
        "0a2e0001.addr.consul", "0a2e0001.addr.dc1.consul", "0A2E0001.addr.consul", "0a2e.addr.consul",
        "20010db8000000000000000000000006.addr.consul", "zz2e0001.addr.consul", "0a2e0001.addr.nope.consul",
        "0a2e00011.addr.consul", "a.0a2e0001.addr.consul", "0a2e0001.addr.dc1.dc2.consul", "gated.ingress.consul",
        "nope.ingress.consul", "native.connect.consul", "proxied.connect.consul", "web.connect.consul",
        "v1.web.connect.consul", "nope.query.consul", "a.b.query.consul", "nope.query.nope.consul",
        "ns.consul", "hostmaster.consul", "_web._tcp.consul", "_web._v1.dc1.consul", "_web.consul",
        "web.service.node.consul", "web.node.service.consul", "service.service.consul", "node.node.consul",
        "example.com", "consul.example.com", "notconsul", "xconsul", "service", "localhost"]  # fmt: skip
_REVERSE = ["1.0.46.10.in-addr.arpa", "5.9.46.10.in-addr.arpa", "99.0.46.10.in-addr.arpa",
            "254.254.46.10.in-addr.arpa", "1.0.46.10.IN-ADDR.ARPA", "46.10.in-addr.arpa", "in-addr.arpa", "arpa",
            "x.arpa", "300.0.46.10.in-addr.arpa", "01.0.46.10.in-addr.arpa", "1.1.0.46.10.in-addr.arpa",
            "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            "9.9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            "8.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "20.0.46.10.in-addr.arpa"]  # fmt: skip
_CUT = ("many", "lots", "t1.lots")


def questions(seed: int, count: int) -> Iterator[Question]:
    """Each name with its most telling types, then random combinations."""
    rng = random.Random(seed)
    names = [
        *(f"{node}.node.consul" for node in _NODES),
        *(f"{service}.service.consul" for service in _SERVICES),
        *_RAW,
    ]
    for name in names:
        for qtype in ("A", "SRV", "ANY"):
            yield Question(name, qtype)
    for name in _REVERSE:
        for qtype in ("PTR", "A", "SOA", "ANY"):
            yield Question(name, qtype)
    for service in _CUT:
        for qtype in ("A", "SRV", "ANY", "AAAA"):
            for udp_size in (None, 0, 512, 600, 1232, 4096, 65_535):
                yield Question(f"{service}.service.consul", qtype, udp_size=udp_size, cut=service != "t1.lots")
            yield Question(f"{service}.service.consul", qtype, tcp=True, cut=service != "t1.lots")
    for qtype in TYPES:
        for name in ("consul", "web.service.consul", "n5.node.consul", "nope.service.consul", "example.com"):
            yield Question(name, qtype)
    yield from _odd()
    for _ in range(count):
        yield Question(
            rng.choice([*names, *_REVERSE]),
            rng.choice(TYPES),
            tcp=rng.random() < 0.3,
            udp_size=rng.choice([None, None, 512, 1232, 4096]),
            flags=rng.choice([0x0100, 0x0100, 0, 0x0120, 0x0110]),
        )


def _odd() -> Iterator[Question]:
    for subnet in ("10.1.2.0/24", "10.1.2.3/32", "0.0.0.0/0", "2001:db8::/32"):
        for name in ("web.service.consul", "nope.service.consul", "n5.node.consul", "nope.query.consul", "consul"):
            yield Question(name, "A", udp_size=4096, subnet=subnet)
    for qclass in (3, 254, 255):
        yield Question("n5.node.consul", "A", qclass=qclass)
        yield Question("consul", "SOA", qclass=qclass)
    for flags in (0x2000, 0x2100, 0x2110, 0x2900, 0x7800, 0x0900, 0x1100, 0x8000, 0x0010, 0x0020):
        yield Question("n5.node.consul", "A", flags=flags)
