"""supervisor.sock: what other processes of the agent and `proconsul ps` may ask of the supervisor.

Supervisor.Processes          -> [{component, pid, state, status, uptime_s, rss_bytes, pss_bytes, restarts}]
Supervisor.ReadyOrder         -> [component], in the order of their first READY
Supervisor.Restart {component}-> {pid}, when the new process is READY
Supervisor.Shutdown {exit_code, reason} -> nil, at once; the agent stops after it
Supervisor.Reload             -> nil, when every component has the new configuration
Supervisor.Monitor {level, json}  stream of log lines without newline
Metrics.Dump                  -> the supervisor's own part of /v1/agent/metrics"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio

from services.supervisor.hub import Monitor
from services.supervisor.memory import memory_bytes
from services.supervisor.reload import ReloadError
from shared import log, metrics
from shared.ipc import RemoteError, Request, Server
from shared.ipc.serving import Send

if TYPE_CHECKING:
    from services.supervisor.supervisor import Supervisor

_log = log.get_logger("agent")


class Api:
    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._server = Server(supervisor.config.socket_path("supervisor"), name="supervisor")
        self._server.fast("Supervisor.Processes", lambda request: request.reply(self._processes()))
        self._server.fast("Supervisor.ReadyOrder", lambda request: request.reply(supervisor.ready_order))
        self._server.fast("Supervisor.Shutdown", self._shutdown)
        self._server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
        self._server.slow("Supervisor.Restart", self._restart)
        self._server.slow("Supervisor.Reload", self._reload)
        self._server.stream("Supervisor.Monitor", self._monitor)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled. Raises SocketPathError when the socket cannot be bound."""
        await self._server.run(task_status=task_status)

    def _processes(self) -> list[dict[str, Any]]:
        now = trio.current_time()
        supervisor = self._supervisor
        rows = [_row("supervisor", os.getpid(), "running", "", now - supervisor.started_at, 0)]
        for component in supervisor.components.values():
            uptime_s = now - component.started_at if component.pid else 0.0
            rows.append(
                _row(component.name, component.pid, component.state, component.status, uptime_s, component.restarts)
            )
        return rows

    def _shutdown(self, request: Request) -> None:
        wanted = _fields(request.payload)
        exit_code, reason = wanted.get("exit_code", 0), wanted.get("reason", "")
        if not isinstance(exit_code, int) or not 0 <= exit_code <= 255:
            request.fail("bad_request", "exit_code must be a number from 0 to 255")
            return
        _log.debug("shutdown requested", reason=reason)
        request.reply(None)
        self._supervisor.request_shutdown(exit_code)

    async def _restart(self, request: Request) -> dict[str, int]:
        name = _fields(request.payload).get("component")
        if name not in self._supervisor.components:
            known = ", ".join(self._supervisor.components)
            raise RemoteError("bad_request", f"this agent has no component {name!r}; it has {known}")
        try:
            await self._supervisor.restart_component(name)
        except trio.TooSlowError:
            raise RemoteError("timeout", f"{name} was restarted but is not ready yet, see the log") from None
        return {"pid": self._supervisor.components[name].pid}

    async def _reload(self, _: Request) -> None:
        try:
            await self._supervisor.reload()
        except ReloadError as error:
            raise RemoteError("rpc", str(error)) from None

    async def _monitor(self, request: Request, send: Send) -> None:
        wanted = _fields(request.payload)
        try:
            level = log.parse_level(str(wanted.get("level") or "INFO"))
        except ValueError as error:
            raise RemoteError("bad_request", str(error)) from None
        monitor = Monitor(level, bool(wanted.get("json")))
        self._supervisor.hub.attach(monitor)
        try:
            async for line in monitor.lines:
                await send(line)
        finally:
            self._supervisor.hub.detach(monitor)
            if monitor.dropped:
                _log.warn("Dropped logs during monitor session", dropped_logs=monitor.dropped)


def _row(component: str, pid: int, state: str, status: str, uptime_s: float, restarts: int) -> dict[str, Any]:
    rss_bytes, pss_bytes = memory_bytes(pid) if pid else (0, 0)
    return {
        "component": component,
        "pid": pid,
        "state": str(state),
        "status": status,
        "uptime_s": uptime_s,
        "rss_bytes": rss_bytes,
        "pss_bytes": pss_bytes,
        "restarts": restarts,
    }


def _fields(payload: Any) -> dict[str, Any]:
    return payload if isinstance(payload, dict) else {}
