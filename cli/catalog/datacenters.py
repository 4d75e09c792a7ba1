"""`catalog datacenters`: all datacenters, the nearest first."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import QueryFlags
from cli.base.usage import usage

NAME = "catalog datacenters"
SYNOPSIS = "List all known datacenters"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul catalog datacenters [options]

  Lists the datacenters that the servers know, ordered by the median of the
  round trip times estimated from here to their servers:

      $ proconsul catalog datacenters
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    if arguments := flags.parse(argv):
        ui.error(f"Too many arguments (expected 0, got {len(arguments)})")
        return 1
    client = flags.agent.client()
    try:
        datacenters = client.get("/v1/catalog/datacenters") or []
    except ApiError as error:
        ui.error(f"Error listing datacenters: {error}")
        return 1
    for name in datacenters:
        ui.output(name)
    return 0
