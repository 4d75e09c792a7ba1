"""What a new leader finds in the state and takes over, or writes because nobody has yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.config.runtime import RuntimeConfig
from shared.gotext.durations import DurationError, parse_duration_s
from shared.state.queries import operator, session
from shared.state.snapshot import Snapshot
from shared.structs.operator import AutopilotConfig, AutopilotSetConfigRequest


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a new leader takes over. session_ttls: session id -> seconds, of all sessions that have a TTL."""

    session_ttls: Mapping[str, float]
    has_autopilot: bool
    tombstone_index: int


NOTHING = Inheritance({}, False, 0)


def inherit(snap: Snapshot) -> Inheritance:
    """Read it from the state."""
    ttls = {}
    for found in session.all_sessions(snap).value:
        if found.ttl:
            try:
                ttls[found.id] = parse_duration_s(found.ttl)
            except DurationError:
                continue  # written by a server that checked less: it never expires, as there
    return Inheritance(ttls, operator.autopilot_config(snap).value is not None, snap.index("tombstones"))


def autopilot_defaults(config: RuntimeConfig) -> AutopilotSetConfigRequest:
    """The command that writes autopilot's first configuration."""
    wanted = config.autopilot
    return AutopilotSetConfigRequest(
        config=AutopilotConfig(
            cleanup_dead_servers=wanted.cleanup_dead_servers,
            last_contact_threshold=round(wanted.last_contact_threshold_s * 1e9),
            max_trailing_logs=wanted.max_trailing_logs,
            min_quorum=wanted.min_quorum,
            server_stabilization_time=round(wanted.server_stabilization_time_s * 1e9),
            redundancy_zone_tag=wanted.redundancy_zone_tag,
            disable_upgrade_migration=wanted.disable_upgrade_migration,
            upgrade_version_tag=wanted.upgrade_version_tag,
        )
    )
