"""`config`: the commands of centralised configuration."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "config"
SYNOPSIS = "Work with centralised configuration"
HELP = """
Usage: proconsul config <subcommand> [options] [args]

  Works with the configuration entries that all agents share: defaults of
  services and proxies, routes, splits and resolvers, gateways.

  Write an entry from a file, JSON or HCL:

      $ proconsul config write web.hcl

  Look at it, and at the names of all entries of its kind:

      $ proconsul config read -kind service-defaults -name web
      $ proconsul config list -kind service-defaults

  And away with it:

      $ proconsul config delete -kind service-defaults -name web
"""


def run(argv: list[str]) -> int:
    raise ShowHelp
