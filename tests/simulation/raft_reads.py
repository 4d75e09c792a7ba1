"""Consistent reads that do not go by the raft_node of their server: what gateways do with the leadership page and with
the doors of other servers. Either process may be stopped or dead while the other goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.http_gateway.confirmation import Confirmation
from shared.state.leadership import FOLLOWER, NOBODY, Leadership, LeadershipPage

if TYPE_CHECKING:
    from tests.simulation.raft_server import SimServer


class SimPage(LeadershipPage):
    """The leadership page, in memory. It outlives its writer."""

    def __init__(self) -> None:
        super().__init__("", None)
        self._state, self._index = NOBODY, 0

    def write(self, state: Leadership) -> None:
        self._state = state

    def write_committed(self, index: int) -> None:
        self._index = index

    def read(self) -> Leadership:
        return self._state

    def committed(self) -> int:
        return self._index


def confirmed_read(server: SimServer) -> None:
    """Past raft_node, which may be stopped or dead: the gateway asks other voters for their terms."""
    cluster, page = server.cluster, server.page
    begun, confirmation = cluster.oracle.read_begins(), Confirmation.begin(page)
    if confirmation is None:
        return

    def answered(server_id: str, answer: list[Any]) -> None:
        waited = confirmation.missing > 0
        confirmation.answered(server_id, answer)
        if waited and not confirmation.missing and server.page is page and confirmation.stands(page):
            cluster.oracle.read(begun, confirmation.index, server.machine)

    for server_id in confirmation.peers:
        cluster.ask(
            server,
            server_id,
            lambda node, reply: reply([node.server.id, node.core.term]),
            lambda answer, server_id=server_id: answered(server_id, answer),
        )


def vouched_read(server: SimServer) -> None:
    """A follower's gateway asks the leader, with its own term for a confirmation."""
    cluster, page = server.cluster, server.page
    begun, now = cluster.oracle.read_begins(), page.read()

    def ready(index: int) -> None:
        if server.page is page and page.read().applied_index >= index:
            cluster.oracle.read(begun, index, server.machine)

    def question(leader: SimServer, reply: Callable[[int], None]) -> None:
        assert leader.replica is not None
        leader.replica.read(reply, server.server.id, now.term)

    for leader_id in now.peer_addresses() if now.role == FOLLOWER else ():
        cluster.ask(server, leader_id, question, ready)
