"""ServerList: in which order a client uses the servers of its datacenter. Sans-IO; rules of Consul's server manager.

The first of the list gets every call until one fails; then it goes to the end. Every few minutes the list is shuffled,
so that clients do not all stay with the servers that have been there longest."""

from __future__ import annotations

import random

from services.rpc_core.members import Server

REUSE_MIN_S = 120.0
"""How long a client stays with one server at least."""
JITTER_FRACTION = 2
REBALANCES_PER_SERVER = 64
"""Rebalances per second that all clients together do per server."""


class ServerList:
    """Servers by name. They are added at the end."""

    def __init__(self) -> None:
        self._servers: list[Server] = []

    def __len__(self) -> int:
        return len(self._servers)

    def all(self) -> list[Server]:
        return list(self._servers)

    def first(self) -> Server | None:
        """The one to ask."""
        return self._servers[0] if self._servers else None

    def add(self, server: Server) -> bool:
        """Take in a server, or what is new about a known one. Whether it was new."""
        for at, known in enumerate(self._servers):
            if known.name == server.name:
                self._servers[at] = server
                return False
        self._servers.append(server)
        return True

    def remove(self, name: str) -> Server | None:
        """The server that was removed, None if it was not known."""
        for at, known in enumerate(self._servers):
            if known.name == name:
                return self._servers.pop(at)
        return None

    def failed(self, server: Server) -> bool:
        """A call to `server` failed: the next one goes to another. Whether the order changed by that."""
        if len(self._servers) > 1 and self._servers[0].name == server.name:
            self._servers.append(self._servers.pop(0))
            return True
        return False

    def shuffled(self, rng: random.Random) -> list[Server]:
        """All servers in a random order. Nothing changes."""
        return rng.sample(self._servers, len(self._servers))

    def begin_with(self, order: list[Server]) -> bool:
        """Take over an order that was found a while ago: with what is known now of each, without those that have gone
        since, new ones behind. False, and nothing changes, if its first server has gone."""
        known = {server.name: server for server in self._servers}
        if not order or order[0].name not in known:
            return False
        ordered = [known.pop(server.name) for server in order if server.name in known]
        self._servers = [*ordered, *known.values()]
        return True


def rebalance_wait_s(servers: int, members: int, rng: random.Random) -> float:
    """Seconds until the next shuffle. servers, members: how many there are in the LAN pool."""
    least_s = REUSE_MIN_S + rng.random() * REUSE_MIN_S / JITTER_FRACTION
    rate = servers * REBALANCES_PER_SERVER
    return max(least_s, members / rate) if rate else least_s
