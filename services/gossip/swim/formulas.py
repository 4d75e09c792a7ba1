"""How SWIM's times and counts scale with the size of the pool, to the millisecond as memberlist computes them."""

import math


def suspicion_timeout_s(mult: int, nodes: int, probe_interval_s: float) -> float:
    """Seconds a suspect may stay unrefuted once enough others have confirmed; the shortest such time.

    nodes: known members, this node, suspects and the left included. The log10 scale is cut to 3 decimals."""
    scale = max(1.0, math.log10(max(1.0, float(nodes))))
    return mult * int(scale * 1000) * probe_interval_s / 1000


def confirmed_timeout_s(confirmations: int, wanted: int, min_s: float, max_s: float) -> float:
    """Seconds from the start of the suspicion until death, after `confirmations` of `wanted` (Lifeguard)."""
    fraction = math.log(confirmations + 1.0) / math.log(wanted + 1.0)
    return max(min_s, math.floor(1000.0 * (max_s - fraction * (max_s - min_s))) / 1000.0)


def retransmit_limit(mult: int, nodes: int) -> int:
    """How often one rumour is sent."""
    return mult * math.ceil(math.log10(nodes + 1))


def push_pull_interval_s(base_s: float, nodes: int) -> float:
    """Large pools sync less often: the base up to 32 nodes, then one base more per doubling."""
    if nodes <= 32:
        return base_s
    return base_s * (math.ceil(math.log2(nodes) - math.log2(32)) + 1)
