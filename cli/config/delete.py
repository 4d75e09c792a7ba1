"""`config delete`: remove an entry."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.config.read import is_given

NAME = "config delete"
SYNOPSIS = "Delete a configuration entry"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.kind = StringFlag("kind", "Kind of the entry.")
        self.name = StringFlag("name", "Name of the entry.")
        self.agent = NamespacedQueryFlags()


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
    kind, name = flags.kind.value, flags.name.value
    if not (is_given(kind, "kind") and is_given(name, "name")):
        return 1
    client = flags.agent.client()
    try:
        client.delete(f"/v1/config/{kind}/{name}")
    except ApiError as error:
        ui.error(f"Error deleting config entry {kind}/{name}: {error}")
        return 1
    ui.output(f"Config entry deleted: {kind}/{name}")
    return 0
