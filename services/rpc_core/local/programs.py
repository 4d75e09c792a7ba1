"""Programs that the agent runs for checks, watches and remote execution: found, started, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import trio

from shared.gotext.processes import StartError

_OURS = ("PROCONSUL_", "NOTIFY_SOCKET", "WATCHDOG_")
"""Variables by which our processes find each other; programs get the rest of the environment."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


def shell() -> str:
    """What runs a command line."""
    return os.environ.get("SHELL") or "/bin/sh"


async def start(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    variables: Mapping[str, str] = _NOTHING,
    own_group: bool = True,
) -> trio.Process:
    """Start a program whose output of both kinds is a pipe. command: it and its arguments; without a slash it is
    looked for on the search path. variables: added to the environment. own_group: it leads a process group, which
    `end` kills as a whole. Raises StartError."""
    program = command[0]
    path = program if "/" in program or not program else find_program(program)
    if path is None:
        raise StartError.not_found(program)
    if not path:
        raise StartError("fork/exec : no such file or directory")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    try:
        return await trio.lowlevel.open_process(
            [os.fsencode(argument) for argument in command],
            executable=os.fsencode(path),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, **variables},
            process_group=0 if own_group else None,
        )
    except (OSError, ValueError) as error:
        raise StartError.refused(path, error) from None


def find_program(name: str) -> str | None:
    """Where on the search path a program is, None if it is not."""
    for directory in os.get_exec_path():
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError, ValueError):
            mode = os.stat(path).st_mode
            if not stat.S_ISDIR(mode) and mode & 0o111:
                return path
    return None


async def end(process: trio.Process) -> None:
    """Kills the group and takes the program's exit code, so that no two runs ever overlap. The program must not have
    been waited for: its number would be anybody's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
