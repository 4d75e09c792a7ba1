"""`watch`: show what is there now, or run a program with it at every change."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, ListFlag, StringFlag
from cli.base.http import QueryFlags
from cli.base.programs import shell_command, start
from cli.base.usage import usage
from shared.gotext.durations import format_duration_ns
from shared.gotext.numbers import parse_bool
from shared.gotext.processes import StartError, exit_text
from shared.structs import gojson
from shared.watch_plan import Answer, Plan, Progress, WatchError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from cli.base.client import Client

NAME = "watch"
SYNOPSIS = "Show or follow changes"

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOT_HERE = ("connect_", "agent_")
"""Types that only agents run."""


class Flags(FlagSet):
    def __init__(self) -> None:
        self.key = StringFlag("key", "Key to watch, with the type key.")
        self.name = StringFlag("name", "Only events of this name, with the type event.")
        self.passing_only = StringFlag(
            "passingonly", "Whether to show only instances that pass all checks: `true|false`. With the type service."
        )
        self.prefix = StringFlag("prefix", "Watch all keys that begin with this, with the type keyprefix.")
        self.service = StringFlag("service", "Service to watch, with the type service, or checks if wanted.")
        self.shell = BoolFlag("shell", "Run the program in a shell, by default the one that SHELL names.", True)
        self.state = StringFlag("state", "Only checks in this state, with the type checks.")
        self.tag = ListFlag("tag", "Only instances with this tag, with the type service. May be repeated.")
        self.type = StringFlag("type", "What to watch: key, keyprefix, services, nodes, service, checks or event.")
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul watch [options] [child...]

  Shows what a query finds, once. With a program to run, goes on watching: the
  program gets the new data on its standard input, as JSON, at the beginning and
  at every change.

  The type of watch has to be said; what else depends on it.
""",
        Flags(),
    )


class _Interrupted(BaseException):
    """SIGINT or SIGTERM: the user has seen enough."""


def run(argv: list[str]) -> int:
    flags = Flags()
    child = flags.parse(argv)
    if not flags.type.value:
        for text in ("Watch type must be specified", "", HELP()):
            ui.error(text)
        return 1
    client = flags.agent.client()
    try:
        plan = _plan(flags)
    except WatchError as error:
        ui.error(str(error))
        return 1
    if plan.kind.startswith(_NOT_HERE):
        ui.error(f"Type {plan.kind} is not supported in the CLI tool")
        return 1
    try:
        client.node_name()
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return _follow(client, plan, flags, child)
    except _Interrupted:
        return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interrupted


def _plan(flags: Flags) -> Plan:
    """Raises WatchError."""
    given: dict[str, Any] = {
        "type": flags.type.value,
        "datacenter": flags.agent.datacenter.value or "",
        "key": flags.key.value,
        "prefix": flags.prefix.value,
        "service": flags.service.value,
        "tag": flags.tag.value,
        "state": flags.state.value,
        "name": flags.name.value,
        "stale": bool(flags.agent.stale.value),
    }
    parameters = {name: value for name, value in given.items() if value}
    if flags.passing_only.value:
        try:
            parameters["passingonly"] = parse_bool(flags.passing_only.value)
        except ValueError as error:
            raise WatchError(f"Failed to parse passingonly flag: {error}") from None
    return parse(parameters)


def _follow(client: Client, plan: Plan, flags: Flags, child: list[str]) -> int:
    progress = Progress(plan)
    while True:
        try:
            change = progress.take(_ask(client, progress))
        except (ApiError, WatchError) as error:
            _wait(plan, str(error), progress.fail())
            continue
        if change is None:
            continue
        index, data = change
        if not child:
            ui.output(gojson.dumps_indent(data, "    "))
            return 0
        if complaint := _run_child(child, flags.shell.value, index, data):
            ui.error(complaint)
            return 1


def _ask(client: Client, progress: Progress) -> Answer:
    request = progress.request()
    response = client.request("GET", request.path, request.parameters)
    return Answer(response.status, response.headers, response.read())


def _wait(plan: Plan, error: str, seconds: float) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    retry = format_duration_ns(int(seconds * 1e9))
    ui.error(f'{stamp} [ERROR] watch.watch: Watch errored: type={plan.kind} error="{error}" retry={retry}')
    time.sleep(seconds)


def _run_child(child: list[str], in_shell: bool, index: int, data: Any) -> str:
    """What went wrong, "" if nothing. A signal that ends us reaches the child, too."""
    command = shell_command(" ".join(child)) if in_shell else child
    try:
        process = start(command, {"CONSUL_INDEX": str(index)}, subprocess.PIPE)
    except StartError as error:
        return f"Error starting handler: {error}"
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(gojson.dumps(data) + b"\n")
        code = process.wait()
    except _Interrupted:
        process.terminate()
        raise
    problem = exit_text(code)
    return f"Error executing handler: {problem}" if problem else ""
