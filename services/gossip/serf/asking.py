"""Asking and answering: where queries meet the pool. Internal queries are answered here, others only acked."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from services.gossip.codec import limits
from services.gossip.codec.keyring import Keyring
from services.gossip.codec.messages import STATE_ALIVE, STATE_SUSPECT
from services.gossip.codec.serf_messages import (
    FLAG_ACK,
    FLAG_NO_BROADCAST,
    QueryMessage,
    QueryResponseMessage,
    Relay,
    RelayAddress,
    encode_conflict_response,
    encode_key_request,
    encode_key_response,
    encode_serf,
)
from services.gossip.serf import keys
from services.gossip.serf.counters import CountersByName
from services.gossip.serf.effects import Effect
from services.gossip.serf.errors import SerfError
from services.gossip.serf.member import Status
from services.gossip.serf.name_vote import NameVote
from services.gossip.serf.queries import Collector, QueryRing, RunningQueries, default_timeout_s, is_meant
from services.gossip.swim.address import Address
from services.gossip.swim.effects import Log, Metric
from services.gossip.swim.nodes import Node
from services.gossip.swim.timers import Timers, void

if TYPE_CHECKING:
    from services.gossip.serf.core import Serf

_INTERNAL = "_serf_"
_PMAX_RELAY = 5


class Asking:
    """The query part of one pool."""

    def __init__(
        self,
        serf: "Serf",
        rng: random.Random,
        timers: Timers,
        emit: Callable[[Effect], None],
        keyring: Keyring | None,
        save_keyring: Callable[[], str | None],
    ) -> None:
        self.ring = QueryRing(serf.settings.ring_size)
        self._serf = serf
        self._rng = rng
        self._timers = timers
        self._emit = emit
        self._count_query = CountersByName("consul.serf.queries", emit).incr
        self._keyring = keyring
        self._save_keyring = save_keyring
        self._running = RunningQueries(emit)
        self._name_vote: NameVote | None = None

    def start(
        self,
        name: str,
        payload: bytes | None,
        now: float,
        filters: tuple[bytes, ...] | None = None,
        ack: bool = False,
        relay_factor: int = 0,
        timeout_s: float = 0.0,
        collector: Collector | None = None,
    ) -> QueryMessage:
        """Send a query to everybody; this node answers it too. Raises SerfError if it is too large."""
        own = self._serf.settings
        alive = self._alive_count()
        timeout_s = timeout_s or default_timeout_s(own.swim.gossip_interval_s, alive)
        query = QueryMessage(
            ltime=self.ring.clock.time,
            id=self._rng.getrandbits(31),
            addr=own.swim.advertise.ip,
            port=own.swim.advertise.port,
            source_node=own.name,
            filters=filters,
            flags=FLAG_ACK if ack else 0,
            relay_factor=relay_factor,
            timeout_ns=int(timeout_s * 1e9),
            name=name,
            payload=payload,
        )
        data = encode_serf(query)
        if len(data) > limits.QUERY:
            raise SerfError(f"query exceeds limit of {limits.QUERY} bytes")
        self._running.start(query, alive)
        if collector is not None:
            self._running.listeners[query.id] = collector
        self._timers.at(now + timeout_s, lambda at: self._running.finish(query.ltime))
        self.on_query(query, now)
        self._serf.rumours.add(self._serf.rumours.queries, data)
        return query

    def start_key_operation(self, operation: str, key: bytes, relay_factor: int, now: float, token: Any) -> None:
        """One of keys.OPERATIONS on all members; CommandDone(token, error, result) follows. Raises SerfError."""
        collector = keys.KeyAnswers(token, self._alive_count(), self._log)
        payload = encode_key_request(key)
        self.start(_INTERNAL + operation, payload, now, relay_factor=relay_factor, collector=collector)

    def ask_whose_name(self) -> None:
        """Let the members decide whether this node keeps its name; NameVoted follows. One vote at a time."""
        if self._name_vote is not None and not self._name_vote.ended:
            return
        own = self._serf.settings
        vote = self._name_vote = NameVote(own.swim.advertise, self._log)
        name = own.name.encode("utf-8", "surrogateescape")
        # A timer of its own: the message with the other node's claim is still being looked at.
        self._timers.at(0.0, lambda now: void(self.start(f"{_INTERNAL}conflict", name, now, collector=vote)))

    def on_query(self, query: QueryMessage, now: float) -> bool:
        """Somebody asks. True if the query is to be passed on, which is so even if it is not meant for us."""
        verdict = self.ring.accept(query)
        if verdict == "old":
            self._log(
                "warn",
                f"serf: received old query {query.name} from time {query.ltime} (current: {self.ring.clock.time})",
            )
        if verdict != "new":
            return False
        self._emit(Metric("incr", "consul.serf.queries"))
        self._count_query(query.name)
        pass_on = not query.flags & FLAG_NO_BROADCAST
        own = self._serf.settings
        if not is_meant(query.filters, own.name, self._serf.tags, lambda text: self._log("warn", text)):
            return pass_on
        if query.flags & FLAG_ACK:
            self._respond(query, QueryResponseMessage(query.ltime, query.id, own.name, FLAG_ACK, None))
        self._serf.recorder.on_query(query.ltime)
        if query.name.startswith(_INTERNAL):
            self._answer_internal(query.name.removeprefix(_INTERNAL), query)
        return pass_on

    def on_response(self, response: QueryResponseMessage) -> None:
        self._running.on_response(response)

    def _answer_internal(self, name: str, query: QueryMessage) -> None:
        if name == "ping":
            return  # the ack is the answer
        if name == "conflict":
            self._answer_conflict(query)
        elif name in keys.OPERATIONS:
            response = keys.answer(name, query.payload, self._keyring, self._save_keyring, self._log)
            if name == "list-keys":
                payload = keys.fitting(response, lambda data: self._fits(query, data))
            else:
                payload = encode_key_response(response)
            if payload is not None:
                self._answer(query, payload)
        else:
            self._log("warn", f"serf: Unhandled internal query '{name}'")

    def _answer_conflict(self, query: QueryMessage) -> None:
        """Tell where we believe a node to be; the node itself stays silent, it is a party."""
        name = (query.payload or b"").decode("utf-8", "surrogateescape")
        if name == self._serf.settings.name:
            return
        self._log("debug", f"serf: Got conflict resolution query for '{name}'")
        member = self._serf.members.get(name)
        self._answer(query, encode_conflict_response(None if member is None else member.record()))

    def _fits(self, query: QueryMessage, payload: bytes) -> bool:
        return len(encode_serf(self._response(query, payload))) <= limits.QUERY_RESPONSE

    def _response(self, query: QueryMessage, payload: bytes) -> QueryResponseMessage:
        return QueryResponseMessage(query.ltime, query.id, self._serf.settings.name, 0, payload)

    def _answer(self, query: QueryMessage, payload: bytes) -> None:
        if self._fits(query, payload):
            self._respond(query, self._response(query, payload))
        else:
            self._log("error", f"serf: response exceeds limit of {limits.QUERY_RESPONSE} bytes")

    def _respond(self, query: QueryMessage, response: QueryResponseMessage) -> None:
        """Send directly to who asked, and through relays if it asked for that."""
        if len(query.addr) not in (4, 16) or not query.port:
            self._log("error", f"serf: query '{query.name}' has no address to answer to")
            return
        data = encode_serf(response)
        to = Address(query.addr, query.port)
        self._serf.swim.send_user(to, data)
        if not query.relay_factor or len(self._serf.members) < query.relay_factor + 1:
            return
        wrapped = encode_serf(Relay(RelayAddress(to.ip, to.port), query.source_node, data))
        if len(wrapped) > limits.QUERY_RESPONSE:
            self._log("error", f"serf: relayed response exceeds limit of {limits.QUERY_RESPONSE} bytes")
            return
        for node in self._serf.swim.nodes.sample(query.relay_factor, self._can_relay):
            self._serf.swim.send_user(node.address, wrapped)

    def _can_relay(self, node: Node) -> bool:
        member = self._serf.members.get(node.name)
        return (
            member is not None
            and member.status == Status.ALIVE
            and node.protocol_max >= _PMAX_RELAY
            and node.name != self._serf.settings.name
        )

    def _alive_count(self) -> int:
        """Members that SWIM does not take for dead, this node included."""
        nodes = self._serf.swim.nodes
        return nodes.count(STATE_ALIVE) + nodes.count(STATE_SUSPECT)

    def _log(self, level: str, text: str) -> None:
        self._emit(Log("serf", level, text))  # type: ignore[arg-type]
