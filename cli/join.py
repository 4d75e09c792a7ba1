"""`join`: make the agent a member of the cluster that other agents form."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet
from cli.base.http import AgentFlags
from cli.base.usage import usage

NAME = "join"
SYNOPSIS = "Make the agent join a cluster"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.wan = BoolFlag("wan", "Join the WAN pool, which connects the servers of different datacenters.")
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul join [options] address ...

  Tells a running agent to join a cluster. Each address is that of a node
  which is a member already; one that answers is enough.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    addresses = flags.parse(argv)
    if not addresses:
        ui.error(f"At least one address to join must be specified.\n\n{HELP()}")
        return 1
    client = flags.agent.client()
    params = {"wan": "1"} if flags.wan.value else {}
    joined = 0
    for address in addresses:
        try:
            client.put(f"/v1/agent/join/{address}", params)
            joined += 1
        except ApiError as error:
            ui.error(f"Error joining address '{address}': {error}")
    if not joined:
        ui.error("Failed to join any nodes.")
        return 1
    ui.output(f"Successfully joined cluster by contacting {joined} nodes.")
    return 0
