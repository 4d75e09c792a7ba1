"""`component`: run one component in the foreground, as service managers do."""

from __future__ import annotations

import os
import sys

from cli.base import ui
from cli.base.flags import FlagSet, StringFlag
from cli.base.usage import usage
from shared.memory import MALLOC_ENVIRONMENT

NAME = "component"
SYNOPSIS = "Run one component of an agent in the foreground"
COMPONENTS = ("raft_node", "gossip", "rpc_core", "dns_frontend", "http_gateway", "supervisor")
BAD_USAGE_STATUS = 1


class Flags(FlagSet):
    def __init__(self) -> None:
        self.config = StringFlag("config", "The agent's written configuration: `FILE` agent.json in its run directory.")


def HELP() -> str:
    return usage(
        f"""
Usage: proconsul component NAME -config FILE

  Runs one component of an agent as this process, for systemd, supervisord or a
  second terminal. It reports its readiness to NOTIFY_SOCKET and logs to
  standard error. NAME is one of
  {", ".join(COMPONENTS)}.

  `proconsul agent` starts them all and writes the configuration; with the
  option -prepare-only it does just the latter.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    """Does not return when all is well: the process becomes the component."""
    flags = Flags()
    if not argv or argv[0].startswith("-"):
        ui.error(f"The component's name is missing: one of {', '.join(COMPONENTS)}")
        return BAD_USAGE_STATUS
    name, *rest = argv
    if name not in COMPONENTS:
        ui.error(f"There is no component {name!r}: choose one of {', '.join(COMPONENTS)}")
        return BAD_USAGE_STATUS
    extra = flags.parse(rest)
    if extra or not flags.config.value:
        ui.error(f"Unexpected arguments: {' '.join(extra)}" if extra else "The option -config is missing")
        return BAD_USAGE_STATUS
    command = [sys.executable, "-P", "-m", f"services.{name}", "--config", flags.config.value]
    return os.execve(sys.executable, command, {**MALLOC_ENVIRONMENT, **os.environ})
