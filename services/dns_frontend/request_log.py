"""The debug line of an answered question: message and fields are those of Consul's DNS server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from services.dns_frontend import message as dns
from shared.config.runtime import join_host_port
from shared.gotext.durations import format_duration_ns
from shared.log import Logger

# fmt: off
_TYPES: Final = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP",
    18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT",
    39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID",
    50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY",
    62: "CSYNC", 64: "SVCB", 65: "HTTPS", 99: "SPF", 108: "EUI48", 109: "EUI64", 249: "TKEY", 250: "TSIG",
    251: "IXFR", 252: "AXFR", 253: "MAILB", 254: "MAILA", 255: "ANY", 256: "URI", 257: "CAA",
}
_CLASSES: Final = {1: "IN", 2: "CS", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
# fmt: on

Send = Callable[[bytes], None]


def logging_send(log: Logger, query: dns.Query, client: Any, network: str, send: Send, *, recursed: bool) -> Send:
    """`send`, and after it the line. client: the peer's socket address; network: udp or tcp.

    recursed: the question is not about a name of ours (Consul names such questions in another way)."""
    started = time.perf_counter()

    def send_and_log(reply: bytes) -> None:
        send(reply)
        log_served(log, query, client, network, time.perf_counter() - started, recursed=recursed)

    return send_and_log


def log_served(
    log: Logger, query: dns.Query, client: Any, network: str, latency_s: float, *, recursed: bool = False
) -> None:
    """The line for a question that was answered `latency_s` after it came in."""
    fields: dict[str, Any]
    if recursed or query.name.lower().endswith(".arpa."):
        fields = {"question": f"{{{query.name} {query.qtype} {query.qclass}}}"}
        if recursed:
            fields["network"] = network
    else:
        fields = {
            "name": query.name,
            "type": _TYPES.get(query.qtype, f"TYPE{query.qtype}"),
            "class": _CLASSES.get(query.qclass, f"CLASS{query.qclass}"),
        }
    log.debug(
        "request served from client",
        **fields,
        latency=format_duration_ns(int(latency_s * 1e9)),
        client=join_host_port(client[0], client[1]),
        client_network=network,
    )
