"""`config read`: one entry as JSON."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.usage import usage
from cli.config.chosen import Flags
from shared.structs.errors import RefusedError

NAME = "config read"
SYNOPSIS = "Show a configuration entry"


def HELP() -> str:
    return usage(
        """
Usage: proconsul config read [options] -kind <kind> -name <name>

  Prints one configuration entry as JSON:

      $ proconsul config read -kind proxy-defaults -name global
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
    from cli.config.entries import as_client, check_kind
    from shared.structs.gojson import dumps_indent

    try:
        check_kind(kind)
        entry = client.get(f"/v1/config/{kind}/{name}")
    except (ApiError, RefusedError) as error:
        ui.error(f"Error reading config entry {kind}/{name}: {error}")
        return 1
    ui.output(dumps_indent(as_client(kind, entry), "    "))
    return 0
