"""`monitor`: follow the agent's log, at any level, until interrupted or the agent ends."""

from __future__ import annotations

import signal

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, StringFlag
from cli.base.http import AgentFlags
from cli.base.usage import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

NAME = "monitor"
SYNOPSIS = "Follow the log of the agent"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.log_json = BoolFlag("log-json", "One JSON object per line instead of text.")
        self.log_level = StringFlag("log-level", "Least severe level to show.", "INFO")
        self.agent = AgentFlags()


class _Interrupted(BaseException):
    """SIGINT or SIGTERM: the user has seen enough."""


def HELP() -> str:
    return usage(
        """
Usage: proconsul monitor [options]

  Shows log messages of the agent as they occur. The level is chosen here, so
  debug messages can be had from an agent which does not write them to its own
  log.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    client = flags.agent.client()
    params = {"loglevel": flags.log_level.value} if flags.log_level.value else {}
    kind = "monitor"
    if flags.log_json.value:
        params["logjson"] = "true"
        kind = "JSON monitor"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        for line in client.stream_lines("/v1/agent/monitor", params):
            ui.output(line or b" ", flush=True)
    except ApiError as error:
        ui.error(f"Error starting {kind}: {error}")
        return 1
    except _Interrupted:
        return 0
    ui.output("\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.")
    return 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interrupted
