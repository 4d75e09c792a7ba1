"""`snapshot`: the whole state of the servers as one file."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ShowHelp

NAME = "snapshot"
SYNOPSIS = "Save, restore and inspect the state of the servers"
HELP = """
Usage: proconsul snapshot <subcommand> [options] [args]

  Saves all that the servers keep (keys, catalog, prepared queries, sessions,
  ACLs) into a file, and puts it back after a disaster:

      $ proconsul snapshot save backup.snap
      $ proconsul snapshot restore backup.snap

  What a file contains:

      $ proconsul snapshot inspect backup.snap
"""


def run(argv: list[str]) -> int:
    raise ShowHelp


def file_argument(arguments: list[str]) -> str | None:
    """The one file that is meant; None, and a complaint, for any other number of arguments."""
    if len(arguments) == 1:
        return arguments[0]
    many = f"Too many arguments (expected 1, got {len(arguments)})"
    ui.error(many if arguments else "Missing FILE argument")
    return None
