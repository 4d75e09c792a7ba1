"""`leave`: make the agent leave its cluster in good order, and end."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import AgentFlags
from cli.base.usage import usage

NAME = "leave"
SYNOPSIS = "Leave the cluster in good order and stop the agent"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul leave [options]

  Tells the agent to say goodbye to the other members and to stop. They will
  not count it as failed.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    if unexpected := flags.parse(argv):
        ui.error(f"Error found unexpected args: [{' '.join(unexpected)}]")
        ui.output(HELP())
        return 1
    client = flags.agent.client()
    try:
        client.put("/v1/agent/leave")
    except ApiError as error:
        ui.error(f"Error leaving: {error}")
        return 1
    ui.output("Graceful leave complete")
    return 0
