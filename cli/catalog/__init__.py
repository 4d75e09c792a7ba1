"""`catalog`: what the datacenter's servers know of nodes and services."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "catalog"
SYNOPSIS = "Look into the catalog of nodes and services"
HELP = """
Usage: proconsul catalog <subcommand> [options] [args]

  Shows what is registered in the catalog, which the servers keep for the whole
  datacenter (an agent by itself only knows its own services).

  All datacenters, all nodes, all services:

      $ proconsul catalog datacenters
      $ proconsul catalog nodes
      $ proconsul catalog services
"""


def run(argv: list[str]) -> int:
    raise ShowHelp
