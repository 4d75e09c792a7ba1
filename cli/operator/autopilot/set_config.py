"""`operator autopilot set-config`: change single settings of Autopilot."""

from __future__ import annotations

import json

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, OptionalBoolFlag, OptionalDurationFlag, OptionalStringFlag, OptionalUintFlag
from cli.base.http import QueryFlags
from cli.base.usage import usage
from cli.operator import parse_and_connect
from cli.operator.autopilot.get_config import ENDPOINT
from shared.gotext.durations import format_duration_ns

NAME = "operator autopilot set-config"
SYNOPSIS = "Change settings of Autopilot"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.cleanup_dead_servers = OptionalBoolFlag(
            "cleanup-dead-servers", "Whether dead servers are removed once new ones have joined: `true|false`."
        )
        self.max_trailing_logs = OptionalUintFlag(
            "max-trailing-logs", "How many log entries a server may be behind the leader and still count as healthy."
        )
        self.min_quorum = OptionalUintFlag("min-quorum", "How many servers must remain for dead ones to be removed.")
        self.last_contact_threshold = OptionalDurationFlag(
            "last-contact-threshold",
            "How long a server may be without contact to the leader and still count as healthy, such as `200ms`.",
        )
        self.server_stabilization_time = OptionalDurationFlag(
            "server-stabilization-time",
            "How long a new server must have been healthy before it may vote, such as `10s`. "
            "Needs Raft protocol 3 on all servers.",
        )
        self.redundancy_zone_tag = OptionalStringFlag(
            "redundancy-zone-tag", "Node metadata that names a server's redundancy zone (an enterprise feature)."
        )
        self.disable_upgrade_migration = OptionalBoolFlag(
            "disable-upgrade-migration",
            "Whether servers of a newer version vote at once: `true|false` (an enterprise feature).",
        )
        self.upgrade_version_tag = OptionalStringFlag(
            "upgrade-version-tag", "Node metadata that names a server's version for upgrades (an enterprise feature)."
        )
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul operator autopilot set-config [options]

  Changes the settings of Autopilot that are given. The others stay, and if
  somebody else changes one at the same time, nothing is written.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    client = parse_and_connect(flags, flags.agent, argv)
    if isinstance(client, int):
        return client
    try:
        config = client.get(ENDPOINT)
    except ApiError as error:
        ui.error(f"Error querying Autopilot configuration: {error}")
        return 1
    changes = {
        "CleanupDeadServers": flags.cleanup_dead_servers.given,
        "MaxTrailingLogs": flags.max_trailing_logs.value,
        "MinQuorum": flags.min_quorum.value,
        "LastContactThreshold": _duration(flags.last_contact_threshold.value),
        "ServerStabilizationTime": _duration(flags.server_stabilization_time.value),
        "RedundancyZoneTag": flags.redundancy_zone_tag.value,
        "DisableUpgradeMigration": flags.disable_upgrade_migration.given,
        "UpgradeVersionTag": flags.upgrade_version_tag.value,
    }
    config.update({name: value for name, value in changes.items() if value is not None})
    try:
        body = json.dumps(config, ensure_ascii=False).encode()
        written = b"true" in client.put(ENDPOINT, {"cas": str(config["ModifyIndex"])}, body)
    except ApiError as error:
        ui.error(f"Error setting Autopilot configuration: {error}")
        return 1
    if not written:
        ui.output("Configuration could not be atomically updated, please try again")
        return 1
    ui.output("Configuration updated!")
    return 0


def _duration(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else format_duration_ns(nanoseconds)
