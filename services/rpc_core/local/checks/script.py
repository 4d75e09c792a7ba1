"""Script checks: a program's exit code is the status (0 passing, 1 warning, else critical), its output the output.

The program leads a process group of its own, which is killed when it takes too long or the check is removed. A
program has ended when its output has: one that leaves something running in the background has not."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from collections.abc import Sequence

import trio

from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.periodic import Result
from shared.gotext.durations import format_duration_ns
from shared.gotext.quoting import quote
from shared.log import TRACE, get_logger
from shared.structs.catalog import CRITICAL, PASSING, WARNING
from shared.structs.proxy import CheckType

_log = get_logger("agent")

DEFAULT_TIMEOUT_NS = 30_000_000_000
READ_BYTES = 65536
_STATUSES = {0: PASSING, 1: WARNING}
_OURS = ("PROCONSUL_", "NOTIFY_SOCKET", "WATCHDOG_")
"""Variables by which our processes find each other; scripts get the rest of the environment."""


class ScriptProbe:
    """Runs the program of one check."""

    def __init__(self, check: CheckType, output_bytes: int) -> None:
        self._check_id = check.check_id
        self._arguments = list(check.script_args or ())
        self._timeout_ns = check.timeout if check.timeout > 0 else DEFAULT_TIMEOUT_NS
        self._output_bytes = output_bytes

    async def __call__(self) -> Result:
        output = OutputBuffer(self._output_bytes)
        try:
            process = await _start(self._arguments)
        except _StartError as error:
            _log.error("Check failed to invoke", check=self._check_id, error=str(error))
            return Result(CRITICAL, str(error), final=True)
        ended = False
        try:
            with trio.move_on_after(self._timeout_ns / 1e9):
                assert process.stdout is not None
                async for chunk in process.stdout:
                    output.write(chunk)
                code = await process.wait()
                ended = True
                return Result(_STATUSES.get(code, CRITICAL), self._shown(output))
        finally:
            if not ended:
                await _end(process)
        timeout = format_duration_ns(self._timeout_ns)
        _log.warn("Timed out running check", check=self._check_id, timeout=timeout)
        text = self._shown(output)
        message = f"Timed out ({timeout}) running check"
        return Result(CRITICAL, f"{message}\n\n{text}" if text else message, final=True)

    def _shown(self, output: OutputBuffer) -> str:
        text = output.text_and_loss()
        if _log.enabled(TRACE):
            _log.trace("Check output", check=self._check_id, output=text)
        return text


class _StartError(Exception):
    """The program could not be started; the text is the check's output."""


async def _start(arguments: Sequence[str]) -> trio.Process:
    """Raises _StartError."""
    program = arguments[0]
    path = program if "/" in program or not program else find_program(program)
    if path is None:
        raise _StartError(f"exec: {quote(program)}: executable file not found in $PATH")
    if not path:
        raise _StartError("fork/exec : no such file or directory")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    try:
        return await trio.lowlevel.open_process(
            [os.fsencode(argument) for argument in arguments],
            executable=os.fsencode(path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,
        )
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
    except ValueError:  # a zero byte
        reason = "invalid argument"
    raise _StartError(f"fork/exec {path}: {reason}")


def find_program(name: str) -> str | None:
    """Where on the search path a program is, None if it is not."""
    for directory in os.get_exec_path():
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError, ValueError):
            mode = os.stat(path).st_mode
            if not stat.S_ISDIR(mode) and mode & 0o111:
                return path
    return None


async def _end(process: trio.Process) -> None:
    """Kills the group and takes the program's exit code, so that no two runs ever overlap. The program must not have
    been waited for: its number would be anybody's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()
        if process.stdout is not None:
            await process.stdout.aclose()
