"""The program that runs while a lock is held: started in a shell or directly, its end told in the words of Go."""

from __future__ import annotations

import subprocess
import threading

from cli.base.programs import start
from shared.gotext.processes import exit_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
        self._process = start(command, environment, None if pass_stdin else subprocess.DEVNULL)
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
        self._on_exit(exit_text(self._process.wait()))
