"""`operator autopilot`: how the servers look after themselves."""

from __future__ import annotations

from cli.base.errors import ShowHelp

NAME = "operator autopilot"
SYNOPSIS = "Show and change the settings of Autopilot"
HELP = """
Usage: proconsul operator autopilot <subcommand> [options]

  Autopilot removes dead servers when new ones have joined, and lets new ones
  vote when they have been healthy for a while.
"""


def run(argv: list[str]) -> int:
    raise ShowHelp
