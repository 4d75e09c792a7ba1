"""`operator raft list-peers`: the Raft configuration in force."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import QueryFlags
from cli.base.text import columnize
from cli.base.usage import usage
from cli.operator import parse_and_connect

NAME = "operator raft list-peers"
SYNOPSIS = "List the Raft peers"
OLDEST_PROTOCOL = "<=1"
"""Shown for servers too old to say which Raft protocol they speak."""


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul operator raft list-peers [options]

  Lists the servers of the current Raft configuration and says which one leads
  and which ones vote.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    client = parse_and_connect(flags, flags.agent, argv)
    if isinstance(client, int):
        return client
    try:
        reply = client.get("/v1/operator/raft/configuration", {"stale": ""} if flags.agent.stale.value else {})
    except ApiError as error:
        ui.error(f"Error getting peers: Failed to retrieve raft configuration: {error}")
        return 1
    rows = [["Node", "ID", "Address", "State", "Voter", "RaftProtocol"]]
    for server in reply.get("Servers") or []:
        state = "leader" if server["Leader"] else "follower"
        voter = "true" if server["Voter"] else "false"
        protocol = server.get("ProtocolVersion") or OLDEST_PROTOCOL
        rows.append([server["Node"], server["ID"], server["Address"], state, voter, protocol])
    ui.output(columnize(rows))
    return 0
