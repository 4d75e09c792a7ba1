"""Addresses and listeners: what the keys bind_addr, advertise_addr*, client_addr, addresses and ports mean."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

from shared.config.error_list import error_list
from shared.config.options import ConfigError
from shared.config.runtime import join_host_port
from shared.config.sections import Addresses
from shared.config.sockaddr import TemplateError, expand
from shared.config.values import Values
from shared.gotext.quoting import quote

UNIX = "unix://"
_DOTTED = re.compile(r"[0-9]+(\.[0-9]+){3}", re.ASCII)

_PRIVATE_NETWORKS = (
    "10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
    " 192.168.0.0/16 ::1/128 fe80::/10 fc00::/7 fec0::/10 2001:db8::/32"
)
"""What Consul takes for private when it looks for an address to advertise."""


def parse_ip(text: str) -> str | None:
    """The canonical form of an IP address, None if it is none. "[::]" is let through as "::"."""
    if text == "[::]":
        return "::"
    if _DOTTED.fullmatch(text):
        text = ".".join(str(int(part)) for part in text.split("."))  # Go 1.15 takes 010 for ten
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        if family == socket.AF_INET6 and packed.startswith(bytes(10) + b"\xff\xff"):
            return socket.inet_ntop(socket.AF_INET, packed[12:])  # IPv4-mapped
        return socket.inet_ntop(family, packed)
    return None


def is_any(text: str) -> bool:
    return text in ("0.0.0.0", "::", "[::]")


def is_v6(ip: str) -> bool:
    return ":" in ip


class Resolved(NamedTuple):
    """All addresses of an agent, "ip" or "ip:port"; None for what is disabled."""

    bind: str
    advertise: str
    advertise_wan: str
    clients: tuple[str, ...]
    listeners: Addresses
    tagged: dict[str, str]
    rpc_bind: str
    rpc_advertise: str
    serf_lan_bind: str | None
    serf_lan_advertise: str
    serf_wan_bind: str | None
    serf_wan_advertise: str | None


class ClusterPorts(NamedTuple):
    """Ports between agents, -1 for "disabled"."""

    server: int
    serf_lan: int
    serf_wan: int


def resolve(values: Values, ports: ClusterPorts, client_ports: dict[str, int]) -> Resolved:
    """client_ports: by the names in the block `addresses`. Raises ConfigError for what cannot be resolved."""
    reader = _Reader(values)
    bind = reader.bind()
    advertise = reader.first_ip("advertise_addr") or bind
    if is_any(advertise):
        advertise = _detect(advertise)
    rpc_bind = join_host_port(bind, ports.server) if ports.server > 0 else ""
    serf_lan_ip = reader.first_ip("serf_lan") or bind
    serf_wan_ip = (reader.first_ip("serf_wan") or bind) if ports.serf_wan >= 0 else bind
    if values.text("advertise_addr"):
        reader.first_ip("advertise_addr")  # Consul reads it twice, and reports what is wrong with it twice
    tagged = values.mapping("tagged_addresses")
    lan = reader.tag_addresses(tagged, "lan", advertise, "advertise_addr")
    wan = reader.tag_addresses(tagged, "wan", reader.first_ip("advertise_addr_wan") or lan, "advertise_addr_wan")
    clients = reader.ips("client_addr")
    listeners = {name: reader.listeners(name, clients, port) for name, port in client_ports.items()}
    return Resolved(
        bind=bind,
        advertise=lan,
        advertise_wan=wan,
        clients=clients,
        listeners=Addresses(**listeners),
        tagged=tagged,
        rpc_bind=rpc_bind,
        rpc_advertise=join_host_port(lan, ports.server),
        serf_lan_bind=join_host_port(serf_lan_ip, ports.serf_lan) if ports.serf_lan > 0 else None,
        serf_lan_advertise=join_host_port(lan, ports.serf_lan),
        serf_wan_bind=join_host_port(serf_wan_ip, ports.serf_wan) if ports.serf_wan > 0 else None,
        serf_wan_advertise=join_host_port(wan, ports.serf_wan) if ports.serf_wan > 0 else None,
    )


def expand_list(values: Values, name: str) -> tuple[str, ...]:
    """Addresses to join: templates expanded, everything else passed through as it is."""
    expanded: list[str] = []
    for text in values.texts(name):
        try:
            result = expand(text)
        except TemplateError as error:
            values.errors.append(f"{name}: error parsing {quote(text)}: {error}")
            continue
        if text:
            expanded.extend(result.split() if result != text else [text])
    return tuple(expanded)


def expand_recursors(values: Values) -> tuple[str, ...]:
    """DNS servers to ask for other domains, each once. Raises ConfigError."""
    recursors: dict[str, None] = {}
    for text in values.texts("recursors"):
        try:
            result = expand(text)
        except TemplateError as error:
            raise ConfigError(f"Invalid DNS recursor template {quote(text)}: {error}") from error
        for address in result.split():
            if address.startswith(UNIX):
                raise ConfigError(f"DNS Recursors cannot be unix sockets: {address}")
            recursors[address] = None
    return tuple(recursors)


class _Reader:
    """Reads address keys: templates expanded, every part checked to be an IP address or unix://path."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def bind(self) -> str:
        """The one address of bind_addr. Also refuses to advertise an address that stands for all."""
        errors_before = len(self._values.errors)
        addresses = self._addresses("bind_addr")
        if not addresses:
            # Consul says no more than this; where it is a template or a typo, the reason helps.
            reasons = self._values.errors[errors_before:]
            raise ConfigError(error_list(reasons) if reasons else "bind_addr cannot be empty")
        if len(addresses) > 1:
            raise ConfigError("bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.")
        if addresses[0].startswith(UNIX):
            raise ConfigError("bind_addr cannot be a unix socket")
        for key, label in (("advertise_addr", "Advertise"), ("advertise_addr_wan", "Advertise WAN")):
            if is_any(self._values.text(key)):
                raise ConfigError(f"{label} address cannot be 0.0.0.0, :: or [::]")
        return addresses[0]

    def first_ip(self, name: str) -> str | None:
        addresses = self._addresses(name)
        if len(addresses) > 1:
            self._values.errors.append(f"{name}: multiple addresses found: {' '.join(addresses)}")
            return None
        if addresses and addresses[0].startswith(UNIX):
            self._values.errors.append(f"{name} cannot be a unix socket")
            return None
        return addresses[0] if addresses else None

    def ips(self, name: str) -> tuple[str, ...]:
        addresses = self._addresses(name)
        if any(address.startswith(UNIX) for address in addresses):
            self._values.errors.append(f"{name} cannot be a unix socket")
            return ()
        return tuple(addresses)

    def listeners(self, name: str, clients: tuple[str, ...], port: int) -> tuple[str, ...]:
        """addresses.NAME, or the client addresses, with the port; none if the port is disabled."""
        own = self._addresses(f"addresses.{name}")
        if port <= 0:
            return ()
        return tuple(
            address if address.startswith(UNIX) else join_host_port(address, port) for address in own or clients
        )

    def tag_addresses(self, tagged: dict[str, str], tag: str, address: str, key: str) -> str:
        """Sets the tags lan, lan_ipv4, lan_ipv6 (or wan...) and returns the address."""
        tagged[tag] = address
        for version, wants_v6 in (("ipv4", False), ("ipv6", True)):
            name = f"{key}_{version}"
            ip = self.first_ip(name)
            if name == "advertise_addr_wan_ipv6" and ip is None:
                # Consul 1.8 reads both from one key by mistake; the key of its documentation works here.
                ip = self.first_ip("advertise_addr_ipv6")
            if ip is None:
                ip = address if is_v6(address) == wants_v6 else None
            if ip is None:
                continue
            if is_v6(ip) != wants_v6:
                raise ConfigError(f"{name} must be an {version} address")
            tagged[f"{tag}_{version}"] = ip
        return address

    def _addresses(self, name: str) -> list[str]:
        """Empty after an error, which is then noted."""
        text = self._values.text(name)
        if not text:
            return []
        try:
            result = expand(text)
        except TemplateError as error:
            self._values.errors.append(f"{name}: error parsing {quote(text)}: {error}")
            return []
        addresses: list[str] = []
        for part in result.split():
            address = part if part.startswith(UNIX) else parse_ip(part)
            if address is None:
                self._values.errors.append(f"{name}: invalid ip address: {part}")
                return []
            addresses.append(address)
        return addresses


def _detect(any_address: str) -> str:
    """The one private IPv4 (public IPv6) address of this host that an agent on all addresses advertises."""
    import ipaddress

    from shared.config.sockaddr import interfaces

    wants_v6 = is_v6(any_address)
    kind = "public IPv6" if wants_v6 else "private IPv4"
    try:
        addresses = interfaces.interface_addresses()
    except OSError as error:
        raise ConfigError(f"Error detecting {kind} address: Failed to get interface addresses: {error}") from error
    if not wants_v6:
        up = [a for a in addresses if a.flags & interfaces.UP]
        addresses = [a for a in up if not a.flags & interfaces.LOOPBACK] or up
    networks = [ipaddress.ip_network(text) for text in _PRIVATE_NETWORKS.split()]
    found = [
        str(a.interface.ip)
        for a in addresses
        if (a.interface.version == 6) == wants_v6 and any(a.interface.ip in network for network in networks) != wants_v6
    ]
    if not found:
        raise ConfigError(f"No {kind} address found")
    if len(found) > 1:
        raise ConfigError(f"Multiple {kind} addresses found. Please configure one with 'bind' and/or 'advertise'.")
    return found[0]
