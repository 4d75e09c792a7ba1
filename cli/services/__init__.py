"""`services`: register services with the agent, and remove them again."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "services"
SYNOPSIS = "Register and remove services"
HELP = """
Usage: proconsul services <subcommand> [options] [args]

  Registers services with the agent, which keeps them in the catalog and runs
  their checks. From configuration files:

      $ proconsul services register web.json
      $ proconsul services deregister web.json

  Or by their properties:

      $ proconsul services register -name=web -port=8080
      $ proconsul services deregister -id=web
"""


def run(argv: list[str]) -> int:
    raise ShowHelp
