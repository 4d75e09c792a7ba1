"""Measurements on simulated pools: how fast news spread, how fast the dead are found, who is accused for nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from gossip_sim import FAILED_PROBES, GossipSim, SimNode


@dataclass(frozen=True)
class Spread:
    """When each node that heard of something did, seconds after its beginning, in order; `nodes` should have."""

    nodes: int
    times_s: tuple[float, ...]

    def share_s(self, share: float) -> float:
        """Until this share of the nodes knew; infinity if it never was so."""
        rank = max(1, round(share * self.nodes))
        return self.times_s[rank - 1] if rank <= len(self.times_s) else float("inf")

    @property
    def first_s(self) -> float:
        return self.share_s(0.0)

    @property
    def last_s(self) -> float:
        return self.share_s(1.0)


@dataclass(frozen=True)
class Load:
    """What a node sends on average, per second."""

    packets: float
    packet_bytes: float
    stream_bytes: float


@dataclass(frozen=True)
class Accusations:
    """What happened to members that ran all the time.

    probes: finished ones. failed_probes: those that ended in an accusation. victims: members that somebody declared
    dead. deaths: the same, counted by everybody who did."""

    span_s: float
    nodes: int
    probes: int
    failed_probes: int
    victims: int
    deaths: int


def spread_of_event(sim: GossipSim, limit_s: float = 60.0) -> Spread:
    name = f"event-{sim.now}"
    origin = sim.rng.choice(sim.nodes)
    origin.perform(origin.serf.user_event(name, b"payload", False, sim.now))
    return _spread(sim, "event", name, _running(sim), limit_s)


def spread_of_join(sim: GossipSim, limit_s: float = 60.0) -> Spread:
    """A new node joins by one of the others."""
    start, others = sim.now, _running(sim)
    new = sim.add(f"new-{len(sim.nodes)}", len(sim.nodes))
    problem = sim.join(new, sim.rng.choice(sim.nodes[:-1]))
    assert problem is None, problem
    sim.seen_at["join", new.name].pop(new.index)
    return _spread(sim, "join", new.name, others, limit_s, start)


def spread_of_leave(sim: GossipSim, limit_s: float = 60.0) -> Spread:
    leaver = sim.rng.choice(sim.nodes)
    leaver.leave()
    spread = _spread(sim, "leave", leaver.name, _running(sim), limit_s)
    sim.crash(leaver)
    return spread


def spread_of_death(sim: GossipSim, limit_s: float = 240.0) -> Spread:
    """A member crashes: first_s is when somebody declared it dead."""
    victim = sim.rng.choice([node for node in sim.nodes if node.running])
    sim.crash(victim)
    return _spread(sim, "failed", victim.name, _running(sim), limit_s)


def load(sim: GossipSim, span_s: float) -> Load:
    """What everybody sends in the next `span_s` seconds."""
    before = _sent(sim)
    sim.run(span_s)
    per_node_and_second = len(sim.nodes) * span_s
    return Load(*((now - then) / per_node_and_second for now, then in zip(_sent(sim), before, strict=True)))


def accusations(sim: GossipSim, span_s: float, slow: Sequence[SimNode] = ()) -> Accusations:
    """Let the pool run. Members that are slow may be declared dead, so they do not count."""
    before = sim.counters.copy()
    known = {subject for kind, subject in sim.seen_at if kind == "failed"}
    sim.run(span_s)
    healthy = {node.name for node in sim.nodes if node.running} - {node.name for node in slow}
    found = {
        subject: seen
        for (kind, subject), seen in sim.seen_at.items()
        if kind == "failed" and subject in healthy and subject not in known
    }
    return Accusations(
        span_s,
        len(sim.nodes),
        sim.counters["consul.memberlist.probeNode"] - before["consul.memberlist.probeNode"],
        sim.counters[FAILED_PROBES] - before[FAILED_PROBES],
        len(found),
        sum(map(len, found.values())),
    )


def _running(sim: GossipSim) -> int:
    return sum(node.running for node in sim.nodes)


def _spread(sim: GossipSim, kind: str, subject: str, nodes: int, limit_s: float, start: float | None = None) -> Spread:
    begin = sim.now if start is None else start
    seen = sim.seen_at[kind, subject]
    end = sim.now + limit_s
    while len(seen) < nodes and sim.now < end and sim.step():
        pass
    return Spread(nodes, tuple(sorted(when - begin for when in seen.values())))


def _sent(sim: GossipSim) -> tuple[int, int, int]:
    traffic = [node.traffic for node in sim.nodes]
    return (
        sum(one.packets for one in traffic),
        sum(one.packet_bytes for one in traffic),
        sum(one.stream_bytes for one in traffic),
    )
