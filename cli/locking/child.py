"""The program that runs while a lock is held: started in a shell or directly, its end told in the words of Go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_SHELL = "/bin/sh"


class StartError(Exception):
    """The program cannot be started. The text is what Go says."""


def shell_command(script: str) -> list[str]:
    """What runs a script in the user's shell."""
    return [os.environ.get("SHELL") or DEFAULT_SHELL, "-c", script]


class Child:
    """A running program. on_exit(what was wrong, "" if nothing) is called in another thread when it has ended.

    Raises StartError."""

    def __init__(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str],
        pass_stdin: bool,
        on_exit: Callable[[str], None],
    ) -> None:
        if "/" not in command[0] and shutil.which(command[0]) is None:
            raise StartError(f'exec: "{command[0]}": executable file not found in $PATH')
        try:
            self._process = subprocess.Popen(
                command,
                stdin=None if pass_stdin else subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        except OSError as error:
            raise StartError(f"fork/exec {command[0]}: {os.strerror(error.errno or 0).lower()}") from None
        self._on_exit = on_exit
        self._waiter = threading.Thread(target=self._wait, name="wait for child", daemon=True)
        self._waiter.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        """Raises OSError. One that has ended already is left alone."""
        self._process.send_signal(number)

    def wait_end(self, timeout_s: float) -> None:
        """Until it has ended and that was told, at most this long."""
        self._waiter.join(timeout_s)

    def _wait(self) -> None:
        self._on_exit(describe_exit(self._process.wait()))


def describe_exit(status: int) -> str:
    """What Go calls an exit status (negative: died of that signal), "" for success."""
    if status >= 0:
        return f"exit status {status}" if status else ""
    name = signal.strsignal(-status)
    return f"signal: {name.lower()}" if name else f"signal: signal {-status}"
