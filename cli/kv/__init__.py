"""`kv`: the commands of the key/value store."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "kv"
SYNOPSIS = "Work with the key/value store"
HELP = """
Usage: proconsul kv <subcommand> [options] [args]

  Reads and writes the key/value store. Setting a key, and creating it if need
  be:

      $ proconsul kv put redis/config/connections 5

  Its value, or all that is known about it:

      $ proconsul kv get redis/config/connections
      $ proconsul kv get -detailed redis/config/connections

  And away with it:

      $ proconsul kv delete redis/config/connections
"""


def run(argv: list[str]) -> int:
    raise ShowHelp


def key_argument(argument: str) -> str:
    """Keys do not begin with a slash, but people write them so: one is taken off."""
    return argument.removeprefix("/")
