"""What a name under Consul's domain asks for. Names only: no data, no answers.

Source: Consul's DNS interface (node, service, RFC 2782, query, connect, ingress and addr names).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from services.dns_frontend import message as dns

_OCTETS: Final = frozenset(map(str, range(256)))
_KINDS: Final = frozenset({"service", "connect", "ingress", "node", "query", "addr"})


@dataclass(frozen=True, slots=True)
class Lookup:
    """kind: one of service, connect, ingress, node, query, addr. name: what is looked up. tag: "" for any."""

    kind: str
    name: str
    tag: str
    datacenter: str


def parse_name(name: str, qtype: int, datacenter: str) -> Lookup | None:
    """The lookup behind `name` (lower case, domain already cut off), None if there is no such kind of name.

    datacenter: the one to assume if the name has none.
    """
    labels = dns.split_labels(name)
    for index in range(len(labels) - 1, -1, -1):
        label = labels[index]
        if label in _KINDS:
            return _of_kind(label, labels[:index], labels[index + 1 :], datacenter)
        if qtype == dns.SRV and label.startswith("_"):
            # RFC 2782 names may leave out the word "service".
            return _of_kind("service", labels[: index + 1], labels[index + 1 :], datacenter)
    return None


def _of_kind(kind: str, parts: list[str], suffixes: list[str], datacenter: str) -> Lookup | None:
    if not parts or (kind == "addr" and len(parts) != 1):
        return None
    if kind != "addr":
        if len(suffixes) > 1:
            return None
        if suffixes:
            datacenter = suffixes[0]
    if kind in ("node", "query"):
        return Lookup(kind, ".".join(parts), "", datacenter)
    if kind == "service":
        if len(parts) == 2 and parts[0].startswith("_") and parts[1].startswith("_"):
            tag = parts[1][1:]
            return Lookup(kind, parts[0][1:], "" if tag == "tcp" else tag, datacenter)
        return Lookup(kind, parts[-1], ".".join(parts[:-1]), datacenter)
    return Lookup(kind, parts[-1], "", datacenter)


def address_of_reverse_name(name: str) -> str:
    """Address behind an in-addr.arpa or ip6.arpa name (lower case, final dot), "" if it is none."""
    labels = dns.split_labels(name)
    if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
        octets = labels[3::-1]
        if all(octet in _OCTETS for octet in octets):
            return ".".join(octets)
    if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
        digits = "".join(labels[31::-1])
        if len(digits) == 32 and all(digit in "0123456789abcdef" for digit in digits):
            return str(ipaddress.IPv6Address(bytes.fromhex(digits)))
    return ""
