"""The life of one agent: start in stages, run until told to end, leave if asked to, stop in reverse."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable

import trio

from services.supervisor import departure, joining, plan
from services.supervisor.api import Api
from services.supervisor.component import Component, Wiring
from services.supervisor.console import Console
from services.supervisor.departure import SignalValue
from services.supervisor.hub import Hub
from services.supervisor.merge import Merge
from services.supervisor.process import service_command
from services.supervisor.reload import ReloadError, rebuild, with_reloadable
from shared import log, metrics, notify
from shared.config import runtime
from shared.config.runtime import RuntimeConfig
from shared.ipc import IpcError, Link

STOP_GRACE_S = 5.0
HURRIED_GRACE_S = 1.0
"""Grace of each component after a second signal."""
RESTART_READY_TIMEOUT_S = 30.0
RELOAD_TIMEOUT_S = 15.0
SYNC_START_TIMEOUT_S = 5.0
_HEALTH_PERIOD_S = 5.0
_SIBLINGS_S = 2.0
"""How long the others of a stage may take to succeed or fail after one failed: the failure Consul would name counts."""

CommandOf = Callable[[str, str], list[str]]
_log = log.get_logger("agent")


class AgentStartError(Exception):
    """The agent cannot start; the text is what follows "Error starting agent"."""


class Supervisor:
    """One agent. `command_of(component, config_path)` gives the command line of a component."""

    def __init__(
        self,
        config: RuntimeConfig,
        config_path: str,
        hub: Hub,
        console: Console,
        command_of: CommandOf = service_command,
    ) -> None:
        self.config = config
        self.config_path = config_path
        metrics.apply(config.telemetry)
        self.hub = hub
        self.records = Merge(hub.accept)
        """Where the records of all processes meet, this one's included."""
        self.ready_order: list[str] = []
        """Components in the order of their first READY."""
        self.started_at = 0.0
        self._console = console
        self._stages = plan.stages(config.server)
        self._notifications = notify.Receiver(f"{config.run_dir}/notify.sock")
        self.components = {
            name: Component(
                name,
                Wiring(
                    command=command_of(name, config_path),
                    notify_path=self._notifications.path,
                    log_level=lambda: hub.wanted_level,
                    on_record=self.records.accept,
                    on_exit=self._take_notifications,
                    on_ready=self._became_ready,
                ),
            )
            for stage in self._stages
            for name in stage
        }
        hub.on_wanted_level = self._set_log_level
        self._spawned = False
        self._start_failure: str | None = None
        self._running = False
        self._exit_code: int | None = None
        self._end_wanted = trio.Event()
        self._grace_s = STOP_GRACE_S
        self._leave_scope: trio.CancelScope | None = None
        self._reload_lock = trio.Lock()
        self._rpc = Link(config.socket_path("rpc"), name="supervisor")
        self._rpc.on_up(self._repeat_start_sync)

    async def run(self) -> int:
        """The whole life; returns the exit code of the agent."""
        self.started_at = trio.current_time()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
        try:
            with trio.open_signal_receiver(*signals) as received:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.records.run)
                    nursery.start_soon(self._console.run)
                    nursery.start_soon(self._handle_signals, received)
                    nursery.start_soon(self._receive_notifications)
                    nursery.start_soon(self._check_health)
                    nursery.start_soon(self._keep_own_watchdog)
                    code = await self._live(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            self._notifications.close()
        _log.info("Exit code", code=code)
        return code

    def request_shutdown(self, exit_code: int) -> None:
        """End the agent with this exit code. The first request decides."""
        if self._exit_code is None:
            self._exit_code = exit_code
            self._end_wanted.set()

    async def restart_component(self, name: str) -> None:
        """Raises KeyError for a component this agent has not, TooSlowError when it does not become ready."""
        await self.components[name].restart(STOP_GRACE_S, RESTART_READY_TIMEOUT_S)

    async def reload(self) -> None:
        """Read the configuration again and give the reloadable part of it to everyone. Raises ReloadError."""
        async with self._reload_lock:
            notify.notify_reloading()
            try:
                fresh = await rebuild(self.config_path)
                config = with_reloadable(self.config, fresh)
                await self._apply(config)
            finally:
                notify.notify("READY=1")

    async def _live(self, nursery: trio.Nursery) -> int:
        try:
            with trio.CancelScope() as start_scope:
                nursery.start_soon(_cancel_when, self._end_wanted, start_scope)
                await self._start(nursery)
                await self._join_clusters(nursery)
                await self._start_sync()
        except AgentStartError as error:
            if self._exit_code is None:
                self._start_failure = str(error)
                self.request_shutdown(departure.EXIT_NOT_LEFT)
        else:
            if self._exit_code is None:
                self._running = True
                await self.records.settle()
                if not self.config.log_json:
                    self._say("==> Consul agent running!")
                notify.notify("READY=1", f"MAINPID={os.getpid()}", "STATUS=Consul agent running")
        await self._end_wanted.wait()
        assert self._exit_code is not None
        await self._stop()
        return self._exit_code

    async def _start(self, nursery: trio.Nursery) -> None:
        """All processes at once, so that their imports overlap; their gates open stage by stage."""
        for name in ("agent", "agent.auto_config"):  # Consul builds its configuration twice and says so twice
            for warning in self.config.warnings:
                log.get_logger(name).warn(warning)
        self._write_pid_file()
        try:
            await nursery.start(Api(self).run)
            await nursery.start(self._rpc.run)
        except IpcError as error:
            raise AgentStartError(str(error)) from None
        self._spawned = True
        for component in self.components.values():
            nursery.start_soon(component.run)
        for stage in self._stages:
            for name in stage:
                self.components[name].release()
            await self._wait_stage(stage)
        for component in self.components.values():
            component.is_first_start = False

    async def _join_clusters(self, nursery: trio.Nursery) -> None:
        """An agent that cannot join what `start_join` names ends; `retry_join` goes on in the background."""
        try:
            await joining.join_once(self._rpc, self.config, self._say)
        except IpcError as error:
            _log.error(str(error))
            self.request_shutdown(departure.EXIT_NOT_LEFT)
            return
        for retry in joining.retries(self.config):
            nursery.start_soon(self._keep_joining, retry)

    async def _keep_joining(self, retry: joining.Retry) -> None:
        try:
            await joining.join_until_done(self._rpc, retry)
        except joining.RetriesExhaustedError as error:
            _log.error("Retry join failed", error=str(error))
            self.request_shutdown(departure.EXIT_NOT_LEFT)

    def _say(self, line: str) -> None:
        """A line for the console that is no log record, behind those that came before it."""
        self.records.flush()
        self._console.write(line + "\n")

    async def _start_sync(self) -> None:
        """The last step of the start: the agent has joined, now its data may go to the catalog. An rpc_core that
        takes the place of this one later gets to know it when the link comes up."""
        if self._exit_code is not None:
            return
        try:
            await self._rpc.call("Agent.StartSync", {}, timeout_s=SYNC_START_TIMEOUT_S)
        except IpcError as error:
            _log.warn("failed to start state syncer", error=str(error))

    def _repeat_start_sync(self) -> None:
        if self._running:
            self._rpc.notify("Agent.StartSync", {})

    async def _wait_stage(self, stage: tuple[str, ...]) -> None:
        """Until all of the stage are READY. A failure of any component ends the start."""
        async with trio.open_nursery() as nursery:
            failed = trio.Event()
            for component in self.components.values():
                nursery.start_soon(_relay, component.ended, failed)
            nursery.start_soon(_cancel_when, failed, nursery.cancel_scope)
            for name in stage:
                await self.components[name].ready.wait()
            nursery.cancel_scope.cancel()
        if not failed.is_set():
            return
        with trio.move_on_after(_SIBLINGS_S):
            for name in stage:
                await self.components[name].wait_decided()
        reasons = {name: c.failure for name, c in self.components.items() if c.failure is not None}
        if reasons:
            raise AgentStartError(reasons[plan.first_to_report(reasons)])
        ended = [name for name, component in self.components.items() if component.ended.is_set()]
        raise AgentStartError(f"{', '.join(ended)} ended during the start")

    async def _stop(self) -> None:
        notify.notify("STOPPING=1")
        if self._start_failure is not None:
            await self._stop_components()
            self._delete_pid_file()
            _log.error("Error starting agent", error=self._start_failure)  # the last word, where people look
            return
        _log.info("Requesting shutdown")
        await self._stop_components()
        _log.info("consul server down" if self.config.server else "consul client down")
        self._delete_pid_file()
        _log.info("shutdown complete")

    async def _stop_components(self) -> None:
        for name in plan.stop_order(self.config.server):
            if name == plan.ENDPOINTS[-1] and self._running:
                _log.info("Waiting for endpoints to shut down")
            component = self.components[name]
            if self._spawned and not component.ended.is_set():
                await component.stop(self._grace_s)
            if name == plan.ENDPOINTS[0] and self._running:
                _log.info("Endpoints down")

    # -- signals --------------------------------------------------------------------------------------------

    async def _handle_signals(self, received: AsyncIterator[int]) -> None:
        async with trio.open_nursery() as nursery:
            async for number in received:
                if number == signal.SIGHUP:
                    self._hangup(nursery)
                elif number == signal.SIGUSR1:
                    nursery.start_soon(self._print_measurements)
                elif self._end_wanted.is_set():
                    self._hurry()
                elif self._leave_scope is not None:
                    _log.info("Caught second signal, Exiting", signal=SignalValue(number))
                    self._leave_scope.cancel()
                    self._grace_s = HURRIED_GRACE_S
                    self.request_shutdown(departure.EXIT_NOT_LEFT)
                else:
                    self._told_to_end(number, nursery)

    def _hangup(self, nursery: trio.Nursery) -> None:
        if not self._running:
            error = "cannot reload before agent started"
            _log.error("Caught", signal=SignalValue(signal.SIGHUP), error=error)
            return
        _log.info("Caught", signal=SignalValue(signal.SIGHUP))
        nursery.start_soon(self._reload_and_log)

    async def _print_measurements(self) -> None:
        from services.supervisor import measurements

        report = await measurements.gather(self.config, self.components)
        self._console.write("".join(measurements.lines(report)))

    def _told_to_end(self, number: int, nursery: trio.Nursery) -> None:
        _log.info("Caught", signal=SignalValue(number))
        config = self.config
        if not self._running:
            self.request_shutdown(departure.EXIT_NOT_LEFT)
        elif departure.leaves_first(number, config.leave_on_terminate, config.skip_leave_on_interrupt):
            self._leave_scope = trio.CancelScope()
            nursery.start_soon(self._leave, self._leave_scope)
        else:
            _log.info("Graceful shutdown disabled. Exiting")
            self.request_shutdown(departure.EXIT_NOT_LEFT)

    def _hurry(self) -> None:
        """Somebody insists while components are being stopped."""
        for component in self.components.values():
            component.kill()

    async def _leave(self, scope: trio.CancelScope) -> None:
        _log.info("Gracefully shutting down agent...")
        code = departure.EXIT_NOT_LEFT
        with scope, trio.move_on_after(departure.LEAVE_TIMEOUT_S) as limit:
            try:
                await self._rpc.call("Agent.Leave", {}, timeout_s=departure.LEAVE_TIMEOUT_S + 1)
            except IpcError as error:
                _log.error("Error on leave", error=error)
            else:
                _log.info("Graceful exit completed")
                code = departure.EXIT_LEFT
        if limit.cancelled_caught:
            _log.info("Timeout on graceful leave. Exiting")
        self.request_shutdown(code)

    # -- reload ---------------------------------------------------------------------------------------------

    async def _reload_and_log(self) -> None:
        try:
            await self.reload()
        except ReloadError as error:
            _log.error("Reload config failed", error=str(error))

    async def _apply(self, config: RuntimeConfig) -> None:
        """Give it to everyone; if somebody refuses it, everyone gets the old one back. Raises ReloadError."""
        old = self.config
        try:
            refusal = await self._hand_out(config)
        except ReloadError as error:
            refusal = str(error)
        if refusal:
            with contextlib.suppress(ReloadError):
                await self._hand_out(old)
            raise ReloadError(refusal)

    async def _hand_out(self, config: RuntimeConfig) -> str:
        """Why somebody refuses it: the first of the components in the order of their start; "" for nobody."""
        try:
            runtime.dump(config, self.config_path)
        except OSError as error:
            raise ReloadError(f"cannot write {self.config_path}: {error.strerror}") from None
        self.config = config
        metrics.apply(config.telemetry)
        self.hub.set_level(log.parse_level(config.log_level))
        refusals: dict[str, str] = {}

        async def reload(name: str) -> None:
            refusals[name] = await self.components[name].reload()

        with trio.move_on_after(RELOAD_TIMEOUT_S) as limit:
            async with trio.open_nursery() as nursery:
                for name in self.components:
                    nursery.start_soon(reload, name)
        if limit.cancelled_caught:
            raise ReloadError(f"not all components took over the new configuration within {RELOAD_TIMEOUT_S:g}s")
        return next((refusals[name] for name in self.components if refusals.get(name)), "")

    # -- watching -------------------------------------------------------------------------------------------

    async def _receive_notifications(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._notifications.fileno())
            self._take_notifications()

    def _take_notifications(self) -> None:
        while (notification := self._notifications.receive()) is not None:
            for component in self.components.values():
                if component.last_pid == notification.pid:
                    component.notified(notification.fields)

    def _became_ready(self, name: str) -> None:
        if name not in self.ready_order:
            self.ready_order.append(name)

    async def _check_health(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(_HEALTH_PERIOD_S)
            now = trio.current_time()
            late = now - before > 2 * _HEALTH_PERIOD_S
            for component in self.components.values():
                if late:
                    component.grant_time(now)
                else:
                    component.check_alive(now)

    async def _keep_own_watchdog(self) -> None:
        interval_s = notify.watchdog_interval_s()
        while interval_s is not None:
            notify.notify("WATCHDOG=1")
            await trio.sleep(interval_s)

    def _set_log_level(self, level: int) -> None:
        log.set_level(level)
        for component in self.components.values():
            component.set_log_level(level)

    # -- pid file -------------------------------------------------------------------------------------------

    def _write_pid_file(self) -> None:
        if not self.config.pid_file:
            return
        try:
            with open(self.config.pid_file, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as error:
            reason = f"open {self.config.pid_file}: {(error.strerror or str(error)).lower()}"
            raise AgentStartError(f"Could not open pid file: {reason}") from None

    def _delete_pid_file(self) -> None:
        if not self.config.pid_file:
            return
        try:
            os.unlink(self.config.pid_file)
        except OSError as error:
            _log.warn("could not delete pid file", error=f"Could not remove pid file: {error.strerror}")


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _relay(event: trio.Event, to: trio.Event) -> None:
    await event.wait()
    to.set()
