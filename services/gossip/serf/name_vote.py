"""Whose name is it? Where another node claims this one's name, the members are asked which of the two they know."""

from collections.abc import Callable

from services.gossip.codec.errors import PacketError
from services.gossip.codec.serf_messages import decode_conflict_response
from services.gossip.serf.effects import NameVoted
from services.gossip.serf.queries import Collector
from services.gossip.swim.address import Address

Log = Callable[[str, str], None]


class NameVote(Collector):
    """Answers to one conflict query. own: where this node lives; the majority of those who answer decides."""

    def __init__(self, own: Address, log: Log) -> None:
        self._own = own
        self._log = log
        self.ended = False
        self._votes = self._for_us = 0

    def add(self, node: str, payload: bytes) -> bool:
        try:
            member = decode_conflict_response(payload)
        except PacketError as error:
            self._log("error", f"serf: Failed to decode conflict query response: {error}")
            return False
        self._votes += 1
        self._for_us += member is not None and (member.addr, member.port) == self._own
        return False  # all who answer in time have a vote

    def done(self) -> NameVoted:
        self.ended = True
        kept = self._for_us > self._votes // 2
        tally = f"[{self._for_us} / {self._votes}]"
        if kept:
            self._log("info", f"serf: majority in name conflict resolution {tally}")
        else:
            self._log("warn", f"serf: minority in name conflict resolution, quiting {tally}")
        return NameVoted(kept)
