"""`force-leave`: count a failed node as left, without waiting for it to be reaped."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet
from cli.base.http import AgentFlags
from cli.base.usage import usage

NAME = "force-leave"
SYNOPSIS = 'Put a failed member into the "left" state'


class Flags(FlagSet):
    def __init__(self) -> None:
        self.prune = BoolFlag("prune", "Forget the node altogether instead of listing it as left.")
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul force-leave [options] name

  Puts a member of the cluster into the "left" state, so that nobody tries to
  reach it any more. Meant for nodes that failed and will not come back: one
  that is alive joins again by itself.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    nodes = flags.parse(argv)
    if len(nodes) != 1:
        ui.error(f"A single node name must be specified to force leave.\n\n{HELP()}")
        return 1
    client = flags.agent.client()
    try:
        client.put(f"/v1/agent/force-leave/{nodes[0]}", {"prune": "1"} if flags.prune.value else {})
    except ApiError as error:
        ui.error(f"Error force leaving: {error}")
        return 1
    return 0
