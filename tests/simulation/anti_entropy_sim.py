"""One agent and a catalog in virtual time: calls take long, fail, or fail after they took effect; others write too.

Everything is drawn from one seed. The agent is the real core (LocalState, Pushes, SyncSchedule) with a loop around
it as in `services.rpc_core.local.sync`, written as a generator: between any two of its steps the world moves."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from services.rpc_core.local import node_info
from services.rpc_core.local.pushes import Outcome, Push, Pushes
from services.rpc_core.local.same import same_check, same_service
from services.rpc_core.local.schedule import SyncKind, SyncSchedule
from services.rpc_core.local.state import LocalState
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import (
    SERF_CHECK_ID,
    DeregisterRequest,
    HealthCheck,
    Node,
    NodeService,
    RegisterRequest,
)
from shared.structs.proxy import Weights

STATUSES = ("passing", "warning", "critical")
READ = "read"


class CallError(Exception):
    """A call of which nobody knows what became."""


@dataclass
class Catalog:
    """What the servers know of the agent's node."""

    node: Node | None = None
    services: dict[str, NodeService] = field(default_factory=lambda: {"consul": NodeService(id="consul")})
    checks: dict[str, HealthCheck] = field(default_factory=lambda: {SERF_CHECK_ID: HealthCheck(check_id=SERF_CHECK_ID)})
    writes: int = 0

    def apply(self, request: RegisterRequest | DeregisterRequest) -> None:
        self.writes += 1
        if isinstance(request, DeregisterRequest):
            self.deregister(request)
            return
        if not request.skip_node_update or self.node is None:
            self.node = Node(
                id=request.id,
                node=request.node,
                address=request.address,
                tagged_addresses=request.tagged_addresses,
                meta=request.node_meta,
            )
        if request.service is not None:
            self.services[request.service.id] = NodeService.from_wire(request.service.to_wire())
        for check in [*(request.checks or ()), *([request.check] if request.check is not None else ())]:
            if check.service_id and check.service_id not in self.services:
                raise CallError("Missing service registration")
            self.checks[check.check_id] = HealthCheck.from_wire(check.to_wire())

    def deregister(self, request: DeregisterRequest) -> None:
        if request.service_id:
            self.services.pop(request.service_id, None)
            self.checks = {k: c for k, c in self.checks.items() if c.service_id != request.service_id}
        elif request.check_id:
            self.checks.pop(request.check_id, None)


