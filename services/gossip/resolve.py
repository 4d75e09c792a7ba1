"""Addresses to join: "host", "host:port", "[v6]:port", each optionally after "nodename/"."""

import ipaddress
import socket
from dataclasses import dataclass

import trio

from services.gossip.swim.address import Address

_LOOKUP_TIMEOUT_S = 5.0
_RESOLV_CONF = "/etc/resolv.conf"


@dataclass(frozen=True, slots=True)
class JoinTarget:
    name: str
    """The node expected there, "" for anybody."""
    address: Address


class ResolveError(Exception):
    """The text can stand after "Failed to resolve ...: "."""


async def resolve(text: str, default_port: int) -> list[JoinTarget]:
    """Everything that `text` stands for. Raises ResolveError.

    A name may hold slashes and anything else, as peers choose theirs; no host or address holds one."""
    name, slash, rest = text.rpartition("/")
    if slash and not name:
        raise ResolveError("empty node name provided")
    host, port = split_port(rest, default_port)
    try:
        return [JoinTarget(name, Address(ipaddress.ip_address(host).packed, port))]
    except ValueError:
        pass
    addresses = await _lookup_over_tcp(host) or await _lookup(host)
    return [JoinTarget(name, Address(ip, port)) for ip in addresses]


def split_port(text: str, default_port: int) -> tuple[str, int]:
    """Host and port; a bare IPv6 address needs no brackets. Raises ResolveError."""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ResolveError(f"address {text}: missing ']' in address")
        port = tail[1:]
    elif text.count(":") > 1:
        return text, default_port
    else:
        host, _, port = text.partition(":")
    if not host:
        raise ResolveError(f"address {text}: missing host")
    if not port:
        return host, default_port
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ResolveError(f"address {text}: invalid port {port!r}")
    return host, int(port)


async def _lookup(host: str) -> list[bytes]:
    with trio.move_on_after(_LOOKUP_TIMEOUT_S):
        try:
            found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        except (OSError, ValueError):  # ValueError: nothing that DNS could be asked for
            raise ResolveError(f"lookup {host}: no such host") from None
        return list(dict.fromkeys(socket.inet_pton(entry[0], str(entry[4][0]).partition("%")[0]) for entry in found))
    raise ResolveError(f"lookup {host}: i/o timeout")


async def _lookup_over_tcp(host: str) -> list[bytes]:
    """All addresses the first resolver has, asked over TCP so that a long list is not cut. Empty if that fails."""
    if "." not in host:
        return []  # not a full name: the search list has to be tried
    server = _first_nameserver()
    if server is None:
        return []
    import dnslib  # joins are rare, and this takes a while to import
    from dnslib.label import DNSLabelError

    try:
        question = dnslib.DNSRecord.question(host, "ANY").pack()
    except (DNSLabelError, ValueError):  # too long a name, or with other letters
        return []
    with trio.move_on_after(_LOOKUP_TIMEOUT_S):
        try:
            stream = await trio.open_tcp_stream(server, 53)
            async with stream:
                await stream.send_all(len(question).to_bytes(2, "big") + question)
                data = b""
                while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                    chunk = await stream.receive_some(65536)
                    if not chunk:
                        return []
                    data += chunk
            answer = dnslib.DNSRecord.parse(data[2:])
        except (OSError, trio.BrokenResourceError, dnslib.DNSError):
            return []
        types = (dnslib.QTYPE.A, dnslib.QTYPE.AAAA)
        return [ipaddress.ip_address(str(rr.rdata)).packed for rr in answer.rr if rr.rtype in types]
    return []


def _first_nameserver() -> str | None:
    try:
        with open(_RESOLV_CONF, encoding="utf-8") as file:
            for line in file:
                words = line.split()
                if len(words) >= 2 and words[0] == "nameserver":
                    return words[1]
    except OSError:
        pass
    return None
