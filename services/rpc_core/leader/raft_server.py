"""Servers as the Raft configuration lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.gotext.quoting import quote


@dataclass(frozen=True, slots=True)
class RaftServer:
    """One entry of the Raft configuration."""

    server_id: str
    address: str
    voter: bool

    def __str__(self) -> str:
        """As log lines show it."""
        return f"Server (ID: {quote(self.server_id)} Address: {quote(self.address)})"


def stale_entries(configured: Sequence[RaftServer], server_id: str, address: str) -> list[RaftServer] | None:
    """Entries that have to go before a server can be added, None if it is there already.

    Another server that had its address has gone. Its own entry with another address stays: adding it renews the
    address and keeps the vote. (Consul removes it first, so that the leader may remove itself.)"""
    if any(one.server_id == server_id and one.address == address for one in configured):
        return None
    return [one for one in configured if one.address == address]
