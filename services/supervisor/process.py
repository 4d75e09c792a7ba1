"""One operating-system process of a component: how it is started, watched, told things and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgpack
import trio

from shared import log
from shared.memory import MALLOC_ENVIRONMENT
from shared.notify import NOTIFY_SOCKET_VARIABLE
from shared.service import START_FD_VARIABLE, SUPERVISOR_PID_VARIABLE

WATCHDOG_S = 30.0
"""A component that does not say WATCHDOG=1 for so long hangs, and is killed."""

_READ_BYTES = 65536
_OUTPUT_LINE_MAX = 4096


def service_command(component: str, config_path: str) -> list[str]:
    """-P: a directory named `services` below the working directory is not ours."""
    return [sys.executable, "-P", "-m", f"services.{component}", "--config", config_path]


class ComponentProcess:
    """Started by the constructor. Its start gate is closed until `open_gate`."""

    def __init__(self, component: str, command: Sequence[str], notify_path: str, log_level: int) -> None:
        """Raises OSError when the process cannot be created."""
        self.component = component
        self.last_output = ""
        """The last line it wrote to stdout or stderr: what it died of, if it died before it could log."""
        self.returncode: int | None = None
        self._log, theirs = socket.socketpair()
        gate_read, self._gate = os.pipe2(os.O_CLOEXEC)
        self._output, output_write = os.pipe2(os.O_CLOEXEC)
        self._log.setblocking(False)
        os.set_blocking(self._output, False)
        environment = {
            **MALLOC_ENVIRONMENT,
            **os.environ,
            NOTIFY_SOCKET_VARIABLE: notify_path,
            log.LOG_FD_VARIABLE: str(theirs.fileno()),
            START_FD_VARIABLE: str(gate_read),
            SUPERVISOR_PID_VARIABLE: str(os.getpid()),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000)),
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("WATCHDOG_PID", None)
        try:
            # Not trio's open_process: that forks in a thread, and a parent-death signal is bound to the thread
            # that forked. A process group of its own keeps the terminal's Ctrl-C to the supervisor.
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output_write,
                stderr=output_write,
                pass_fds=(theirs.fileno(), gate_read),
                env=environment,
                process_group=0,
            )
        except OSError:
            self._log.close()
            os.close(self._gate)
            os.close(self._output)
            raise
        finally:
            theirs.close()
            os.close(gate_read)
            os.close(output_write)
        self.pid = self._popen.pid
        self._pidfd = os.pidfd_open(self.pid)
        self.set_log_level(log_level)

    def open_gate(self) -> None:
        """Let it pass `ctx.wait_turn()`. May be called again."""
        if self._gate >= 0:
            with contextlib.suppress(OSError):
                os.write(self._gate, b"1")
            os.close(self._gate)
            self._gate = -1

    def set_log_level(self, level: int) -> None:
        with contextlib.suppress(OSError):  # gone, or so far behind with reading that it will not miss this one
            self._log.send(msgpack.packb(level))

    def signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def watch(self, on_record: Callable[[log.Record], None]) -> int:
        """Passes its log records and output on until it has ended and both are read to the end.

        Returns the exit code, negative for a signal, as subprocess does."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_log, on_record)
                nursery.start_soon(self._read_output)
                await trio.lowlevel.wait_readable(self._pidfd)
                self.returncode = self._popen.wait()
                # A grandchild may hold the pipe open for ever; what the process itself wrote is there already.
                nursery.cancel_scope.deadline = trio.current_time() + 0.2
        finally:
            self._close()
        return self.returncode

    async def _read_log(self, on_record: Callable[[log.Record], None]) -> None:
        reader = log.RecordReader()
        while True:
            await trio.lowlevel.wait_readable(self._log)
            try:
                data = self._log.recv(_READ_BYTES)
            except OSError:
                return
            if not data:
                return
            try:
                for record in reader.feed(data):
                    on_record(record)
            except ValueError as error:
                log.get_logger("agent").error("log stream damaged", component=self.component, error=error)
                return

    async def _read_output(self) -> None:
        """What a component prints is not meant to be there (an interpreter's last words): it becomes warnings."""
        logger = log.get_logger("agent")
        rest = b""
        while True:
            await trio.lowlevel.wait_readable(self._output)
            data = os.read(self._output, _READ_BYTES)
            *lines, rest = (rest + data).split(b"\n")
            if not data or len(rest) > _OUTPUT_LINE_MAX:
                lines, rest = [*lines, rest], b""
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()[:_OUTPUT_LINE_MAX]
                if text:
                    self.last_output = text
                    logger.warn("component output", component=self.component, line=text)
            if not data:
                return

    def _close(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
        self._log.close()
        os.close(self._output)
        os.close(self._pidfd)
        if self.returncode is None:  # cancelled: the caller has killed it or is about to exit
            self._popen.kill()
            self.returncode = self._popen.wait()


def describe_exit(returncode: int) -> str:
    """0 -> "exit code 0", -9 -> "signal: killed" in words of Go's os/exec."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        name = signal.strsignal(-returncode) or str(-returncode)
    except ValueError:
        name = str(-returncode)
    return f"signal: {name.lower()}"
