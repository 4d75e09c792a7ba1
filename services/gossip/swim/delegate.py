"""What the SWIM core asks of the layer above it (Serf)."""

from collections.abc import Sequence
from typing import Protocol

from services.gossip.codec.messages import Alive, NodeRecord
from services.gossip.swim.nodes import Node


class Delegate(Protocol):
    """All calls happen inside the core's own calls, and must not call back into them except where said."""

    def node_joined(self, node: Node, now: float) -> None: ...

    def node_updated(self, node: Node, now: float) -> None: ...

    def node_left(self, node: Node, now: float) -> None:
        """The node died, or left by its own will: whether it said so is the delegate's to know."""

    def name_conflict(self, node: Node, other: Alive) -> None:
        """Two addresses claim the name of `node`; the first one keeps it."""

    def check_alive(self, alive: Alive) -> str | None:
        """Why this node must not be a member; None if it may."""

    def check_merge(self, nodes: Sequence[NodeRecord]) -> str | None:
        """Why a pool with these nodes must not be joined with ours; None if it may."""

    def user_message(self, payload: bytes, now: float) -> None: ...

    def ack_payload(self) -> bytes | None:
        """What to tell everyone who pings us."""

    def ping_done(self, node: Node, rtt_s: float, payload: bytes | None, now: float) -> None: ...

    def has_broadcasts(self) -> bool: ...

    def take_broadcasts(self, overhead: int, budget: int, max_parts: int) -> list[bytes]: ...

    def local_state(self) -> bytes: ...

    def merge_state(self, state: bytes, join: bool, now: float) -> None: ...
