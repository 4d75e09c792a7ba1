"""Where servers are now, as gossip says: one that has come back with another address is found by its id.

The Raft configuration keeps the address a server had when it was added. If most servers get new ones at once, only a
leader could correct it, and no leader could be elected without knowing where the others are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from services.raft_node.core.types import Server
from services.raft_node.peers import connect_plain

if TYPE_CHECKING:
    import trio

    from services.raft_node.peers import Connect


class AddressBook:
    """Addresses ("ip:port") by server id. `connect` goes to where a server is, or else to where it was."""

    def __init__(self, connect: Connect = connect_plain) -> None:
        self._connect = connect
        self._known: dict[str, str] = {}
        self.changes = 0
        """How often something else was known than before."""

    def update(self, addresses: Mapping[str, str]) -> None:
        """All that is known now. A server that has gone keeps the last address that was seen of it."""
        before = self._known
        self._known = {**before, **addresses}
        self.changes += self._known != before

    def of(self, server: Server) -> str:
        """Where it is now, for all that is known."""
        return self._known.get(server.id, server.address)

    async def connect(self, server: Server) -> trio.abc.Stream:
        """Raises OSError."""
        return await self._connect(server._replace(address=self.of(server)))
