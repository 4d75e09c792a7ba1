"""translate_wan_addrs in DNS: the answers the real Consul 1.8.7 gave about nodes of a second datacenter."""

from __future__ import annotations

import pytest

from services.dns_frontend import message as dns
from services.dns_frontend.records import address_record, node_address, packed_ip, service_address, service_port
from shared.structs.catalog import Node, NodeService
from shared.structs.proxy import ServiceAddress

OWN = "10.9.9.9"


@pytest.mark.parametrize(
    ("tagged", "a", "aaaa", "any_of_both"),
    [
        ({}, OWN, None, OWN),
        ({"wan": "198.18.0.1"}, "198.18.0.1", None, "198.18.0.1"),
        ({"wan": "198.18.0.1", "lan_ipv4": "10.0.0.1"}, "10.0.0.1", None, "10.0.0.1"),
        ({"wan_ipv4": "198.18.0.4"}, "198.18.0.4", None, "198.18.0.4"),
        ({"lan_ipv4": "10.0.0.1", "wan": "198.18.0.1", "wan_ipv4": "198.18.0.4"}, "198.18.0.4", None, "198.18.0.4"),
        ({"wan": "198.18.0.1", "lan_ipv6": "fd00::1"}, "198.18.0.1", "fd00::1", "fd00::1"),
        ({"wan": "198.18.0.1", "wan_ipv4": "198.18.0.4", "wan_ipv6": "fd00::6"}, "198.18.0.4", "fd00::6", "fd00::6"),
    ],
)
def test_addresses_of_another_datacenter(tagged: dict[str, str], a: str, aaaa: str | None, any_of_both: str) -> None:
    node = Node(node="far", address=OWN, tagged_addresses=tagged)
    service = NodeService(address=OWN, tagged_addresses={n: ServiceAddress(address=t) for n, t in tagged.items()})
    for qtype, shown in ((dns.A, a), (dns.AAAA, aaaa), (dns.ANY, any_of_both)):
        for chosen in (node_address(node, qtype, wan=True), service_address(service, qtype, wan=True)):
            packed = packed_ip(chosen)
            assert packed is not None
            record = address_record("far.node.dc2.consul.", qtype, packed, 0)
            assert (None if record is None else record.data) == (None if shown is None else packed_ip(shown))


def test_own_addresses_and_ports_where_nothing_is_translated() -> None:
    tagged = {"wan": ServiceAddress(address="198.18.0.1", port=7002)}
    service = NodeService(address=OWN, port=80, tagged_addresses=tagged)
    assert (service_address(service, dns.A, wan=False), service_port(service, wan=False)) == (OWN, 80)
    assert (service_address(service, dns.A, wan=True), service_port(service, wan=True)) == ("198.18.0.1", 7002)
