"""What the papers and memberlist's formulas let expect of a pool, to compare simulated pools with.

Durations are seconds. Sources: Das, Gupta, Motivala "SWIM" (2002); Dadgar, Phillips, Currey "Lifeguard" (2018);
Pittel "On Spreading a Rumor" (1987)."""

import math

from services.gossip.swim.formulas import suspicion_timeout_s

PROBE_INTERVAL_S = 1.0
GOSSIP_INTERVAL_S = 0.2
GOSSIP_NODES = 3
SUSPICION_MULT = 4
SUSPICION_MAX_MULT = 6
HELPERS = 3


def spread_s(nodes: int, loss: float = 0.0) -> float:
    """Until a rumour has reached everybody, if each who knows it tells GOSSIP_NODES others per interval.

    Pittel: log_(f+1)(n) rounds until half of them know it, ln(n)/f until the last one does. Loss thins out f."""
    fanout = GOSSIP_NODES * (1.0 - loss)
    rounds = math.log(nodes) / math.log(fanout + 1.0) + math.log(nodes) / fanout
    return rounds * GOSSIP_INTERVAL_S


def failed_probes(loss: float, helpers: int = HELPERS) -> float:
    """The share of probes of a living member that fail for nothing but lost packets, without a fallback to TCP.

    SWIM 3.1: the ping or its ack is lost, and so is one of four packets on the way over every helper."""
    direct = 1.0 - (1.0 - loss) ** 2
    relayed = 1.0 - (1.0 - loss) ** 4
    return float(direct * relayed**helpers)


def first_suspicion_s(nodes: int) -> float:
    """From a crash until somebody suspects the dead one, on average.

    SWIM 3.1: everybody probes one member per interval, so 1/(1 - 1/e) intervals pass until the dead one's turn comes
    (half an interval less if the intervals of the members do not begin together); a failed probe takes one more."""
    if nodes < 3:
        return 1.5 * PROBE_INTERVAL_S
    missed = (1.0 - 1.0 / (nodes - 1)) ** (nodes - 1)
    return (1.0 / (1.0 - missed) - 0.5 + 1.0) * PROBE_INTERVAL_S


def suspicion_s(nodes: int) -> tuple[float, float]:
    """The shortest and the longest time for which a suspect may refute (Lifeguard's dynamic timeout)."""
    shortest = suspicion_timeout_s(SUSPICION_MULT, nodes, PROBE_INTERVAL_S)
    if nodes < SUSPICION_MULT:  # nobody who could confirm
        return shortest, shortest
    return shortest, SUSPICION_MAX_MULT * shortest
