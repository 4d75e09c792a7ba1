"""Agent.*: what HTTP clients do with the services and checks of this agent.

Every method takes a map. Refusals of the request itself come with code `bad_request` (status 400), others with
code `rpc` (status 500)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import trio

from services.rpc_core.local import definitions
from services.rpc_core.local.checks.definition import validate
from services.rpc_core.local.content_hash import content_hash
from services.rpc_core.local.local_agent import LocalAgent
from services.rpc_core.local.persisted import PersistError
from services.rpc_core.local.registry import NODE_MAINTENANCE, SERVICE_MAINTENANCE
from services.rpc_core.local.sidecar import sidecar_of
from shared.ipc import RemoteError, Request, Server
from shared.structs.agent import AgentService
from shared.structs.catalog import CRITICAL, MAINTENANCE, PASSING, WARNING, HealthCheck
from shared.structs.check_definition import CheckDefinition
from shared.structs.check_kind import check_kind
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType, ServiceDefinition
from shared.structs.registration import validate_service

_BAD_STATUS = "Status for checks must 'passing', 'warning', 'critical'"

Method = Callable[[Mapping[str, Any]], Awaitable[Any]]


class _BadRequestError(Exception):
    """The request cannot be right; the text is the answer."""


class LocalMethods:
    """The handlers. `serve` offers them on a socket."""

    def __init__(self, local: LocalAgent) -> None:
        self._local = local

    def serve(self, server: Server) -> None:
        methods: dict[str, Method] = {
            "Agent.Services": self._services,
            "Agent.Checks": self._checks,
            "Agent.ServiceHealth": self._service_health,
            "Agent.RegisterService": self._register_service,
            "Agent.DeregisterService": self._deregister_service,
            "Agent.ServiceMaintenance": self._service_maintenance,
            "Agent.RegisterCheck": self._register_check,
            "Agent.DeregisterCheck": self._deregister_check,
            "Agent.UpdateCheck": self._update_check,
            "Agent.NodeMaintenance": self._node_maintenance,
        }
        for name, method in methods.items():
            server.slow(name, _handler(method))
        server.fast("Agent.Service", self._service)

    # -- reading -----------------------------------------------------------------------------------

    async def _services(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """{id: AgentService} of all services."""
        services = self._local.state.live_services()
        return {key: AgentService.of(service).to_wire() for key, service in services.items()}

    def _service(self, request: Request) -> None:
        """The AgentService with its ContentHash, None if there is no such service. Payload: id, hash.

        With the hash of the present content it is answered when there is something else, or never."""
        service_id, known = request.payload["id"], request.payload["hash"]
        service = self._local.state.service(service_id)
        if service is None:
            request.reply(None)
            return
        shown = AgentService.of(service)
        shown.content_hash = content_hash(shown)
        if shown.content_hash != known:
            request.reply(shown.to_wire())
            return
        # Not at once: a reload takes everything away, and gives it back, within one turn of the loop.
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        request.park(self._local.state.watch_service(service_id, partial(soon, self._service_again, request)))

    def _service_again(self, request: Request) -> None:
        if not request.cancelled:
            request.unpark()
            try:
                self._service(request)
            except Exception as error:  # called by the loop itself, which must not end
                request.fail_with(error)

    async def _checks(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """{id: HealthCheck} of all checks."""
        return {key: check.to_wire() for key, check in self._local.state.live_checks().items()}

    async def _service_health(self, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        """[{Status, Service, Checks}] of the service with this id, or of all with this name. Payload: id or name."""
        services = self._local.state.live_services().values()
        if "id" in payload:
            wanted = [service for service in services if service.id == payload["id"]]
        else:
            wanted = [service for service in services if service.service == payload["name"]]
        found = []
        for service in wanted:
            checks = list(self._local.state.checks_of(service.id, with_node_checks=True).values())
            found.append(
                {
                    "Status": aggregated_status(checks),
                    "Service": AgentService.of(service).to_wire(),
                    "Checks": [check.to_wire() for check in checks],
                }
            )
        return found

    # -- services ----------------------------------------------------------------------------------

    async def _register_service(self, payload: Mapping[str, Any]) -> None:
        """Payload: definition (ServiceDefinition), token, replace_existing_checks."""
        definition = ServiceDefinition.from_wire(payload["definition"])
        token = payload.get("token") or ""
        replace_checks = bool(payload.get("replace_existing_checks"))
        if not definition.name:
            raise _BadRequestError("Missing service name")
        if definition.address in definitions.ANY_ADDRESSES:
            raise _BadRequestError("Invalid service address")
        service = definitions.node_service(definition)
        _refuse("Invalid Weights: ", definitions.validate_weights, service.weights)
        _refuse("Invalid Service Meta: ", definitions.validate_meta, service.kind, service.meta)
        _refuse("", validate_service, service)
        check_types = _check_types("Invalid check: ", definition)
        sidecar_definition = service.connect.sidecar_service
        if sidecar_definition is not None:
            _sidecar_checks(sidecar_definition)
        try:
            sidecar = sidecar_of(service, token, self._local.state.live_services(), self._local.config)
        except RefusedError as error:
            raise RefusedError(f"Bad request: Invalid SidecarService: {error}") from None
        service.connect.sidecar_service = None
        register = self._local.register_service
        await register(service, check_types, token, replace_checks=replace_checks)
        if sidecar is not None:
            await register(*sidecar, replace_checks=replace_checks)
        await self._local.syncer.sync_now()

    async def _deregister_service(self, payload: Mapping[str, Any]) -> None:
        """Payload: id."""
        await self._local.deregister_service(payload["id"])
        await self._local.syncer.sync_now()

    async def _service_maintenance(self, payload: Mapping[str, Any]) -> str:
        """Payload: id, enable, reason, token. Returns why it was refused, "" if it was not."""
        try:
            await self._local.maintain_service(
                payload["id"], bool(payload["enable"]), payload.get("reason") or "", payload.get("token") or ""
            )
        except RefusedError as error:
            return str(error)
        await self._local.syncer.sync_now()
        return ""

    # -- checks ------------------------------------------------------------------------------------

    async def _register_check(self, payload: Mapping[str, Any]) -> None:
        """Payload: definition (CheckDefinition), token."""
        definition = CheckDefinition.from_wire(payload["definition"])
        if not definition.name:
            raise _BadRequestError("Missing check name")
        if definition.status and definition.status not in definitions.STATUSES:
            raise _BadRequestError("Bad check status")
        check, check_type = definition.health_check(self._local.config.node_name), definition.check_type()
        _refuse("Invalid check: ", validate, check_type)
        check.type = check_kind(check_type)
        await self._local.register_check(check, check_type, payload.get("token") or "")
        await self._local.syncer.sync_now()

    async def _deregister_check(self, payload: Mapping[str, Any]) -> None:
        """Payload: id."""
        await self._local.deregister_check(payload["id"])
        await self._local.syncer.sync_now()

    async def _update_check(self, payload: Mapping[str, Any]) -> None:
        """The word of a service on its TTL check. Payload: id, status, output."""
        await self._local.update_ttl(payload["id"], payload["status"], payload.get("output") or "")
        await self._local.syncer.sync_now()

    async def _node_maintenance(self, payload: Mapping[str, Any]) -> None:
        """Payload: enable, reason, token."""
        await self._local.maintain_node(
            bool(payload["enable"]), payload.get("reason") or "", payload.get("token") or ""
        )
        await self._local.syncer.sync_now()


def _handler(method: Method) -> Callable[[Request], Awaitable[Any]]:
    async def serve(request: Request) -> Any:
        try:
            return await method(request.payload or {})
        except _BadRequestError as error:
            raise RemoteError("bad_request", str(error)) from None
        except KeyError as error:
            raise RemoteError("bad_request", f"{request.method} needs {error}") from None
        except (RefusedError, PersistError) as error:
            raise RemoteError("rpc", str(error)) from None

    return serve


def _refuse(prefix: str, validate_it: Callable[..., None], *arguments: Any) -> None:
    try:
        validate_it(*arguments)
    except RefusedError as error:
        raise _BadRequestError(f"{prefix}{error}") from None


def _check_types(prefix: str, definition: ServiceDefinition) -> list[CheckType]:
    try:
        found = definitions.check_types(definition)
    except RefusedError as error:
        raise _BadRequestError(f"{prefix}{error}") from None
    if any(check.status and check.status not in definitions.STATUSES for check in found):
        raise _BadRequestError(_BAD_STATUS)
    return found


def _sidecar_checks(definition: ServiceDefinition) -> None:
    """Consul says of these that they are bad requests, but answers with status 500."""
    try:
        _check_types("Invalid check in sidecar_service: ", definition)
    except _BadRequestError as error:
        raise RefusedError(f"Bad request: {error}") from None


def aggregated_status(checks: list[HealthCheck]) -> str:
    """The worst status, where maintenance counts more than critical; passing without checks, "" for odd ones."""
    maintenance, seen = False, set()
    for check in checks:
        if check.check_id == NODE_MAINTENANCE or check.check_id.startswith(SERVICE_MAINTENANCE):
            maintenance = True
        elif check.status in (PASSING, WARNING, CRITICAL):
            seen.add(check.status)
        else:
            return ""
    if maintenance:
        return MAINTENANCE
    return next((status for status in (CRITICAL, WARNING) if status in seen), PASSING)
