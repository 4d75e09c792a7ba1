"""Pools that have already formed: every node knows every other one from the start.

Letting thousands of nodes join one after the other would cost as many rumours to each of them, and a member list of
its own for each would not fit into memory. So all nodes share one list of what is known by everybody, and each keeps
only what it has learnt since. The cores do not notice: what they keep of nodes and members are values."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from gossip_sim import GossipSim, SimNode

from services.gossip.codec.messages import STATE_ALIVE
from services.gossip.serf import Member
from services.gossip.swim.nodes import Node

Value = TypeVar("Value", Node, Member)
_ORDERS = 61


class Overlay(Generic[Value]):
    """A dict that begins as a shared one, and of its own has what differs from it."""

    __slots__ = ("_own", "_shared", "_size")

    def __init__(self, shared: dict[str, Value]) -> None:
        self._shared = shared
        self._own: dict[str, Value | None] = {}
        self._size = len(shared)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> Value:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str) -> Value | None:
        own = self._own
        return own[name] if name in own else self._shared.get(name)

    def __setitem__(self, name: str, value: Value) -> None:
        self._size += self.get(name) is None
        self._own[name] = value

    def __delitem__(self, name: str) -> None:
        self[name]
        self._size -= 1
        self._own[name] = None

    def values(self) -> Iterable[Value]:
        own = self._own
        if not own:
            return self._shared.values()
        return self._merged()

    def _merged(self) -> Iterator[Value]:
        own, shared = self._own, self._shared
        for name, value in shared.items():
            present = own.get(name, value)
            if present is not None:
                yield present
        for name, present in own.items():
            if present is not None and name not in shared:
                yield present


def formed_pool(count: int, seed: int, **settings: object) -> GossipSim:
    """A pool in which everybody has joined and nobody has anything to tell. settings: see GossipSim."""
    sim = GossipSim(count, seed, **settings)  # type: ignore[arg-type]
    nodes = {node.name: node.serf.swim.me for node in sim.nodes}
    members = {
        node.name: Member(node.name, known.addr, known.port, node.serf.tags, known.vsn, status_ltime=1)
        for node in sim.nodes
        for known in (nodes[node.name],)
    }
    names = list(nodes)
    orders = [sim.rng.sample(names, count) for _ in range(min(_ORDERS, count))]
    for node in sim.nodes:
        order, start = sim.rng.choice(orders), sim.rng.randrange(count)
        _seat(node, nodes, members, order[start:] + order[:start])
        node.perform(node.serf.tick(sim.now))  # arms what a node with company does
    return sim


def _seat(node: SimNode, nodes: dict[str, Node], members: dict[str, Member], order: list[str]) -> None:
    """Put a node that has just started among the others."""
    swim, serf = node.serf.swim, node.serf
    while swim.queued:
        swim._take_broadcasts(1400, 100)
    table = swim.nodes
    table._by_name = Overlay(nodes)  # type: ignore[assignment]
    table._order = order
    table._counts = [0, 0, 0, 0]
    table._counts[STATE_ALIVE] = len(order)
    serf.members._by_name = Overlay(members)  # type: ignore[assignment]
    serf.clock.witness(1)
    node.events.clear()
