"""Timing and limits of one pool."""

from dataclasses import dataclass

from services.gossip.swim.address import Address, AddressFilter


@dataclass(frozen=True, slots=True)
class SwimSettings:
    """Defaults are memberlist's LAN profile as Consul runs it. Durations are seconds.

    name: this node's name in the pool. advertise: the address others reach it at.
    vsn: six bytes, see facts of the Alive message. allowed: None lets members live anywhere.
    encrypted: packets grow by the encryption overhead, so less fits.
    max_nodes: of the member list, and of the members that Serf knows, those that are gone included.
    max_relays: pings for others that are under way."""

    name: str
    advertise: Address
    vsn: bytes = bytes((1, 5, 2, 2, 5, 4))
    bind_port: int = 8301
    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    suspicion_mult: int = 4
    suspicion_max_mult: int = 6
    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    gossip_to_the_dead_s: float = 30.0
    retransmit_mult: int = 4
    push_pull_interval_s: float = 30.0
    dead_node_reclaim_s: float = 30.0
    indirect_checks: int = 3
    awareness_max: int = 8
    tcp_timeout_s: float = 10.0
    encrypted: bool = False
    allowed: AddressFilter | None = None
    max_nodes: int = 65536
    max_relays: int = 1024
