"""`operator`: tools for those who run the servers."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "operator"
SYNOPSIS = "Tools for those who run the servers"
HELP = """
Usage: proconsul operator <subcommand> [options]

  Looks into, and changes, how the servers work together. Mistakes made with
  these commands can cost the cluster its leader or its data.

  With ACLs on they need a token with operator privileges. They work from any
  node: agents pass the request on to the leader.
"""


def run(argv: list[str]) -> int:
    raise ShowHelp
