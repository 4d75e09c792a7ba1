"""Records of one node or service instance: addresses, SRV targets, CNAMEs, TXT of node meta. No questions in here.

Source: Consul's rules for address choice (tagged addresses, WAN translation) and record shapes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from services.dns_frontend import message as dns
from shared.structs.catalog import CheckServiceNode, HealthCheck, Node, NodeService
from shared.structs.proxy import ServiceAddress

_ADDRESS_TYPES_V4: Final = frozenset({dns.A, dns.SRV, dns.ANY, dns.NS, dns.TXT})
_ADDRESS_TYPES_V6: Final = frozenset({dns.AAAA, dns.SRV, dns.ANY, dns.NS, dns.TXT})


class Instance(NamedTuple):
    """One instance of a service on its node, with the checks of both."""

    node: Node
    service: NodeService
    checks: Sequence[HealthCheck] = ()


def instances_of(found: Iterable[CheckServiceNode]) -> list[Instance]:
    return [
        Instance(one.node, one.service, one.checks or ())
        for one in found
        if one.node is not None and one.service is not None
    ]


def packed_ip(text: str) -> bytes | None:
    """4 or 16 bytes of an address, None if `text` is a name. IPv4-mapped IPv6 counts as IPv4."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.packed
    return ip.packed


def address_record(name: str, qtype: int, ip: bytes, ttl: int) -> dns.Record | None:
    """A or AAAA record, None if a client that asks for `qtype` must not get it."""
    if len(ip) == 4:
        return dns.Record(name, dns.A, ttl, ip) if qtype in _ADDRESS_TYPES_V4 else None
    return dns.Record(name, dns.AAAA, ttl, ip) if qtype in _ADDRESS_TYPES_V6 else None


def choose_address(default: str, v4: str, v6: str, qtype: int) -> str:
    """The address that suits the question: a tagged one of the asked family, otherwise the default."""
    if v6 and qtype != dns.A:
        return v6
    if v4 and qtype != dns.AAAA:
        return v4
    return default


def node_address(node: Node, qtype: int, *, wan: bool) -> str:
    """wan: the node is in another datacenter and addresses are to be translated."""
    tagged = node.tagged_addresses or {}
    default, v4, v6 = node.address, tagged.get("lan_ipv4", ""), tagged.get("lan_ipv6", "")
    if wan:
        default = tagged.get("wan", default)
        v4, v6 = tagged.get("wan_ipv4", v4), tagged.get("wan_ipv6", v6)
    return choose_address(default, v4, v6, qtype)


def service_address(service: NodeService, qtype: int, *, wan: bool) -> str:
    tagged = service.tagged_addresses or {}
    default, v4, v6 = service.address, _tagged(tagged, "lan_ipv4", ""), _tagged(tagged, "lan_ipv6", "")
    if wan:
        default = _tagged(tagged, "wan", default)
        v4, v6 = _tagged(tagged, "wan_ipv4", v4), _tagged(tagged, "wan_ipv6", v6)
    return choose_address(default, v4, v6, qtype)


def service_port(service: NodeService, *, wan: bool) -> int:
    tagged = (service.tagged_addresses or {}).get("wan")
    return tagged.port if wan and tagged is not None and tagged.port else service.port


def _tagged(addresses: Mapping[str, ServiceAddress], tag: str, default: str) -> str:
    found = addresses.get(tag)
    return default if found is None else found.address


def weight(instance: Instance) -> int:
    """SRV weight: the service's weight for its aggregated check status."""
    service = instance.service
    passing, warning = (1, 1) if service.weights is None else (service.weights.passing, service.weights.warning)
    relevant = [check for check in instance.checks if check.service_name in (service.service, "")]
    status = aggregated_status(relevant)
    return {"passing": passing, "warning": warning, "critical": 0, "maintenance": 0}.get(status, 1)


def aggregated_status(checks: list[HealthCheck]) -> str:
    """Worst status of `checks`: maintenance, critical, warning, passing; "" for one outside Consul's vocabulary."""
    seen = set()
    for check in checks:
        if check.check_id == "_node_maintenance" or check.check_id.startswith("_service_maintenance:"):
            return "maintenance"
        if check.status not in ("passing", "warning", "critical"):
            return ""
        seen.add(check.status)
    return "critical" if "critical" in seen else "warning" if "warning" in seen else "passing"


def is_usable(instance: Instance, *, only_passing: bool) -> bool:
    """Instances with a critical check are never handed out, with `only_passing` nor those with a warning."""
    return not any(
        check.status == "critical" or (only_passing and check.status != "passing") for check in instance.checks
    )


def meta_records(name: str, node: Node, ttl: int) -> Iterator[dns.Record]:
    """One TXT record per meta pair; keys that begin with rfc1035- give their bare value (RFC 1464 otherwise)."""
    for key, value in (node.meta or {}).items():
        text = value if key.lower().startswith("rfc1035-") else _rfc1464(key, value)
        yield dns.Record(name, dns.TXT, ttl, text)


def _rfc1464(key: str, value: str) -> str:
    key = key.replace("`", "``").replace("=", "`=")
    leading = len(key) - len(key.lstrip(" "))
    key = "` " * leading + key[leading:]
    trailing = len(key) - len(key.rstrip(" ")) if key.strip(" ") else 0
    if trailing:
        key = key[:-trailing] + "` " * trailing
    return key + "=" + value.replace("`", "``")


def ip_name(ip: bytes, datacenter: str, domain: str) -> str:
    """Name that resolves to a bare address: 0a000001.addr.dc1.consul."""
    return f"{ip.hex()}.addr.{datacenter}.{domain}"
