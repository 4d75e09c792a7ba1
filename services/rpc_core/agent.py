"""Agent.*: what local processes ask of the agent itself: who it is, its members, joining and leaving."""

from __future__ import annotations

import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.local.local_agent import LocalAgent
from services.rpc_core.local.node_info import node_meta
from services.rpc_core.pool import LAN, WAN
from shared.ipc import IpcError, RemoteError, Request, Server
from shared.log import get_logger
from shared.version import CONSUL_REVISION

_log = get_logger("agent")

CALL_TIMEOUT_S = 10.0
JOIN_TIMEOUT_S = 60.0
ALL_SEGMENTS = "_all"


class Delegate(Protocol):
    """What differs between a server and a client. no_wan: why it cannot join servers of other datacenters."""

    @property
    def no_wan(self) -> str: ...

    def check_segment(self, segment: str) -> None:
        """Raises RemoteError for a segment whose members it does not know."""

    async def leave(self) -> None:
        """Returns when the process may be stopped."""

    async def stats(self) -> dict[str, dict[str, str]]:
        """Its sections of `consul info`."""


class AgentMethods:
    """The handlers. `serve` offers them on a socket."""

    def __init__(self, core: AgentCore, delegate: Delegate, local: LocalAgent) -> None:
        self._core, self._delegate, self._local = core, delegate, local

    def serve(self, server: Server) -> None:
        methods: dict[str, Callable[[Mapping[str, Any]], Awaitable[Any]]] = {
            "Agent.Self": self._self,
            "Agent.Members": self._members,
            "Agent.Join": self._join,
            "Agent.Leave": self._leave,
            "Agent.ForceLeave": self._force_leave,
            "Agent.Stats": self._stats,
        }
        for name, method in methods.items():
            server.slow(name, _handler(method))

    async def _gossip(self, method: str, payload: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        return await self._core.gossip.call(method, payload, timeout_s=timeout_s, retry_safe=True)

    async def _self(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The object of /v1/agent/self. Coord is absent while coordinates are disabled."""
        from shared.config.debug import debug_config, short_config

        config = self._core.config
        members = await self._gossip("Gossip.Members", {"pool": LAN})
        own = next((member for member in members if member["Name"] == config.node_name), None)
        coordinate = None
        if not config.disable_coordinates:
            coordinate = await self._gossip("Gossip.Coordinate", {"pool": LAN})
        return {
            "Config": short_config(config),
            "DebugConfig": debug_config(config),
            "Coord": coordinate,
            "Member": own,
            "Stats": await self._stats(payload),
            "Meta": node_meta(config),
        }

    async def _members(self, payload: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Members of the LAN or (wan: true) of the WAN pool; None if the agent is not in that."""
        segment = payload.get("segment") or ""
        if payload.get("wan"):
            pool = WAN
        else:
            pool = LAN
            if segment != ALL_SEGMENTS:
                self._delegate.check_segment(segment)
        if pool not in self._core.pools.names:
            return None
        members: list[dict[str, Any]] = await self._gossip("Gossip.Members", {"pool": pool})
        return members

    async def _join(self, payload: Mapping[str, Any]) -> int:
        """Join a pool by addresses; the number of nodes reached. Payload: addresses, wan."""
        pool = WAN if payload.get("wan") else LAN
        addresses = list(payload["addresses"])
        label = pool.upper()
        _log.info(f"({label}) joining", **{f"{pool}_addresses": addresses})
        try:
            if pool not in self._core.pools.names:
                raise RemoteError("rpc", self._delegate.no_wan)
            joined: int = await self._gossip("Gossip.Join", {"pool": pool, "addresses": addresses}, JOIN_TIMEOUT_S)
        except IpcError as error:
            _log.warn(f"({label}) couldn't join", number_of_nodes=0, error=str(error))
            raise
        _log.info(f"({label}) joined", number_of_nodes=joined)
        return joined

    async def _leave(self, payload: Mapping[str, Any]) -> None:
        """Leave all pools. The caller then asks the supervisor to end the agent."""
        self._local.syncer.pause()  # else it might bring back to the catalog what the leader takes out of it
        await self._delegate.leave()

    async def _force_leave(self, payload: Mapping[str, Any]) -> None:
        """Make a failed member a left one; with prune forget it altogether. Payload: node, prune."""
        node, prune = payload["node"], bool(payload.get("prune"))
        _log.info("Force leaving node", node=node)
        suffix = f".{self._core.config.datacenter}"
        lan = {member.name for member in self._core.pools.lan()}
        wan = {member.name for member in self._core.pools.wan()}
        if node not in lan and node not in wan:
            raise RemoteError("rpc", f"agent: No node found with name '{node}'")
        wan_name = node if node.endswith(suffix) else node + suffix
        try:
            await self._gossip("Gossip.ForceLeave", {"pool": LAN, "node": node, "prune": prune})
            if WAN in self._core.pools.names:
                await self._gossip("Gossip.ForceLeave", {"pool": WAN, "node": wan_name, "prune": prune})
        except IpcError as error:
            _log.warn("Failed to remove node", node=node, error=str(error))
            raise

    async def _stats(self, payload: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """The sections of `consul info`."""
        core = self._core
        return {
            "agent": self._local.stats(),
            "build": {
                "prerelease": "",
                "revision": CONSUL_REVISION[:8],
                "version": core.config.version,
            },
            **await self._delegate.stats(),
            "runtime": _runtime(),
            **{f"serf_{pool}": await self._gossip("Gossip.Stats", {"pool": pool}) for pool in sorted(core.pools.names)},
        }


def _handler(method: Callable[[Mapping[str, Any]], Awaitable[Any]]) -> Callable[[Request], Awaitable[Any]]:
    async def serve(request: Request) -> Any:
        try:
            return await method(request.payload or {})
        except KeyError as error:
            raise RemoteError("bad_request", f"{request.method} needs {error}") from None

    return serve


def _runtime() -> dict[str, str]:
    """The same keys as Consul's; what has no counterpart here shows ours (tasks for goroutines)."""
    machine = platform.machine()
    processors = os.cpu_count() or 1
    return {
        "arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "cpu_count": str(processors),
        "goroutines": str(trio.lowlevel.current_statistics().tasks_living),
        "max_procs": str(len(os.sched_getaffinity(0))),
        "os": platform.system().lower(),
        "version": f"python{platform.python_version()}",
    }
