"""A component: keeps one process of it running, remembers its state, starts it again when it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import trio

from services.supervisor.backoff import Backoff
from services.supervisor.process import WATCHDOG_S, ComponentProcess, describe_exit
from shared.log import Record, get_logger
from shared.service import RELOAD_ERROR_FIELD, START_ERROR_FIELD

START_TIMEOUT_S = 90.0
"""A process that gives no sign of life for so long after its start hangs (a rebuild of the state store does)."""

_log = get_logger("agent")


class State(StrEnum):
    WAITING = "waiting"
    """Started, but its stage is not due yet."""
    STARTING = "starting"
    RUNNING = "running"
    RELOADING = "reloading"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    """Could not start, and the agent's start ended with it."""


@dataclass(slots=True)
class Wiring:
    """What a component needs of the supervisor."""

    command: list[str]
    notify_path: str
    log_level: Callable[[], int]
    on_record: Callable[[Record], None]
    on_exit: Callable[[], None]
    """Called when a process ended, before its end is judged: last words may wait in the notify socket."""
    on_ready: Callable[[str], None] = field(default=lambda _name: None)


class Component:
    """`await run()` lasts until `stop()`, or until the process fails to become READY while `is_first_start`."""

    def __init__(self, name: str, wiring: Wiring) -> None:
        self.name = name
        self.state = State.STOPPED
        self.status = ""
        self.restarts = 0
        self.started_at = 0.0
        self.last_pid = 0
        """Pid of the latest process: its last notifications may be read after its end."""
        self.is_first_start = True
        """While the agent starts, a failure is final: port in use, bad file. Later it is a crash to recover from."""
        self.failure: str | None = None
        self.ready = trio.Event()
        self.ended = trio.Event()
        """Set when `run` has returned."""
        self._wiring = wiring
        self._process: ComponentProcess | None = None
        self._process_ended = trio.Event()
        self._backoff = Backoff()
        self._released = False
        self._ready_at = 0.0
        self._alive_until = 0.0
        self._start_error = ""
        self._reload_error = ""
        self._restart_wanted = False
        self._restart_now = trio.Event()
        self._reloaded = trio.Event()
        self._spawned = trio.Event()
        """Set when the next process starts, then replaced."""

    @property
    def pid(self) -> int:
        """Pid of the living process, 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    async def run(self) -> None:
        try:
            while self.state is not State.STOPPING and await self._run_once():
                self.restarts += 1
        finally:
            self.ended.set()

    def release(self) -> None:
        """Its stage is due: open the start gate, of this process and of every one to come."""
        self._released = True
        if self._process is not None:
            self.state = State.STARTING if self.state is State.WAITING else self.state
            self._alive_until = trio.current_time() + START_TIMEOUT_S
            self._process.open_gate()

    async def wait_decided(self) -> None:
        """Until it is READY or has ended for good."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, self.ended, nursery.cancel_scope)
            await self.ready.wait()
            nursery.cancel_scope.cancel()

    async def restart(self, grace_s: float, ready_timeout_s: float) -> None:
        """Stop the process and wait until the next one is READY. Raises trio.TooSlowError after the timeout."""
        self._restart_wanted = True
        successor = self._spawned
        self._restart_now.set()
        if self._process is not None:
            await self._end_process(grace_s)
        with trio.fail_after(ready_timeout_s):
            await successor.wait()
            await self.ready.wait()

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, after `grace_s` SIGKILL; returns when the process has gone."""
        self.state = State.STOPPING
        self._restart_now.set()
        if self._process is not None:
            await self._end_process(grace_s)
        await self.ended.wait()

    def kill(self) -> None:
        self.state = State.STOPPING
        self._restart_now.set()
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def reload(self) -> str:
        """SIGHUP, then wait until it is READY again (or has ended: its successor reads the new file anyway).

        Why it refuses the new configuration, "" if it does not."""
        if self._process is None or not self.ready.is_set():
            return ""
        self._reloaded = trio.Event()
        self._reload_error = ""
        self._process.signal(signal.SIGHUP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, self._process_ended, nursery.cancel_scope)
            await self._reloaded.wait()
            nursery.cancel_scope.cancel()
        return self._reload_error.replace("\x1f", "\n")

    def set_log_level(self, level: int) -> None:
        if self._process is not None:
            self._process.set_log_level(level)

    def notified(self, fields: dict[str, str]) -> None:
        """A notification of this component's process (sd_notify fields)."""
        now = trio.current_time()
        # Before it is READY it may be busy for long without a turn of its event loop: replaying a log, say.
        self._alive_until = max(self._alive_until, now + (WATCHDOG_S if self.ready.is_set() else START_TIMEOUT_S))
        if "EXTEND_TIMEOUT_USEC" in fields and fields["EXTEND_TIMEOUT_USEC"].isdigit():
            self._alive_until = max(self._alive_until, now + int(fields["EXTEND_TIMEOUT_USEC"]) / 1_000_000)
        self.status = fields.get("STATUS", self.status)
        self._start_error = fields.get(START_ERROR_FIELD, self._start_error)
        self._reload_error = fields.get(RELOAD_ERROR_FIELD, self._reload_error)
        if self.state is State.STOPPING:
            return
        if "RELOADING" in fields:
            self.state = State.RELOADING
        if "READY" in fields:
            self.state = State.RUNNING
            self._reloaded.set()
            if not self.ready.is_set():
                self._ready_at, self._alive_until = now, now + WATCHDOG_S
                self.ready.set()
                self._wiring.on_ready(self.name)

    def check_alive(self, now: float) -> None:
        """Kill a process that has hung for longer than it may; `run` starts the next one."""
        if self._process is None or now <= self._alive_until or self.state in (State.STOPPING, State.WAITING):
            return
        _log.error("component does not respond, killing it", component=self.name, pid=self.pid)
        self._process.signal(signal.SIGKILL)
        self._alive_until = now + WATCHDOG_S

    def grant_time(self, now: float) -> None:
        """The whole machine stood still (suspend, SIGSTOP): nobody could have said anything."""
        self._alive_until = max(self._alive_until, now + WATCHDOG_S)

    async def _run_once(self) -> bool:
        """One process from start to end. True when there shall be another."""
        how = await self._run_process()
        if self.state is State.STOPPING:
            self.state = State.STOPPED
            return False
        if self._restart_wanted:
            _log.info("component stopped for a restart", component=self.name, status=how)
            return True
        if self.is_first_start:
            self.state = State.FAILED
            return False
        served_s = trio.current_time() - self._ready_at if self._ready_at else 0.0
        delay_s = self._backoff.delay_s(served_s)
        details = {"error": self.failure} if self.failure else {}
        _log.error("component ended, restarting it", component=self.name, status=how, delay=f"{delay_s:g}s", **details)
        self.state = State.BACKOFF
        self._restart_now = trio.Event()
        with trio.move_on_after(delay_s):
            await self._restart_now.wait()
        if self.state is State.STOPPING:  # mypy: `stop` may have run meanwhile
            self.state = State.STOPPED
            return False
        return True

    async def _run_process(self) -> str:
        """Start a process and wait for its end; how it ended, in words. `failure` says why, if it did not start."""
        if self.ready.is_set():
            self.ready = trio.Event()
        self._process_ended = trio.Event()
        self._ready_at, self._start_error, self.failure = 0.0, "", None
        self.started_at = trio.current_time()
        self._alive_until = self.started_at + START_TIMEOUT_S
        self._restart_wanted = False
        self._spawned.set()
        self._spawned = trio.Event()
        wiring = self._wiring
        try:
            process = ComponentProcess(self.name, wiring.command, wiring.notify_path, wiring.log_level())
        except OSError as error:
            self.failure = f"cannot start {self.name}: {os.strerror(error.errno or 0)}"
            return "not started"
        self._process, self.last_pid = process, process.pid
        self.state = State.STARTING if self._released else State.WAITING
        if self._released:
            process.open_gate()
        try:
            how = describe_exit(await process.watch(wiring.on_record))
        finally:
            self._process = None
            self.status = ""
            self._process_ended.set()
        wiring.on_exit()
        if self._start_error:
            self.failure = self._start_error.replace("\x1f", "\n")
        elif not self.ready.is_set():
            words = f": {process.last_output}" if process.last_output else ""
            self.failure = f"{self.name} ended before it was ready ({how}){words}"
        return how

    async def _end_process(self, grace_s: float) -> None:
        process, ended = self._process, self._process_ended
        assert process is not None
        process.signal(signal.SIGTERM)
        with trio.move_on_after(grace_s):
            await ended.wait()
            return
        _log.warn("component did not stop in time, killing it", component=self.name, pid=process.pid)
        process.signal(signal.SIGKILL)
        await ended.wait()


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
