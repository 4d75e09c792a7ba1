"""`lock`: run a program while holding a lock or a place of a semaphore."""

from __future__ import annotations

import queue
import signal
import threading
import time

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, DurationFlag, FlagSet, IntFlag, StringFlag
from cli.base.http import QueryFlags
from cli.base.programs import shell_command
from cli.base.usage import usage
from cli.locking.child import Child
from cli.locking.contender import InUseError, LockError
from cli.locking.kv import join
from cli.locking.mutex import Mutex
from cli.locking.semaphore import KEY, Semaphore
from cli.locking.stop import Stop
from shared.gotext.processes import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

    Event = tuple[str, int | str]

NAME = "lock"
SYNOPSIS = "Run a command while holding a lock"

KILL_GRACE_S = 5.0
"""Between SIGTERM and SIGKILL. Shorter than the default lock-delay, during which nobody else gets the lock."""
KILL_S = 2.0
MONITOR_RETRIES = 3
MONITOR_RETRY_S = 1.0
CHILD_FAILED = 2


class _OldName(DurationFlag):
    """A former name of another flag: the last one given counts."""

    def __init__(self, name: str, usage: str, now: DurationFlag) -> None:
        super().__init__(name, usage)
        self._now = now

    def set(self, text: str) -> None:
        self._now.set(text)


class Flags(FlagSet):
    def __init__(self) -> None:
        self.child_exit_code = BoolFlag(
            "child-exit-code", "Exit with status 2 if the command ended with an error; otherwise that is no error."
        )
        self.monitor_retry = IntFlag(
            "monitor-retry",
            "How often, one second apart, the lock is looked at again when the agent or its servers cannot say "
            "whether we still hold it. With 0 the lock counts as lost at once.",
            MONITOR_RETRIES,
        )
        self.n = IntFlag("n", "How many may hold it at the same time. With more than one it is a semaphore.", 1)
        self.name = StringFlag("name", "Name of the session that holds the lock. Made from the command by default.")
        self.pass_stdin = BoolFlag("pass-stdin", "Give our standard input to the command.")
        self.shell = BoolFlag("shell", "Run the command in a shell, the one of $SHELL if it is set.", True)
        self.timeout = DurationFlag("timeout", "Give up if the lock could not be had in this time, such as 10s or 3h.")
        self.try_ = _OldName("try", "The former name of -timeout.", self.timeout)
        self.verbose = BoolFlag("verbose", "Tell what is being done.")
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul lock [options] prefix child...

  Waits for a lock below the prefix of the KV store and runs a command while
  holding it. If the lock is lost, for which a lost connection to the agent is
  reason enough, the command gets a SIGTERM and, five seconds later, a SIGKILL.

  With -n several may hold it at the same time, as many as all of them agree on.
  The environment variable CONSUL_LOCK_HELD is "true" for the command. Keys can
  be written below the prefix only by those who may.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    if complaint := _complaint(flags, arguments):
        ui.error(complaint)
        return 1
    client = flags.agent.client()
    try:
        client.node_name()
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1
    return _Run(flags, arguments[0].removeprefix("/"), arguments[1:]).run()


def _complaint(flags: Flags, arguments: list[str]) -> str:
    if flags.n.value <= 0:
        return "Lock holder limit must be positive"
    if len(arguments) < 2:
        return "Key prefix and child command must be specified"
    if flags.timeout.value < 0:
        return "Timeout must be positive"
    if flags.monitor_retry.value < 0:
        return "Number for 'monitor-retry' must be >= 0"
    return ""


