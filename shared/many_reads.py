"""Many reads in one call: what a client agent's processes and a server say to each other for it.

Request of `Proconsul.Read`: {Datacenter, AllowStale, Reads: [[method, request in msgpack, tag], ...]}. Reply:
{LastContact in ns, KnownLeader, Answers: [[what, tag, body in msgpack], ...]} in the same order. A tag is b"" for none.
The bodies are those that the methods would give, but for LastContact and KnownLeader, which hold for all."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from shared.wire.rpc import ITEMS_MAX

METHOD: Final = "Proconsul.Read"
DOOR: Final = "Agent.ReadMany"
"""The method of a client's rpc_core that passes it on: request and reply in msgpack, as they are on the wire."""
METHODS: Final = frozenset(
    {
        "Catalog.ListNodes",
        "Catalog.ListServices",
        "Catalog.NodeServiceList",
        "Catalog.NodeServices",
        "Catalog.ServiceNodes",
        "Health.ChecksInState",
        "Health.NodeChecks",
        "Health.ServiceChecks",
        "Health.ServiceNodes",
        "KVS.Get",
        "KVS.List",
        "KVS.ListKeys",
    }
)
"""What can be asked so: methods that read one state, once."""
SAME, VALUE, ALONE = 0, 1, 2
"""The answer has the tag that was sent; here it is; ask this read by itself."""
UNKNOWN: Final = "unknown_method"
"""The code of the error if the server does not know the method."""

_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape", autoreset=True)
pack = _packer.pack
"""In msgpack as it goes over the wire."""


def request(datacenter: str, reads: list[tuple[str, bytes, bytes]], *, stale: bool) -> bytes:
    packed: bytes = pack({"Datacenter": datacenter, "AllowStale": stale, "Reads": reads})
    return packed


def answers(packed: bytes, count: int) -> tuple[int, bool, list[Any]]:
    """(last contact in ns, known leader, [[what, tag, body], ...]) of a reply to `count` reads.

    Raises ValueError if it is none: it comes from a server as it is."""
    try:
        reply = msgpack.unpackb(packed, raw=True, strict_map_key=False, max_array_len=max(count, 3), max_map_len=16)
        contact_ns, known, found = reply[b"LastContact"], reply[b"KnownLeader"], reply[b"Answers"]
        as_agreed = type(contact_ns) is int and len(found) == count
        for what, tag, body in found:
            as_agreed = as_agreed and what in (SAME, VALUE, ALONE) and type(tag) is bytes and type(body) is bytes
    except (ValueError, TypeError, LookupError, AttributeError, msgpack.UnpackException) as error:
        raise ValueError(f"codec.decoder: reply of {METHOD}: {error}") from None
    if not as_agreed:
        raise ValueError(f"codec.decoder: reply of {METHOD}")
    return contact_ns, bool(known), found


def unpacked(body: bytes) -> Any:
    """The body of an answer. Raises ValueError if it is no map."""
    try:
        value = msgpack.unpackb(
            body,
            strict_map_key=False,
            unicode_errors="surrogateescape",
            max_array_len=ITEMS_MAX,
            max_map_len=ITEMS_MAX,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError(f"codec.decoder: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("codec.decoder: a body is no map")
    return value
