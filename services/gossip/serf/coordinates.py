"""Coordinates on the wire: what pings carry, and what is remembered of others."""

import random
from collections.abc import Callable

from services.gossip.codec.errors import PacketError
from services.gossip.codec.serf_messages import CoordinateMessage, decode_coordinate, encode_coordinate
from services.gossip.coordinate import Coordinate, CoordinateClient, CoordinateError
from services.gossip.serf.effects import Effect
from services.gossip.swim.effects import Log, Metric


class Coordinates:
    """This node's coordinate, and the last known ones of the members it has pinged."""

    def __init__(self, name: str, rng: random.Random, emit: Callable[[Effect], None]) -> None:
        self._client = CoordinateClient(rng)
        self._emit = emit
        self._name = name
        self._cache: dict[str, Coordinate] = {}
        self._payload: bytes | None = None

    @property
    def own(self) -> Coordinate:
        return self._client.coordinate

    @property
    def resets(self) -> int:
        return self._client.resets

    def cached(self, name: str) -> Coordinate | None:
        return self.own if name == self._name else self._cache.get(name)

    def ack_payload(self) -> bytes:
        if self._payload is None:
            own = self.own
            self._payload = encode_coordinate(CoordinateMessage(own.vec, own.error, own.adjustment, own.height))
        return self._payload

    def learn(self, node: str, payload: bytes, rtt_s: float) -> None:
        """A ping to `node` took rtt_s seconds, and it told its coordinate."""
        try:
            message = decode_coordinate(payload)
        except PacketError as error:
            self._emit(Log("serf", "error", f"serf: Failed to decode coordinate from ping: {error}"))
            return
        other = Coordinate(message.vec or (), message.error, message.adjustment, message.height)
        before = self.own
        try:
            after = self._client.update(node, other, rtt_s)
        except CoordinateError as error:
            self._emit(Metric("incr", "consul.serf.coordinate.rejected"))
            self._emit(Log("serf", "debug", f"serf: Rejected coordinate from {node}: {error}"))
            return
        self._emit(Metric("sample", "consul.serf.coordinate.adjustment-ms", before.distance_to(after) * 1000.0))
        self._cache[node] = other
        self._payload = None

    def forget(self, node: str) -> None:
        self._cache.pop(node, None)
        self._client.forget(node)
