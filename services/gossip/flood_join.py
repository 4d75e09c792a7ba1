"""Servers of the own datacenter that are in the LAN pool but not yet in the WAN pool, and how to join them there."""

from collections.abc import Iterable

from services.gossip.consul.merge_rules import is_server
from services.gossip.serf.member import Member, Status
from services.gossip.swim.address import Address

INTERVAL_S = 60.0


def missing_in_wan(lan: Iterable[Member], wan: Iterable[Member], datacenter: str) -> list[tuple[str, str]]:
    """(WAN name, "ip:port") of each; servers without wan_join_port cannot be joined."""
    suffix = f".{datacenter}"
    present = {
        member.name.removesuffix(suffix) for member in wan if is_server(member) and member.tags.get("dc") == datacenter
    }
    missing = []
    for member in lan:
        if member.status != Status.ALIVE or member.name in present or not is_server(member):
            continue
        port = int(member.tags.get("wan_join_port", "0"))
        if 0 < port < 65536:
            name = f"{member.name}.{member.tags.get('dc', '')}"
            missing.append((name, str(Address(member.addr, port))))
    return missing
