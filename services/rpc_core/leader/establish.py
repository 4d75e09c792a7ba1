"""What a new leader finds in the state and takes over, or writes because nobody has yet."""

from __future__ import annotations

from shared.config.runtime import RuntimeConfig
from shared.state.queries import operator, session
from shared.state.snapshot import Snapshot
from shared.structs.errors import JsonError
from shared.structs.gotime import parse_duration
from shared.structs.operator import AutopilotConfig, AutopilotSetConfigRequest


def session_ttls(snap: Snapshot) -> dict[str, float]:
    """Session id -> TTL in seconds, of all sessions that have one."""
    ttls = {}
    for found in session.all_sessions(snap).value:
        if found.ttl:
            try:
                ttls[found.id] = parse_duration(found.ttl) / 1e9
            except JsonError:
                continue  # written by a server that checked less: it never expires, as there
    return ttls


def autopilot_defaults(snap: Snapshot, config: RuntimeConfig) -> AutopilotSetConfigRequest | None:
    """The command that writes autopilot's first configuration, None if there is one already."""
    if operator.autopilot_config(snap).value is not None:
        return None
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
