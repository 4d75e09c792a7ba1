"""A LocalAgent without processes: a core that only has what the agent's own part asks for, and a catalog in memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio

from services.rpc_core.errors import NoLeaderError
from services.rpc_core.local import definitions
from services.rpc_core.local.local_agent import LocalAgent
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import HealthCheck, Node, NodeService
from shared.structs.config_entry_wire import ServiceConfigRequest, ServiceConfigResponse
from shared.structs.proxy import ServiceDefinition


@dataclass
class FakeCatalog:
    """Answers the RPC methods that the agent's own part calls. fails: while set, nobody answers."""

    node: dict[str, Any] | None = None
    services: dict[str, NodeService] = field(default_factory=dict)
    checks: dict[str, HealthCheck] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    fails: bool = False
    defaults: ServiceConfigResponse = field(default_factory=lambda: ServiceConfigResponse(index=1))
    changed: trio.Event = field(default_factory=trio.Event)

    async def call(self, method: str, body: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.calls.append(method)
        if self.fails:
            raise NoLeaderError
        answer: Any = await getattr(self, "_" + method.partition(".")[2].lower())(body)
        return answer

    async def _register(self, body: Any) -> dict[str, Any]:
        if not body["SkipNodeUpdate"]:
            self.node = {
                "ID": body["ID"],
                "Node": body["Node"],
                "Address": body["Address"],
                "TaggedAddresses": body["TaggedAddresses"],
                "Meta": body["NodeMeta"],
            }
        if body["Service"] is not None:
            service = NodeService.from_wire(body["Service"])
            self.services[service.id] = service
        for each in [*(body["Checks"] or ()), *([body["Check"]] if body["Check"] else ())]:
            self.checks[each["CheckID"]] = HealthCheck.from_wire(each)
        return {}

    async def _deregister(self, body: Any) -> dict[str, Any]:
        if body["ServiceID"]:
            self.services.pop(body["ServiceID"], None)
            self.checks = {k: c for k, c in self.checks.items() if c.service_id != body["ServiceID"]}
        else:
            self.checks.pop(body["CheckID"], None)
        return {}

    async def _nodeservicelist(self, body: Any) -> dict[str, Any]:
        node = None if self.node is None else Node.from_wire(self.node).to_wire()
        return {"NodeServices": {"Node": node, "Services": [each.to_wire() for each in self.services.values()]}}

    async def _nodechecks(self, body: Any) -> dict[str, Any]:
        return {"Index": 1, "HealthChecks": [each.to_wire() for each in self.checks.values()]}

    async def _resolveserviceconfig(self, body: Any) -> bytes:
        request = ServiceConfigRequest.from_wire(body)
        while request.min_query_index >= self.defaults.index:
            await self.changed.wait()
        return self.defaults.to_raw()

    def set_defaults(self, **fields: Any) -> None:
        self.defaults = ServiceConfigResponse(index=self.defaults.index + 1, **fields)
        self.changed.set()
        self.changed = trio.Event()


def config(directory: Path, **changes: Any) -> RuntimeConfig:
    made = RuntimeConfig.dev(directory, node_name="n1", bind_addr="10.0.0.1")
    return made.replace(data_dir=str(directory / "data"), enable_central_service_config=True, **changes)


def local_agent(settings: RuntimeConfig, catalog: FakeCatalog, seed: int = 1) -> LocalAgent:
    core: Any = SimpleNamespace(
        config=settings,
        rng=random.Random(seed),
        pools=SimpleNamespace(lan=lambda: ["n1"]),
        reconciled=trio.Event(),
        router=SimpleNamespace(hold_timeout_s=7.0),
    )
    core.reconciled.set()
    return LocalAgent(core, catalog.call)


async def register(agent: LocalAgent, body: dict[str, Any], *, replace_checks: bool = False) -> None:
    """As the body of /v1/agent/service/register, without a sidecar."""
    definition = ServiceDefinition.from_json(body)
    service, checks = definitions.node_service(definition), definitions.check_types(definition)
    await agent.register_service(service, checks, "", replace_checks=replace_checks)


async def wait_for(condition: Callable[[], bool], seconds: float = 1000.0) -> None:
    """In the clock's time, which may be a virtual one."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.05)
