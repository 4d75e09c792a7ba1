"""`operator raft transfer-leader`: let another server lead."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import QueryFlags
from cli.base.usage import usage
from cli.operator import parse_and_connect

NAME = "operator raft transfer-leader"
SYNOPSIS = "Hand the leadership to another server"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.id = StringFlag("id", "Node ID of the voter that is to lead. By default the most up-to-date one.")
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul operator raft transfer-leader [options]

  Hands the leadership of the cluster to another server, for example before
  the leader's host is maintained. The other servers need not wait for an
  election timeout. Works with servers of proconsul as leader only.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    client = parse_and_connect(flags, flags.agent, argv)
    if isinstance(client, int):
        return client
    server_id = flags.id.value
    try:
        client.put("/v1/operator/raft/transfer-leader", {"id": server_id} if server_id else {}, b"")
    except ApiError as error:
        ui.error(f"Error transferring leadership: {error}")
        return 1
    ui.output("Success")
    return 0
