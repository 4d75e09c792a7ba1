"""`config read`: one entry as JSON."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from shared.structs.errors import RefusedError

NAME = "config read"
SYNOPSIS = "Show a configuration entry"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.kind = StringFlag("kind", "Kind of the entry.")
        self.name = StringFlag("name", "Name of the entry.")
        self.agent = NamespacedQueryFlags()


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
    kind, name = flags.kind.value, flags.name.value
    if not (is_given(kind, "kind") and is_given(name, "name")):
        return 1
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


def is_given(value: str, name: str) -> bool:
    """Whether a flag that must be there is; says so if it is not."""
    if not value:
        ui.error(f"Must specify the -{name} parameter")
    return bool(value)
