"""How one Serf pool behaves."""

from dataclasses import dataclass, field

from services.gossip.swim.settings import SwimSettings


@dataclass(frozen=True, slots=True)
class SerfSettings:
    """Durations are seconds. Defaults are those of Consul, which differ from Serf's own in reconnect_timeout_s,
    leave_propagate_s and queue_min.

    resolves_conflicts, coalesce_s, quiescent_s: Serf's votes about names and its coalescing of user events, which
    Consul has off, and so have its pools here. See NameVote and Coalescer."""

    swim: SwimSettings
    tags: dict[str, str] = field(default_factory=dict)
    broadcast_timeout_s: float = 5.0
    leave_propagate_s: float = 3.0
    reap_interval_s: float = 15.0
    reconnect_interval_s: float = 30.0
    reconnect_timeout_s: float = 72 * 3600.0
    tombstone_timeout_s: float = 24 * 3600.0
    intent_timeout_s: float = 300.0
    queue_min: int = 4096
    queue_check_interval_s: float = 30.0
    queue_depth_warning: int = 128
    ring_size: int = 512
    resolves_conflicts: bool = False
    coalesce_s: float = 0.0
    quiescent_s: float = 0.0

    @property
    def name(self) -> str:
        return self.swim.name
