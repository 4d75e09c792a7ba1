"""`operator autopilot get-config`: Autopilot's settings."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import QueryFlags
from cli.base.usage import usage
from cli.operator import parse_and_connect
from shared.gotext.quoting import quote

NAME = "operator autopilot get-config"
SYNOPSIS = "Show the settings of Autopilot"
ENDPOINT = "/v1/operator/autopilot/configuration"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul operator autopilot get-config [options]

  Shows the settings of Autopilot that are in force.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    client = parse_and_connect(flags, flags.agent, argv)
    if isinstance(client, int):
        return client
    try:
        config = client.get(ENDPOINT, {"stale": ""} if flags.agent.stale.value else {})
    except ApiError as error:
        ui.error(f"Error querying Autopilot configuration: {error}")
        return 1
    ui.output(f"CleanupDeadServers = {_bool(config['CleanupDeadServers'])}")
    ui.output(f"LastContactThreshold = {config['LastContactThreshold']}")
    ui.output(f"MaxTrailingLogs = {config['MaxTrailingLogs']}")
    ui.output(f"MinQuorum = {config['MinQuorum']}")
    ui.output(f"ServerStabilizationTime = {config['ServerStabilizationTime']}")
    ui.output(f"RedundancyZoneTag = {quote(config['RedundancyZoneTag'])}")
    ui.output(f"DisableUpgradeMigration = {_bool(config['DisableUpgradeMigration'])}")
    ui.output(f"UpgradeVersionTag = {quote(config['UpgradeVersionTag'])}")
    return 0


def _bool(value: bool) -> str:
    return "true" if value else "false"
