"""`info`: counters and state of the agent's parts, for whoever runs it."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import AgentFlags
from cli.base.usage import usage

NAME = "info"
SYNOPSIS = "Show the state of the agent's parts"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul info [options]

  Shows what the agent knows about itself: build, Raft, gossip and runtime
  figures.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    client = flags.agent.client()
    try:
        agent = client.get("/v1/agent/self")
    except ApiError as error:
        ui.error(f"Error querying agent: {error}")
        return 1
    if "Stats" not in agent:
        ui.error(f"Agent response did not contain 'Stats' key: {agent}")
        return 1
    for section, values in sorted((agent["Stats"] or {}).items()):
        ui.output(f"{section}:")
        if not isinstance(values, dict):
            ui.error("Got invalid subkey in stats: map[]")
            return 1
        for name, value in sorted(values.items()):
            ui.output(f"\t{name} = {value}")
    return 0
