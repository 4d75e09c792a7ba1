"""Stats: the raft section of `consul info`, every value a text as hashicorp/raft makes it."""

from __future__ import annotations

import math

from services.raft_node.core.types import LEADER
from services.raft_node.replica import Replica
from shared.gotext.durations import format_duration_s


def raft_stats(replica: Replica, now: float) -> dict[str, str]:
    core, log = replica.core, replica.core.log
    configurations = core.state.configurations
    voters = configurations.latest.voter_ids()
    node_id = core.state.settings.node_id
    last_contact = core.state.last_contact
    if core.role == LEADER:
        contact = "0"
    else:
        contact = "never" if last_contact == -math.inf else format_duration_s(now - last_contact)
    return {
        "applied_index": str(replica.applied_index),
        "commit_index": str(core.commit_index),
        "fsm_pending": "0",
        "last_contact": contact,
        "last_log_index": str(log.last_index),
        "last_log_term": str(log.last_term),
        "last_snapshot_index": str(log.snapshot_index),
        "last_snapshot_term": str(log.snapshot_term),
        "latest_configuration": str(configurations.latest),
        "latest_configuration_index": str(configurations.latest_index),
        "num_peers": str(len(voters) - 1 if node_id in voters else 0),
        "protocol_version": "3",
        "protocol_version_max": "3",
        "protocol_version_min": "0",
        "snapshot_version_max": "1",
        "snapshot_version_min": "0",
        "state": core.role,
        "term": str(core.term),
    }
