"""`kv export`: a tree of keys as JSON, for `kv import`."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.kv import key_argument
from shared.structs.gojson import dumps_indent

NAME = "kv export"
SYNOPSIS = "Print a tree of keys as JSON"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul kv export [KEY_OR_PREFIX]

  Prints all keys that begin with the argument, with their flags and values, as
  JSON. "proconsul kv import" reads that again, here or in another cluster:

      $ proconsul kv export vault
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    if len(arguments) > 1:
        ui.error(f"Too many arguments (expected 1, got {len(arguments)})")
        return 1
    key = key_argument(arguments[0]) if arguments else ""
    client = flags.agent.client()
    params = {"recurse": "", **({"stale": ""} if flags.agent.stale.value else {})}
    try:
        pairs = client.get_or_none(f"/v1/kv/{key}", params) or []
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1
    entries = []
    for pair in pairs:
        entry = {"key": pair["Key"], "flags": pair["Flags"], "value": pair.get("Value") or ""}
        if pair.get("Namespace"):
            entry["namespace"] = pair["Namespace"]
        entries.append(entry)
    ui.output(dumps_indent(entries, "\t"))
    return 0
