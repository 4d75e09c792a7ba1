"""Addresses of the network interfaces of this host, asked from the kernel over rtnetlink(7)."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from typing import NamedTuple

UP, BROADCAST, LOOPBACK, POINT_TO_POINT, MULTICAST = 0x1, 0x2, 0x8, 0x10, 0x1000
_FLAG_NAMES = (
    (UP, "up"),
    (BROADCAST, "broadcast"),
    (LOOPBACK, "loopback"),
    (POINT_TO_POINT, "pointtopoint"),
    (MULTICAST, "multicast"),
)

_GET_LINK, _GET_ADDRESS, _DONE, _ERROR = 18, 22, 3, 2
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_LINK_NAME, _LINK_MTU, _ADDRESS, _LOCAL = 3, 4, 1, 2  # IFLA_IFNAME, IFLA_MTU, IFLA_ and IFA_ADDRESS, IFA_LOCAL
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDR = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")
_TIMEOUT_S = 5.0


class InterfaceAddress(NamedTuple):
    """One address with its network, and the interface that carries it. `flags` are the UP... above."""

    interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    name: str
    flags: int
    number: int = 0
    mtu: int = 0
    hardware: bytes = b""

    @property
    def address_text(self) -> str:
        """With the length of its prefix, unless that is all of it."""
        whole = self.interface.network.prefixlen == self.interface.max_prefixlen
        return str(self.interface.ip) if whole else str(self.interface)

    @property
    def text(self) -> str:
        """As Go prints it."""
        hardware = self.hardware.hex(":")
        return f"{self.address_text} {{{self.number} {self.mtu} {self.name} {hardware} {self.flag_names}}}"

    def moved(self, address: int, prefix_length: int) -> InterfaceAddress:
        """Another address of the same interface."""
        packed = address.to_bytes(self.interface.max_prefixlen // 8, "big")
        return self._replace(interface=ipaddress.ip_interface((packed, prefix_length)))

    @property
    def flag_names(self) -> str:
        return "|".join(name for bit, name in _FLAG_NAMES if self.flags & bit) or "0"


def interface_addresses() -> list[InterfaceAddress]:
    """All addresses, by interface in the order of their indices. Raises OSError if the kernel does not tell."""
    links: dict[int, tuple[str, int, int, int, bytes]] = {}
    for message in _dump(_GET_LINK):
        _, _, index, flags, _ = _LINK.unpack_from(message)
        attributes = _attributes(message[_LINK.size :])
        name = attributes.get(_LINK_NAME, b"").rstrip(b"\0").decode()
        mtu = int.from_bytes(attributes.get(_LINK_MTU, b""), sys.byteorder)
        hardware = attributes.get(_ADDRESS, b"")
        links[index] = (name, flags, index, mtu, hardware if any(hardware) else b"")
    by_index: dict[int, list[InterfaceAddress]] = {index: [] for index in sorted(links)}
    for message in _dump(_GET_ADDRESS):
        family, prefix, _, _, index = _ADDR.unpack_from(message)
        attributes = _attributes(message[_ADDR.size :])
        packed = attributes.get(_LOCAL) or attributes.get(_ADDRESS)
        if index not in links or packed is None or family not in (socket.AF_INET, socket.AF_INET6):
            continue
        address = ipaddress.ip_interface((packed, prefix))
        by_index[index].append(InterfaceAddress(address, *links[index]))
    return [address for addresses in by_index.values() for address in addresses]


def default_route_interface() -> str | None:
    """Name of the interface with the default IPv4 route through a gateway, None without one."""
    try:
        with open("/proc/net/route", encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return None
    routes = [row for row in rows if row[1] == "00000000" and row[2] != "00000000"]
    return min(routes, key=lambda row: int(row[6]))[0] if routes else None


def _dump(kind: int) -> list[bytes]:
    """Bodies of all messages that answer a dump request."""
    bodies: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.settimeout(_TIMEOUT_S)
        link.send(_HEADER.pack(_HEADER.size + 1, kind, _REQUEST_DUMP, 1, 0) + b"\0")
        while True:
            data = link.recv(1 << 17)
            while data:
                length, message_kind, *_ = _HEADER.unpack_from(data)
                if message_kind == _DONE:
                    return bodies
                if message_kind == _ERROR:
                    raise OSError("rtnetlink refused to list the interfaces")
                bodies.append(data[_HEADER.size : length])
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found
