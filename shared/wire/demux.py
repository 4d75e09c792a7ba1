"""The first byte of a connection to the RPC port says which protocol follows."""

from __future__ import annotations

from enum import IntEnum


class ConnectionKind(IntEnum):
    """Type bytes of Consul 1.8 (byte 2, the old multiplexer, is dead; 6 belongs to enterprise areas), and one of our
    own, far from where those go on: gateways of other agents at the door of raft_node."""

    RPC = 0
    RAFT = 1
    TLS = 3
    MULTIPLEX = 4
    SNAPSHOT = 5
    TLS_INSECURE = 7
    DOOR = 0x70


def classify(first_byte: int) -> ConnectionKind | None:
    """The protocol behind `first_byte`, None where no server without enterprise features speaks it."""
    try:
        return ConnectionKind(first_byte)
    except ValueError:
        return None
