"""Queries: questions gossiped to everybody and answered directly. Both sides, without the internal ones' content."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from services.gossip.codec.errors import PacketError
from services.gossip.codec.serf_messages import (
    FLAG_ACK,
    QueryMessage,
    QueryResponseMessage,
    decode_filter,
)
from services.gossip.serf.effects import Effect, QueryAck, QueryAnswer, QueryDone
from services.gossip.serf.lamport import LamportClock
from services.gossip.swim.effects import Log, Metric

_IDS_PER_LTIME = 256
TIMEOUT_MULT = 16


def default_timeout_s(gossip_interval_s: float, alive: int) -> float:
    """How long a query may take: gossip has to reach everybody. alive: members alive, this node included."""
    return gossip_interval_s * TIMEOUT_MULT * math.ceil(math.log10(alive + 1))


class QueryRing:
    """Remembers which queries were seen: ids per Lamport time, in a ring."""

    def __init__(self, size: int) -> None:
        self.clock = LamportClock()
        self.min_ltime = 0
        self._size = size
        self._slots: list[tuple[int, list[int]] | None] = [None] * size

    def accept(self, query: QueryMessage) -> str:
        """ "new", "seen" or "old", as EventRing.accept."""
        self.clock.witness(query.ltime)
        if query.ltime < self.min_ltime:
            return "seen"
        if self.clock.time > self._size and query.ltime < self.clock.time - self._size:
            return "old"
        index = query.ltime % self._size
        slot = self._slots[index]
        if slot is None or slot[0] != query.ltime:
            slot = self._slots[index] = (query.ltime, [])
        elif query.id in slot[1] or len(slot[1]) >= _IDS_PER_LTIME:
            return "seen"
        slot[1].append(query.id)
        return "new"


def is_meant(filters: tuple[bytes, ...] | None, name: str, tags: dict[str, str], warn: Callable[[str], None]) -> bool:
    """Do all filters of a query let this node through? One that cannot be understood does not."""
    for data in filters or ():
        try:
            wanted = decode_filter(data)
        except PacketError as error:
            warn(f"serf: failed to decode query filter: {error}")
            return False
        if isinstance(wanted, tuple):
            if name not in wanted:
                return False
            continue
        from shared.bexpr.re2 import PatternError, compile_pattern  # rarely needed: Consul sends no filters

        try:
            if not compile_pattern(wanted.expr)(tags.get(wanted.tag, "")):
                return False
        except PatternError as error:
            warn(f"serf: failed to compile filter regex ({wanted.expr}): {error}")
            return False
    return True


class _Running:
    """An own query that still takes answers."""

    __slots__ = ("acks", "answers", "id", "max_answers")

    def __init__(self, query_id: int, max_answers: int) -> None:
        self.id = query_id
        self.max_answers = max_answers
        self.acks: set[str] = set()
        self.answers: set[str] = set()


class RunningQueries:
    """Own queries by Lamport time, and who has answered them."""

    def __init__(self, emit: Callable[[Effect], None]) -> None:
        self._emit = emit
        self._running: dict[int, _Running] = {}
        self.listeners: dict[int, Collector] = {}

    def start(self, query: QueryMessage, max_answers: int) -> None:
        self._running[query.ltime] = _Running(query.id, max_answers)

    def finish(self, ltime: int) -> None:
        running = self._running.pop(ltime, None)
        if running is None:
            return
        collector = self.listeners.pop(running.id, None)
        if collector is None:
            self._emit(QueryDone(running.id))
        else:
            self._emit(collector.done())

    def on_response(self, response: QueryResponseMessage) -> None:
        """An ack or an answer; one of each per node counts."""
        running = self._running.get(response.ltime)
        if running is None:
            self._log(
                f"serf: reply for non-running query (LTime: {response.ltime}, ID: {response.id}) "
                f"From: {response.source}"
            )
            return
        if running.id != response.id:
            self._log(f"serf: query reply ID mismatch (Local: {running.id}, Response: {response.id})")
            return
        is_ack = bool(response.flags & FLAG_ACK)
        seen = running.acks if is_ack else running.answers
        what = "acks" if is_ack else "responses"
        if response.source in seen:
            self._emit(Metric("incr", f"consul.serf.query_duplicate_{what}"))
            return
        self._emit(Metric("incr", f"consul.serf.query_{what}"))
        if len(seen) >= running.max_answers:
            self._log("serf: Failed to deliver query response, dropping")
            return
        seen.add(response.source)
        collector = self.listeners.get(running.id)
        if collector is not None:
            if is_ack:
                collector.ack(response.source)
            elif collector.add(response.source, response.payload or b""):
                self.finish(response.ltime)
        elif is_ack:
            self._emit(QueryAck(running.id, response.source))
        else:
            self._emit(QueryAnswer(running.id, response.source, response.payload or b""))

    def _log(self, text: str) -> None:
        self._emit(Log("serf", "warn", text))


class Collector(ABC):
    """Gathers the answers to one query instead of handing them on one by one."""

    def ack(self, node: str) -> None:  # noqa: B027  (most do not ask for acks)
        """`node` received the query."""

    @abstractmethod
    def add(self, node: str, payload: bytes) -> bool:
        """Take an answer; True if nothing more is to be waited for."""

    @abstractmethod
    def done(self) -> Effect:
        """What whoever asked is told in the end, complete or not."""
