"""`config list`: the names of all entries of a kind."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.config.chosen import is_given
from shared.gotext.quoting import quote

NAME = "config list"
SYNOPSIS = "List the configuration entries of a kind"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.kind = StringFlag("kind", "Kind of the entries.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul config list [options] -kind <kind>

  Prints the names of all configuration entries of a kind, one per line:

      $ proconsul config list -kind service-defaults
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    kind = flags.kind.value
    if not is_given(kind, "kind"):
        return 1
    client = flags.agent.client()
    try:
        entries = client.get(f"/v1/config/{kind}") or []
    except ApiError as error:
        ui.error(f"Error listing config entries for kind {quote(kind)}: {error}")
        return 1
    for entry in entries:
        ui.output(entry["Name"])
    return 0
