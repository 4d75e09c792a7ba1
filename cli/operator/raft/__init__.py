"""`operator raft`: the servers as Raft peers."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "operator raft"
SYNOPSIS = "Show and change the Raft peers"
HELP = """
Usage: proconsul operator raft <subcommand> [options]

  Shows which servers are Raft peers, removes one that is gone for good, and
  hands the leadership to another one.
"""


def run(argv: list[str]) -> int:
    raise ShowHelp
