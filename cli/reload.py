"""`reload`: make the agent read its configuration files again."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import AgentFlags
from cli.base.usage import usage

NAME = "reload"
SYNOPSIS = "Make the agent read its configuration files again"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul reload

  Makes the agent read its configuration again, as the signal SIGHUP does.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    client = flags.agent.client()
    try:
        client.put("/v1/agent/reload")
    except ApiError as error:
        ui.error(f"Error reloading: {error}")
        return 1
    ui.output("Configuration reload triggered")
    return 0
