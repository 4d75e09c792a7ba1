"""The oldest Raft protocol version that a living server speaks: what may be asked of the cluster depends on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.rpc_core.members import Member, MemberStatus, server_of

OLDEST_WITHOUT_TAG: Final = 1
"""Version of servers that do not announce one."""
WITH_IDS: Final = 2
"""From here on servers may be removed by their id."""
WITH_NON_VOTERS: Final = 3
"""From here on servers join without a vote, and autopilot gives it to them."""


class NoServersError(Exception):
    """Gossip knows no living server: this one is leaving."""

    def __init__(self) -> None:
        super().__init__("No servers found")


def min_raft_protocol(members: Iterable[Member]) -> int:
    """Raises NoServersError."""
    versions = []
    for member in members:
        server = server_of(member) if member.status == MemberStatus.ALIVE else None
        if server is not None:
            versions.append(server.raft_version if "raft_vsn" in member.tags else OLDEST_WITHOUT_TAG)
    if not versions:
        raise NoServersError
    return min(versions)
