"""Protocol ranges: can every node of two pools understand every other one?"""

from collections.abc import Iterable

from services.gossip.codec.messages import STATE_ALIVE, NodeRecord
from services.gossip.swim.nodes import Node


def incompatibility(ours: Iterable[Node], theirs: Iterable[NodeRecord]) -> str | None:
    """Why the two must not merge, in memberlist's words; None if they may.

    The ranges of all nodes that are alive are intersected, for memberlist's protocol and Serf's; then what every
    node speaks (of any state) has to lie inside. A Vsn of less than six bytes, which makes Consul 1.8 panic, is
    refused like a version of 0."""
    everyone = [(record.vsn, record.state, record.name) for record in theirs]
    everyone += [(node.vsn, node.state, node.name) for node in ours]
    # Hardly ever more than two different ones, even in a large pool.
    ranges = {vsn for vsn, state, _ in everyone if state == STATE_ALIVE and len(vsn) >= 6}
    low, high = max((vsn[0] for vsn in ranges), default=0), min((vsn[1] for vsn in ranges), default=255)
    serf_low, serf_high = max((vsn[3] for vsn in ranges), default=0), min((vsn[4] for vsn in ranges), default=255)
    reasons: dict[bytes, str] = {}
    for vsn in {vsn for vsn, _, _ in everyone}:
        current, serf_current = (vsn[2], vsn[5]) if len(vsn) >= 6 else (0, 0)
        if not low <= current <= high:
            reasons[vsn] = f"protocol version ({current}) is incompatible: [{low}, {high}]"
        elif not serf_low <= serf_current <= serf_high:
            reasons[vsn] = f"delegate protocol version ({serf_current}) is incompatible: [{serf_low}, {serf_high}]"
    return next((f"Node '{name}' {reasons[vsn]}" for vsn, _, name in everyone if vsn in reasons), None)
