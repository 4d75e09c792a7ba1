"""`config write`: create or change an entry, from a file or standard input."""

from __future__ import annotations

from cli.base import source, ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, UintFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage

NAME = "config write"
SYNOPSIS = "Create or change a configuration entry"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.cas = BoolFlag("cas", "Write only if the entry is at the index that -modify-index gives.")
        self.modify_index = UintFlag("modify-index", "With -cas: ModifyIndex of the entry, 0 if it must not exist.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul config write [options] <file>

  Creates or changes a configuration entry. The file is JSON or HCL; "-" stands
  for standard input:

      $ proconsul config write web.hcl
      $ proconsul config write -
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    if len(arguments) != 1:
        ui.error("Must provide exactly one positional argument to specify the config entry to write")
        return 1
    from cli.config.entries import EntryError, parse
    from shared.structs import gojson

    try:
        if not arguments[0]:
            raise source.SourceError("Failed to load data: must specify a file path or '-' for stdin")
        data = source.read_stdin() if arguments[0] == "-" else source.read_file(arguments[0])
    except source.SourceError as error:
        ui.error(f"Failed to load data: {error}")
        return 1
    try:
        entry = parse(data.decode("utf-8", "surrogateescape"))
    except EntryError as error:
        ui.error(f"Failed to decode config entry input: {error}")
        return 1
    client = flags.agent.client()
    params = {"cas": str(flags.modify_index.value or 0)} if flags.cas.value else {}
    shown = f"{entry['Kind']}/{entry['Name']}"
    try:
        written = b"true" in client.put("/v1/config", params, gojson.dumps(entry) + b"\n")
    except ApiError as error:
        ui.error(f"Error writing config entry {shown}: {error}")
        return 1
    if not written:
        ui.error(f"Config entry not updated: {shown}")
        return 1
    ui.output(f"Config entry written: {shown}")
    return 0
