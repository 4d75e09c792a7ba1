"""The member list: every node heard of, in probing order."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_LEFT,
    STATE_SUSPECT,
    NodeRecord,
)
from services.gossip.swim.address import Address

_SEARCHED_WHOLE = 64
STATE_NAMES = {STATE_ALIVE: "alive", STATE_SUSPECT: "suspect", STATE_DEAD: "dead", STATE_LEFT: "left"}


@dataclass(frozen=True, slots=True)
class Node:
    """What is known about one node. A value: who holds one, as a running probe does, sees the node as it was then.

    vsn: protocol min, max, current, then Serf's. changed_at: when `state` became what it is; a node of which nothing
    but its name was heard is dead since ever."""

    name: str
    addr: bytes
    port: int
    meta: bytes
    vsn: bytes
    incarnation: int = 0
    state: int = STATE_DEAD
    changed_at: float = -math.inf

    @property
    def address(self) -> Address:
        return Address(self.addr, self.port)

    @property
    def is_gone(self) -> bool:
        return self.state >= STATE_DEAD

    @property
    def protocol_max(self) -> int:
        return self.vsn[1]

    def record(self) -> NodeRecord:
        return NodeRecord(self.name, self.addr, self.port, self.meta, self.incarnation, self.state, self.vsn)


class NodeTable:
    """Nodes by name, and their names in probing order; counts by state, so that nobody has to walk the list to idle."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._by_name: dict[str, Node] = {}
        self._order: list[str] = []
        self._counts = [0, 0, 0, 0]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Node]:
        return map(self._by_name.__getitem__, self._order)

    def __getitem__(self, index: int) -> Node:
        return self._by_name[self._order[index]]

    def get(self, name: str) -> Node | None:
        return self._by_name.get(name)

    def count(self, state: int) -> int:
        return self._counts[state]

    def put(self, node: Node) -> None:
        """Replace what was known of a node; a new one gets a random place, so that it is probed soon, but not by
        everybody at once."""
        known = self._by_name.get(node.name)
        if known is not None:
            self._counts[known.state] -= 1
        else:
            place = int(self._rng.random() * (len(self._order) + 1))
            self._order.append(node.name)
            self._order[place], self._order[-1] = self._order[-1], self._order[place]
        self._by_name[node.name] = node
        self._counts[node.state] += 1

    def forget_dead_and_shuffle(self, dead_before: float) -> None:
        """Drop nodes that died before that time. Those that left stay: peers may still call them alive."""
        order = self._order
        if self._counts[STATE_DEAD]:
            order = []
            for node in self:
                if node.state == STATE_DEAD and node.changed_at < dead_before:
                    del self._by_name[node.name]
                    self._counts[STATE_DEAD] -= 1
                else:
                    order.append(node.name)
        self._rng.shuffle(order)
        self._order = order

    def forget_half_of_the_left(self) -> None:
        """Make room: those that left longest ago are dropped after all."""
        left = sorted((node.changed_at, node.name) for node in self if node.state == STATE_LEFT)
        dropped = {name for _, name in left[: (len(left) + 1) // 2]}
        for name in dropped:
            del self._by_name[name]
        self._counts[STATE_LEFT] -= len(dropped)
        self._order = [name for name in self._order if name not in dropped]

    def sample(self, count: int, wanted: Callable[[Node], bool]) -> list[Node]:
        """Up to `count` different random nodes that are wanted.

        Random picks as memberlist does (3 n of them); where that finds too few, the list is small enough to
        be searched whole."""
        size = len(self._order)
        if size <= _SEARCHED_WHOLE:
            candidates = [node for node in self if wanted(node)]
            return self._rng.sample(candidates, min(count, len(candidates)))
        found: list[Node] = []
        for _ in range(3 * size):
            if len(found) == count:
                break
            node = self[int(self._rng.random() * size)]
            if wanted(node) and node not in found:
                found.append(node)
        return found