class _Run:
    """One lock, from the wait for it to its end. The main thread decides; others only report what happened."""

    def __init__(self, flags: Flags, prefix: str, command: list[str]) -> None:
        self._flags, self._prefix, self._command = flags, prefix, command
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._stop = Stop()
        self._child: Child | None = None

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            lock = self._set_up()
        except LockError as error:
            ui.error(f"Lock setup failed: {error}")
            return 1
        self._tell("Attempting lock acquisition")
        try:
            held = lock.acquire(self._stop)
        except LockError as error:
            ui.error(f"Lock acquisition failed: {error}")
            return 1
        if not held:
            ui.error("Shutdown triggered or timeout during lock acquisition")
            return 1
        threading.Thread(target=self._watch, args=(lock,), name="watch lock", daemon=True).start()
        failed = False
        if self._stop.requested:
            ui.error("Shutdown triggered during lock acquisition")
        else:
            failed = self._run_child()
        if not self._give_back(lock):
            return 1
        return CHILD_FAILED if failed and self._flags.child_exit_code.value else 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(("signal", number))
        self._stop.request()

    def _tell(self, text: str) -> None:
        if self._flags.verbose.value:
            ui.output(text, flush=True)

    def _set_up(self) -> Mutex | Semaphore:
        """Raises LockError."""
        flags, prefix = self._flags, self._prefix
        name = flags.name.value or f"Consul lock for '{' '.join(self._command)}' at '{prefix}'"
        try_ns, retries = flags.timeout.value or None, flags.monitor_retry.value
        if flags.n.value == 1:
            # The same key as that of a semaphore at this prefix: who mixes the two gets to know it.
            key = join(prefix, KEY)
            self._tell(f"Setting up lock at path: {key}")
            return Mutex(flags.agent.client, key, name, try_ns=try_ns, retries=retries, retry_s=MONITOR_RETRY_S)
        self._tell(f"Setting up semaphore (limit {flags.n.value}) at prefix: {prefix}")
        return Semaphore(
            flags.agent.client, prefix, flags.n.value, name, try_ns=try_ns, retries=retries, retry_s=MONITOR_RETRY_S
        )

    def _watch(self, lock: Mutex | Semaphore) -> None:
        lock.watch()
        self._events.put(("lost", ""))

    def _run_child(self) -> bool:
        """Until the command has ended, by itself or because it had to; whether it failed by itself."""
        try:
            self._start_child()
        except StartError as error:
            ui.error(f"Error starting handler: {error}")
            self._tell("Child terminated, releasing lock")
            return True
        kind, detail = self._events.get()
        if kind == "exit":
            self._tell("Child terminated, releasing lock")
            return bool(detail)
        if kind == "signal":
            self._forward(int(detail))
            self._tell("Shutdown triggered, killing child")
        else:
            self._tell("Lock lost, killing child")
        self._kill_child()
        return False

    def _start_child(self) -> None:
        """Raises StartError."""
        self._tell("Starting handler")
        if self._flags.pass_stdin.value:
            self._tell("Stdin passed to handler process")
        command = shell_command(" ".join(self._command)) if self._flags.shell.value else self._command
        self._child = Child(
            command,
            environment={"CONSUL_LOCK_HELD": "true"},
            pass_stdin=self._flags.pass_stdin.value,
            on_exit=self._child_exited,
        )

    def _child_exited(self, wrong: str) -> None:
        if wrong:
            ui.error(f"Error running handler: {wrong}")
        self._events.put(("exit", wrong))

    def _forward(self, number: int) -> None:
        assert self._child is not None
        try:
            self._child.signal(number)
        except OSError as error:
            ui.error(f"Warning, could not forward signal: failed to send signal: {error}")

    def _kill_child(self) -> None:
        child = self._child
        assert child is not None
        self._tell(f"Terminating child pid {child.pid}")
        child.signal(signal.SIGTERM)
        deadline = time.monotonic() + KILL_GRACE_S
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                kind, detail = self._events.get(timeout=left_s)
            except queue.Empty:
                break
            if kind == "exit":
                self._tell("Child terminated")
                return
            if kind == "signal":
                self._forward(int(detail))
        self._tell(f"Child did not exit after grace period of {KILL_GRACE_S:.0f}s")
        self._tell(f"Killing child pid {child.pid}")
        child.signal(signal.SIGKILL)
        child.wait_end(KILL_S)  # nobody may get the lock while it still lives

    def _give_back(self, lock: Mutex | Semaphore) -> bool:
        """Release and clean up; False if that failed."""
        try:
            lock.release()
        except LockError as error:
            ui.error(f"Lock release failed: {error}")
            return False
        try:
            lock.destroy()
        except InUseError:
            self._tell("Cleanup aborted, lock in use")
        except LockError as error:
            ui.error(f"Lock cleanup failed: {error}")
            return False
        else:
            self._tell("Cleanup succeeded")
        return True
