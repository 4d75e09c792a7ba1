"""`operator`: tools for those who run the servers."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import SettingsError, ShowHelp
from cli.base.flags import FlagError, HelpWanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.client import Client
    from cli.base.flags import FlagSet
    from cli.base.http import AgentFlags

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


def parse_and_connect(flags: FlagSet, agent: AgentFlags, argv: list[str]) -> Client | int:
    """A client, or the exit status when the command ends here.

    The operator commands of Consul word these failures in their own way, and take -h among their flags for
    success."""
    try:
        flags.parse(argv)
    except HelpWanted as wanted:
        wanted.report()
        return 0
    except FlagError as error:
        error.report()
        ui.error(f"Failed to parse args: {error}")
        return 1
    try:
        return agent.client()
    except SettingsError as error:
        ui.error(f"Error initializing client: {error}")
        return 1