class Simulation:
    """`run_for` lets the world move; `trouble` says whether calls fail and others write."""

    def __init__(self, seed: int, config: RuntimeConfig) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.config = config
        self.catalog = Catalog()
        self.trouble = True
        self.state = LocalState(config.node_name, self.rng, check_update_interval_s=config.check_update_interval_s)
        self.schedule = SyncSchedule(self.rng, 0.0)
        self.pushes = Pushes(self.state, config)
        self.state.on_change = self.schedule.changed
        self.wanted_passes = 0
        self.made = 0
        self.registered: dict[str, int] = {}
        """What was asked of the agent, told apart from what it keeps: port by service id."""
        self.registered_checks: dict[str, None] = {}
        self._agent = self._loop()
        self._call: tuple[float, Any] | None = None
        self._next_event_at = 0.0
        self._advance(None)

    # -- the agent ---------------------------------------------------------------------------------

    def _loop(self) -> Generator[Any, Any, None]:
        while True:
            self.state.end_deferral(self.now)
            kind = self.schedule.due(self.now)
            if kind is SyncKind.FULL:
                self.schedule.full_done((yield from self._full()), self.now)
            elif self.wanted_passes or (kind is SyncKind.CHANGES and not self.pushes.all_brought):
                self.wanted_passes = 0
                yield from self._push_all()
            elif kind is None:
                yield None

    def _full(self) -> Generator[Any, Any, bool]:
        try:
            node, services, checks = yield READ
        except CallError:
            return False
        self.state.compare(node_info.is_in_sync(node, self.config), services, checks)
        return (yield from self._push_all())

    def _push_all(self) -> Generator[Any, Any, bool]:
        for push in self.pushes.pending():
            try:
                yield push
            except CallError as error:
                self.pushes.failed(push, str(error))
                return False
            self.pushes.done(push, Outcome.DONE)
        return True

    def _advance(self, answer: Any, error: CallError | None = None) -> None:
        request = self._agent.throw(error) if error is not None else self._agent.send(answer)
        self._call = None if request is None else (self.now + self.rng.expovariate(4.0), request)

    # -- the world ---------------------------------------------------------------------------------

    def run_for(self, seconds: float, *, events: bool) -> None:
        end = self.now + seconds
        while True:
            times = [self._next_event_at] if events else []
            if self._call is not None:
                times.append(self._call[0])
            else:
                times.append(max(self.now, min(self.schedule.deadline, self.state.deadline or float("inf"))))
                if self.wanted_passes:
                    times.append(self.now)
            at = min(times)
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            if events and at == self._next_event_at:
                self._next_event_at = self.now + self.rng.expovariate(2.0)
                self._something_happens()
            elif self._call is not None:
                self._answer(self._call[1])
            else:
                self._advance(None)

    def _answer(self, request: Any) -> None:
        fails = self.trouble and self.rng.random() < 0.15
        if fails and self.rng.random() < 0.5:
            self._advance(None, CallError("No cluster leader"))
            return
        answer = None
        try:
            if request == READ:
                answer = self.catalog.node, list(self.catalog.services.values()), list(self.catalog.checks.values())
            else:
                assert isinstance(request, Push)
                self.catalog.apply(request.request)
        except CallError as error:
            self._advance(None, error)
            return
        self._advance(answer, CallError("connection lost") if fails else None)

    def _something_happens(self) -> None:
        draw = self.rng.random()
        if draw < 0.55:
            self.agent_changes()
        elif self.trouble and draw < 0.75:
            self._others_write()
        elif draw < 0.85:
            self.schedule.server_up(self.now)
        elif draw < 0.95:
            self.wanted_passes += 1
        else:
            self.state.node_changed()

    def agent_changes(self) -> None:
        rng, state = self.rng, self.state
        name = f"s{rng.randrange(5)}"
        check_id = f"c{rng.randrange(8)}"
        draw = rng.random()
        if draw < 0.3:
            self.made += 1
            service = NodeService(
                id=name,
                service=name,
                port=self.made,
                tags=[str(self.made)],
                weights=Weights(passing=1, warning=1),
                enable_tag_override=rng.random() < 0.2,
            )
            state.add_service(service, "")
            self.registered[name] = self.made
        elif draw < 0.4 and name in state.live_services():
            checks = state.checks_of(name)
            state.remove_service(name)
            del self.registered[name]
            for each in checks:
                state.remove_check(each)
                del self.registered_checks[each]
        elif draw < 0.6:
            services = [*state.live_services(), ""]
            owner = rng.choice(services)
            service_name = owner and state.live_services()[owner].service
            check = HealthCheck(
                check_id=check_id, name=check_id, status="critical", service_id=owner, service_name=service_name
            )
            state.add_check(check, "")
            self.registered_checks[check_id] = None
        elif draw < 0.7:
            state.remove_check(check_id)
            self.registered_checks.pop(check_id, None)
        else:
            state.update_check(check_id, rng.choice(STATUSES), str(rng.randrange(3)), self.now)

    def _others_write(self) -> None:
        rng, catalog = self.rng, self.catalog
        draw = rng.random()
        if draw < 0.3 and catalog.services:
            catalog.deregister(DeregisterRequest(service_id=rng.choice(list(catalog.services))))
            catalog.services.setdefault("consul", NodeService(id="consul"))
        elif draw < 0.5 and catalog.checks:
            catalog.checks.pop(rng.choice(list(catalog.checks)))
            catalog.checks.setdefault(SERF_CHECK_ID, HealthCheck(check_id=SERF_CHECK_ID))
        elif draw < 0.6:
            catalog.services["foreign"] = NodeService(id="foreign", service="foreign")
        elif draw < 0.7:
            catalog.checks["foreign"] = HealthCheck(check_id="foreign", name="foreign")
        elif draw < 0.8:
            catalog.node = Node(node=self.config.node_name, address="10.9.9.9")
        else:
            for service in catalog.services.values():
                if rng.random() < 0.5:
                    service.tags = ["foreign"]

    # -- what must hold in the end -----------------------------------------------------------------

    def differences(self) -> list[str]:
        """Where the catalog does not say what the agent says."""
        found = []
        if not node_info.is_in_sync(self.catalog.node, self.config):
            found.append(f"node: {self.catalog.node}")
        services, checks = self.state.live_services(), self.state.live_checks()
        theirs = {k: v for k, v in self.catalog.services.items() if k != "consul"}
        their_checks = {k: v for k, v in self.catalog.checks.items() if k != SERF_CHECK_ID}
        if services.keys() != theirs.keys():
            found.append(f"services: {list(services)} != {list(theirs)}")
        if checks.keys() != their_checks.keys():
            found.append(f"checks: {list(checks)} != {list(their_checks)}")
        ports = {key: service.port for key, service in services.items()}
        if ports != self.registered or checks.keys() != self.registered_checks.keys():
            found.append(f"registered: {self.registered} {list(self.registered_checks)}")
        found += [
            f"{k}: {v} != {theirs[k]}" for k, v in services.items() if k in theirs and not same_service(v, theirs[k])
        ]
        found += [
            f"{k}: {v} != {their_checks[k]}"
            for k, v in checks.items()
            if k in their_checks and not same_check(v, their_checks[k])
        ]
        return found
