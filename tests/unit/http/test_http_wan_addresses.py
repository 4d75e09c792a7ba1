"""translate_wan_addrs: what is shown of nodes and services of another datacenter. The expected values are what the
real Consul 1.8.7 showed of such entries of a second datacenter."""

from __future__ import annotations

import pytest

from services.http_gateway.selection import translate_service, wan_address
from shared.structs.catalog import NodeService
from shared.structs.proxy import ServiceAddress

NODE, SERVICE = "10.9.9.9", "10.8.8.8"


@pytest.mark.parametrize(
    ("tagged", "shown"),
    [
        ({}, None),
        ({"wan": "198.18.0.1"}, "198.18.0.1"),
        ({"wan": "198.18.0.1", "lan_ipv4": "10.0.0.1"}, "10.0.0.1"),
        ({"wan_ipv4": "198.18.0.4"}, "198.18.0.4"),
        ({"lan": "10.0.0.1", "lan_ipv4": "10.0.0.1", "wan": "198.18.0.1", "wan_ipv4": "198.18.0.4"}, "198.18.0.4"),
        ({"wan": "198.18.0.1", "lan_ipv6": "fd00::1"}, "fd00::1"),
        ({"wan": "198.18.0.1", "wan_ipv4": "198.18.0.4", "wan_ipv6": "fd00::6"}, "fd00::6"),
        ({"lan_ipv4": "10.0.0.9"}, "10.0.0.9"),
    ],
)
def test_the_address_for_another_datacenter(tagged: dict[str, str], shown: str | None) -> None:
    assert wan_address(NODE, tagged) == (shown or NODE)
    service = NodeService(address=SERVICE, tagged_addresses={n: ServiceAddress(address=a) for n, a in tagged.items()})
    translate_service(service, "address", "tagged_addresses", "port")
    assert service.address == (shown or SERVICE)


def test_only_the_wan_address_has_a_port_of_its_own() -> None:
    tagged = {"lan_ipv4": ServiceAddress(address="10.0.0.1", port=7001), "wan_ipv4": ServiceAddress(port=7003)}
    service = NodeService(address=SERVICE, port=80, tagged_addresses=dict(tagged))
    translate_service(service, "address", "tagged_addresses", "port")
    assert service.port == 80
    service.tagged_addresses = {**tagged, "wan": ServiceAddress(address="198.18.0.1", port=7002)}
    translate_service(service, "address", "tagged_addresses", "port")
    assert service.port == 7002
