"""The member list: every node heard of, in probing order."""

import random
from collections.abc import Callable, Iterator

from services.gossip.codec.messages import (
    STATE_ALIVE,
    STATE_DEAD,
    STATE_LEFT,
    STATE_SUSPECT,
    Alive,
    NodeRecord,
)
from services.gossip.swim.address import Address
from services.gossip.swim.suspicion import Suspicion
from services.gossip.swim.timers import Timer

STATE_NAMES = {STATE_ALIVE: "alive", STATE_SUSPECT: "suspect", STATE_DEAD: "dead", STATE_LEFT: "left"}


class Node:
    """What is known about one node. `vsn`: protocol min, max, current, then Serf's."""

    __slots__ = (
        "addr", "changed_at", "incarnation", "meta", "name", "port", "state", "suspicion", "suspicion_timer", "vsn",
    )  # fmt: skip

    def __init__(self, alive: Alive, now: float) -> None:
        self.name = alive.node
        self.addr = alive.addr
        self.port = alive.port
        self.meta = alive.meta
        self.vsn = alive.vsn[:6].ljust(6, b"\0")
        self.incarnation = 0
        self.state = STATE_DEAD
        self.changed_at = now
        self.suspicion: Suspicion | None = None
        self.suspicion_timer: Timer | None = None

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
        return NodeRecord(
            self.name, self.addr, self.port, self.meta, self.incarnation, self.state, self.vsn
        )


class NodeTable:
    """Nodes by name and in probing order; counts by state, so that nobody has to walk the list to idle."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._by_name: dict[str, Node] = {}
        self._order: list[Node] = []
        self._counts = [0, 0, 0, 0]

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._order)

    def __getitem__(self, index: int) -> Node:
        return self._order[index]

    def get(self, name: str) -> Node | None:
        return self._by_name.get(name)

    def count(self, state: int) -> int:
        return self._counts[state]

    def add(self, node: Node) -> None:
        """Insert at a random place: it will be probed soon, but not by everybody at once."""
        self._by_name[node.name] = node
        place = self._rng.randrange(len(self._order) + 1)
        self._order.append(node)
        self._order[place], self._order[-1] = self._order[-1], self._order[place]
        self._counts[node.state] += 1

    def set_state(self, node: Node, state: int, now: float) -> None:
        self._counts[node.state] -= 1
        self._counts[state] += 1
        node.state = state
        node.changed_at = now

    def forget_dead_and_shuffle(self, dead_before: float) -> None:
        """Drop nodes that died before that time. Those that left stay: peers may still call them alive."""
        kept = []
        for node in self._order:
            if node.state == STATE_DEAD and node.changed_at < dead_before:
                del self._by_name[node.name]
                self._counts[STATE_DEAD] -= 1
            else:
                kept.append(node)
        self._rng.shuffle(kept)
        self._order = kept

    def sample(self, count: int, wanted: Callable[[Node], bool]) -> list[Node]:
        """Up to `count` different random nodes that are wanted.

        Random picks as memberlist does (3 n of them); where that finds too few, the list is small enough to
        be searched whole."""
        found: list[Node] = []
        size = len(self._order)
        if size > 64:
            for _ in range(3 * size):
                if len(found) == count:
                    return found
                node = self._order[self._rng.randrange(size)]
                if wanted(node) and node not in found:
                    found.append(node)
            return found
        candidates = [node for node in self._order if wanted(node)]
        return self._rng.sample(candidates, min(count, len(candidates)))
