"""Operator settings kept in the replicated state."""

from __future__ import annotations

from shared.state.answer import Answer
from shared.state.snapshot import Snapshot
from shared.state.tables import unpack_row
from shared.state.topics import ALL, AUTOPILOT
from shared.structs.operator import AutopilotConfig


def autopilot_config(snap: Snapshot) -> Answer[AutopilotConfig | None]:
    """The autopilot configuration, None before it was first written. Index: its ModifyIndex."""
    row = snap.get(b"autopilot", None, snap.tables.settings)
    config = None if row is None else AutopilotConfig.from_row(unpack_row(row))
    return Answer(max(1, config.modify_index if config else 0), config, ((AUTOPILOT, ALL),))
