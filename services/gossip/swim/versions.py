"""Protocol ranges: can every node of two pools understand every other one?"""

from collections.abc import Iterable

from services.gossip.codec.messages import STATE_ALIVE, NodeRecord
from services.gossip.swim.nodes import Node


def incompatibility(ours: Iterable[Node], theirs: Iterable[NodeRecord]) -> str | None:
    """Why the two must not merge, in memberlist's words; None if they may.

    The ranges of all nodes that are alive are intersected, for memberlist's protocol and Serf's; then what every
    node speaks (of any state) has to lie inside. A Vsn of less than six bytes, which makes Consul 1.8 panic, is
    refused like a version of 0."""
    remote = list(theirs)
    everyone = [(record.name, record.vsn, record.state) for record in remote]
    everyone += [(node.name, node.vsn, node.state) for node in ours]
    ranges = [vsn for _, vsn, state in everyone if state == STATE_ALIVE and len(vsn) >= 6]
    low, high = max((vsn[0] for vsn in ranges), default=0), min((vsn[1] for vsn in ranges), default=255)
    serf_low, serf_high = max((vsn[3] for vsn in ranges), default=0), min((vsn[4] for vsn in ranges), default=255)
    for name, vsn, _ in everyone:
        current, serf_current = (vsn[2], vsn[5]) if len(vsn) >= 6 else (0, 0)
        if not low <= current <= high:
            return f"Node '{name}' protocol version ({current}) is incompatible: [{low}, {high}]"
        if not serf_low <= serf_current <= serf_high:
            return (
                f"Node '{name}' delegate protocol version ({serf_current}) is incompatible: "
                f"[{serf_low}, {serf_high}]"
            )
    return None
