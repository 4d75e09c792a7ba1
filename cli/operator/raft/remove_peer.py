"""`operator raft remove-peer`: drop a server that is gone from the Raft configuration."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import QueryFlags
from cli.base.usage import usage
from cli.operator import parse_and_connect
from shared.gotext.quoting import quote

NAME = "operator raft remove-peer"
SYNOPSIS = "Remove a server from the Raft peers"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.address = StringFlag("address", "Address, as ip:port, of the server to remove.")
        self.id = StringFlag("id", "Node ID of the server to remove.")
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul operator raft remove-peer [options]

  Removes a server from the Raft configuration, where it may be left behind
  after it has died. As long as "proconsul members" lists the server,
  "proconsul force-leave" is the better way.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    client = parse_and_connect(flags, flags.agent, argv)
    if isinstance(client, int):
        return client
    address, server_id = flags.address.value, flags.id.value
    try:
        if not address and not server_id:
            raise ApiError("an address or id is required for the peer to remove")
        if address and server_id:
            raise ApiError("cannot give both an address and id")
        client.delete("/v1/operator/raft/peer", {"address": address} if address else {"id": server_id})
    except ApiError as error:
        ui.error(f"Error removing peer: {error}")
        return 1
    kind, value = ("address", address) if address else ("id", server_id)
    ui.output(f"Removed peer with {kind} {quote(value)}")
    return 0
