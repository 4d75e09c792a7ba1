"""`config delete`: remove an entry."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.usage import usage
from cli.config.chosen import Flags

NAME = "config delete"
SYNOPSIS = "Delete a configuration entry"


def HELP() -> str:
    return usage(
        """
Usage: proconsul config delete [options] -kind <kind> -name <name>

  Deletes a configuration entry. One that does not exist is no error:

      $ proconsul config delete -kind service-defaults -name web
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    if (chosen := flags.chosen()) is None:
        return 1
    kind, name = chosen
    client = flags.agent.client()
    try:
        client.delete(f"/v1/config/{kind}/{name}")
    except ApiError as error:
        ui.error(f"Error deleting config entry {kind}/{name}: {error}")
        return 1
    ui.output(f"Config entry deleted: {kind}/{name}")
    return 0
