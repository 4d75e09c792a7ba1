"""`restart`: stop one component of the agent on this host and start it again, while the others go on."""

from __future__ import annotations

from cli.base import ui
from cli.base.usage import usage
from cli.local_agent import LocalAgentError, LocalFlags, ask

NAME = "restart"
SYNOPSIS = "Restart one component of the agent on this host"
TIMEOUT_S = 45.0
"""More than a component may take to stop and to get ready together: then the supervisor answers first."""


def HELP() -> str:
    return usage(
        """
Usage: proconsul restart [options] COMPONENT

  Restarts one component of the agent on this host and waits until it serves
  again. Requests that need it wait meanwhile. `proconsul ps` lists the
  components.
""",
        LocalFlags(),
    )


def run(argv: list[str]) -> int:
    flags = LocalFlags()
    arguments = flags.parse(argv)
    if len(arguments) != 1:
        ui.error(f"This command takes one argument, the component to restart (got {len(arguments)})")
        return 1
    component = arguments[0]
    try:
        answer = ask(flags.find_run_dir(), "Supervisor.Restart", {"component": component}, TIMEOUT_S)
    except LocalAgentError as error:
        ui.error(f"Error restarting {component}: {error}")
        return 1
    ui.output(f"Restarted {component}, now process {answer['pid']}")
    return 0
