"""Rounds: one question shared by all reads that came before it - up to where has the state to be applied for them?

The leader answers with the index that it had applied when the question came, its leadership confirmed by a round of
heartbeats (consistent reads) or by its lease (default reads). A server that has applied as much answers from its own
state, as the leader would have: so a follower asks the leader once for a whole batch of requests."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from shared.ipc.calls import OnDone
from shared.ipc.errors import IpcError, RemoteError
from shared.server_rpc.errors import UNKNOWN_THERE

if TYPE_CHECKING:
    from services.http_gateway.gateway import Gateway
    from services.http_gateway.message import Request


def is_unknown_method(error: IpcError | None) -> bool:
    """Whether a leader was asked that has no such rounds: a Consul server."""
    return isinstance(error, RemoteError) and UNKNOWN_THERE in str(error)


def is_answered_elsewhere(error: IpcError) -> bool:
    """Whether the read has to be passed on: this server leads no more, or the leader confirms only its own answers."""
    return is_unknown_method(error) or (isinstance(error, RemoteError) and error.code in ("not_leader", "no_leader"))


class Rounds:
    """post: asks a question, and calls back once with (index, error). flush: sends it. at_once: how many may be under
    way; a second one pays where the way is long, for this process works on the one while the other is asked."""

    def __init__(
        self, gateway: Gateway, post: Callable[[OnDone], None], flush: Callable[[], None], *, at_once: int = 1
    ) -> None:
        self._gateway, self._post, self._flush, self._at_once = gateway, post, flush, at_once
        self._waiters: list[OnDone] = []
        self.groups: dict[Hashable, list[Request]] = {}
        """Of the next question: the requests that share one waiter, by what they ask for."""
        self._under_way = 0

    def join(self, on_done: OnDone) -> None:
        """`on_done` is called in a batch of its own, with what a question that is asked from now on is answered."""
        self._waiters.append(on_done)
        if not self._gateway.moment.in_batch:
            self.start()

    def start(self) -> None:
        """Ask for all who wait. A question of its own for everyone who came while others are under way would answer
        them no sooner than the next shared one does when the machine is busy, and costs every neighbour a wake-up."""
        if self._under_way >= self._at_once or not self._waiters:
            return
        self._under_way += 1
        waiters, self._waiters = self._waiters, []
        self.groups = {}

        def finished(value: Any, error: IpcError | None) -> None:
            self._under_way -= 1
            if self._waiters:  # first of all: the neighbours work on their question while these are answered
                self.start()
                self._flush()
            self._gateway.begin_batch()
            for waiter in waiters:
                waiter(value, error)
            self._gateway.end_batch()

        self._post(finished)
