"""IP addresses as gossip carries them: 4 or 16 bytes."""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

_MAPPED = b"\0" * 10 + b"\xff\xff"


class Address(NamedTuple):
    """Where a node listens, for packets and streams alike."""

    ip: bytes
    port: int

    def __str__(self) -> str:
        text = format_ip(self.ip)
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"


def format_ip(ip: bytes) -> str:
    """Text form; an IPv4 address mapped into IPv6 is shown as IPv4, as Go does."""
    if len(ip) == 16 and ip.startswith(_MAPPED):
        ip = ip[12:]
    if len(ip) == 4:
        return ".".join(map(str, ip))
    if len(ip) == 16:
        return str(ipaddress.IPv6Address(ip))
    return f"?{ip.hex()}" if ip else "<nil>"


class AddressFilter:
    """serf_lan_allowed_cidrs / serf_wan_allowed_cidrs: the networks members may live in."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def allows(self, ip: bytes) -> bool:
        if len(ip) == 16 and ip.startswith(_MAPPED):
            ip = ip[12:]
        if len(ip) not in (4, 16):
            return False
        address = ipaddress.ip_address(ip)
        return any(address in network for network in self._networks)
