"""Script checks: a program's exit code is the status (0 passing, 1 warning, else critical), its output the output.

The program leads a process group of its own, which is killed when it takes too long or the check is removed. A
program has ended when its output has: one that leaves something running in the background has not."""

from __future__ import annotations

import trio

from services.rpc_core.local import programs
from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.periodic import Result
from shared.gotext.durations import format_duration_ns
from shared.gotext.processes import StartError
from shared.log import TRACE, get_logger
from shared.structs.catalog import CRITICAL, PASSING, WARNING
from shared.structs.proxy import CheckType

_log = get_logger("agent")

DEFAULT_TIMEOUT_NS = 30_000_000_000
_STATUSES = {0: PASSING, 1: WARNING}


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
            process = await programs.start(self._arguments)
        except StartError as error:
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
                await programs.end(process)
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
