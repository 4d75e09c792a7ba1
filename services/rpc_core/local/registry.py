"""Registry: what it means to add or remove a service or a check of this agent.

Each step changes the local state, the runners and (queued, see `Files`) what is kept on disk together, without
waiting for anything; the caller flushes the files. Errors are RefusedError with the text a client sees."""

from __future__ import annotations

import time
from collections.abc import Mapping

import trio

from services.rpc_core.local import definitions
from services.rpc_core.local.checks.definition import is_script, validate
from services.rpc_core.local.exposed import ExposedPorts, can_be_exposed, direct, exposed
from services.rpc_core.local.persisted import LOCAL, REMOTE, Files, SavedState
from services.rpc_core.local.runners import Runners
from services.rpc_core.local.sidecar import sidecar_id
from services.rpc_core.local.state import LocalState
from shared.config.runtime import RuntimeConfig
from shared.gotext.quoting import quote
from shared.log import get_logger
from shared.structs.catalog import CRITICAL, HealthCheck, NodeService
from shared.structs.check_kind import check_kind
from shared.structs.config_entry_wire import ServiceConfigResponse
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType, ServiceAddress

_log = get_logger("agent")

Statuses = Mapping[str, HealthCheck]
"""Checks as they were before: their status and output are taken over by checks of the same id."""

NODE_MAINTENANCE, SERVICE_MAINTENANCE = "_node_maintenance", "_service_maintenance:"
_NODE_REASON = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message."
_SERVICE_REASON = "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
_ADDRESS_TAGS = {4: ("lan_ipv4", "wan_ipv4"), 6: ("lan_ipv6", "wan_ipv6"), 0: ()}
_SCRIPTS_OFF = (
    "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or "
    "'enable_local_script_checks' to true"
)
_REMOTE_SCRIPTS_OFF = (
    "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
)


class Registry:
    """One per agent."""

    def __init__(self, config: RuntimeConfig, state: LocalState, runners: Runners, files: Files) -> None:
        self.config = config
        self.state, self.runners, self.files = state, runners, files
        self._exposed = ExposedPorts(config.ports.expose_min_port, config.ports.expose_max_port)

    def _token_of(self, token: str) -> str:
        return token or self.config.acl.tokens.default

    # -- services --------------------------------------------------------------------------------

    def add_service(
        self,
        service: NodeService,
        check_types: list[CheckType],
        token: str,
        source: str,
        *,
        persist: bool,
        replace_checks: bool = False,
        statuses: Statuses | None = None,
        as_registered: NodeService | None = None,
        defaults: ServiceConfigResponse | None = None,
        persist_defaults: bool = False,
    ) -> None:
        """A service that `definitions.complete` has seen, and its checks. replace_checks: checks of an earlier
        registration go. as_registered: what is kept on disk, where central defaults were merged into `service`."""
        statuses = self.state.live_checks() if statuses is None else statuses
        _tag_addresses(service)
        kept = dict.fromkeys(self.state.checks_of(service.id), False)
        checks = []
        for number, check_type in enumerate(check_types, 1):
            check = self._service_check(service, check_type, number, len(check_types), statuses)
            kept[check.check_id] = True
            checks.append(check)
        new_service = self.state.service(service.id) is None
        new_checks = [check.check_id for check in checks if self.state.check(check.check_id) is None]
        try:
            self.state.add_service(service, token)
            for check in checks:
                self.state.add_check(check, token)
            for check, check_type in zip(checks, check_types, strict=True):
                self._carry_out(check, check_type, service, source)
                if persist:
                    self.files.save_check(check, check_type, self._token_of(token), source)
        except RefusedError:
            self._clean_up([service.id] if new_service else [], new_checks)
            raise
        self._route_checks(service)
        if persist_defaults:
            self.files.save_defaults(service.id, defaults)
        if persist:
            self.files.save_service(as_registered or service, self._token_of(token), source)
        if replace_checks:
            for check_id, keep in kept.items():
                if not keep:
                    self.remove_check(check_id, persist=persist)

    def _service_check(
        self, service: NodeService, check_type: CheckType, number: int, count: int, statuses: Statuses
    ) -> HealthCheck:
        check_id = check_type.check_id
        if not check_id:
            check_id = f"service:{service.id}" + (f":{number}" if count > 1 else "")
        check = HealthCheck(
            node=self.config.node_name,
            check_id=check_id,
            name=check_type.name or f"Service '{service.service}' check",
            status=check_type.status or CRITICAL,
            notes=check_type.notes,
            service_id=service.id,
            service_name=service.service,
            service_tags=service.tags,
            type=check_kind(check_type),
        )
        if (before := statuses.get(check_id)) is not None:
            check.status, check.output = before.status, before.output
        return check

    def _clean_up(self, service_ids: list[str], check_ids: list[str]) -> None:
        """What a registration that failed half way brought in."""
        for service_id in service_ids:
            self.state.remove_service(service_id)
            self.files.purge_service(service_id)
            self.files.save_defaults(service_id, None)
            self._remove_sidecar(service_id, persist=True)
        for check_id in check_ids:
            self.runners.stop(check_id)
            self.state.remove_check(check_id)
            self.files.purge_check(check_id)

    def remove_service(self, service_id: str, *, persist: bool = True) -> None:
        """With its checks and its sidecar. A service that does not exist is only worth a warning."""
        if not service_id:
            raise RefusedError("ServiceID missing")
        checks = self.state.checks_of(service_id)
        service = self.state.service(service_id)
        if service is not None:
            self._route_directly(service.proxy.destination_service_id)
        try:
            self.state.remove_service(service_id)
        except RefusedError as error:
            _log.warn("Failed to deregister service", service=service_id, error=str(error))
            return
        if persist:
            self.files.purge_service(service_id)
            self.files.save_defaults(service_id, None)
        for check_id in checks:
            self.remove_check(check_id, persist=persist)
        _log.debug("removed service", service=service_id)
        self._remove_sidecar(service_id, persist=persist)

    def _remove_sidecar(self, service_id: str, *, persist: bool) -> None:
        sidecar = self.state.service(sidecar_id(service_id))
        if sidecar is not None and sidecar.locally_registered_as_sidecar:
            self.remove_service(sidecar.id, persist=persist)

    # -- checks ----------------------------------------------------------------------------------

    def add_check(
        self, check: HealthCheck, check_type: CheckType | None, token: str, source: str, *, persist: bool
    ) -> None:
        """A check that is no part of a service definition. check_type: None if nothing carries it out. A check
        that there is already keeps its status."""
        service = None
        if check.service_id:
            service = self.state.service(check.service_id)
            if service is None:
                raise RefusedError(f'ServiceID "{check.service_id}" does not exist')
        before = self.state.check(check.check_id)
        try:
            self._carry_out(check, check_type, service, source)
        except RefusedError:
            self.state.remove_check(check.check_id)
            raise
        self.state.add_check(check, token)
        if before is not None:
            self.state.update_check(check.check_id, before.status, before.output, trio.current_time())
        if persist:
            self.files.save_check(check, check_type, self._token_of(token), source)

    def _carry_out(
        self, check: HealthCheck, check_type: CheckType | None, service: NodeService | None, source: str
    ) -> None:
        """Fill in what the service says, and start the runner."""
        if not check.check_id:
            raise RefusedError("CheckID missing")
        if check_type is not None:
            self._validate(check_type, source)
        if service is not None:
            check.service_name, check.service_tags = service.service, service.tags
        if check_type is None:
            return
        if check_type.ttl > 0:
            saved = self.files.state(check.check_id, time.time())
            if saved is not None:
                check.status, check.output = saved.status, saved.output
        proxy = None if service is None else self._proxy_of(service.id)
        if service is not None and proxy is not None and proxy.proxy.expose.checks and can_be_exposed(check_type):
            check_type = exposed(check_type, proxy.address, self._exposed.take(service.id, check.check_id))
        self.runners.start(check.check_id, check_type)

    def _validate(self, check_type: CheckType, source: str) -> None:
        try:
            validate(check_type)
        except RefusedError as error:
            raise RefusedError(f"Check is not valid: {error}") from None
        if not is_script(check_type):
            return
        if source == LOCAL and not self.config.enable_local_script_checks:
            raise RefusedError(_SCRIPTS_OFF)
        if source == REMOTE and not self.config.enable_script_checks:
            raise RefusedError(_REMOTE_SCRIPTS_OFF)

    def remove_check(self, check_id: str, *, persist: bool = True) -> None:
        """What is not there is not missed."""
        if not check_id:
            raise RefusedError("CheckID missing")
        check = self.state.check(check_id)
        if check is not None:
            self._exposed.free(check.service_id, check_id)
        self.runners.stop(check_id)
        self.state.remove_check(check_id)
        if persist:
            self.files.purge_check(check_id)
            self.files.purge_state(check_id)
        _log.debug("removed check", check=check_id)

    def update_ttl(self, check_id: str, status: str, output: str) -> None:
        """A service reports on itself."""
        runner = self.runners.ttl(check_id)
        kept = runner.set_status(status, output)
        expires_s = int(time.time() + runner.check.ttl / 1e9)
        self.files.save_state(check_id, SavedState(status, kept, expires_s))

    # -- checks behind a proxy -------------------------------------------------------------------

    def _proxy_of(self, service_id: str) -> NodeService | None:
        services = self.state.live_services().values()
        return next((each for each in services if each.proxy.destination_service_id == service_id), None)

    def _route_checks(self, proxy: NodeService) -> None:
        """The checks of the service behind this proxy go through it if it exposes them."""
        service_id = proxy.proxy.destination_service_id
        if not service_id:
            return
        if not proxy.proxy.expose.checks:
            self._route_directly(service_id)
            return
        try:
            for check_id, check_type in self._probes_of(service_id).items():
                port = self._exposed.take(service_id, check_id)
                self.runners.start(check_id, exposed(check_type, proxy.address, port))
        except RefusedError as error:
            _log.warn("failed to reroute L7 checks to exposed proxy listener", error=str(error))

    def _route_directly(self, service_id: str) -> None:
        for check_id, check_type in self._probes_of(service_id).items():
            self._exposed.free(service_id, check_id)
            if check_type != direct(check_type):
                self.runners.start(check_id, direct(check_type))

    def _probes_of(self, service_id: str) -> dict[str, CheckType]:
        """The service's checks that can go through a proxy, as they are carried out now."""
        running = {key: self.runners.check_of(key) for key in self.state.checks_of(service_id)} if service_id else {}
        return {key: check for key, check in running.items() if check is not None and can_be_exposed(check)}

    # -- maintenance -----------------------------------------------------------------------------

    def maintain_service(self, service_id: str, enable: bool, reason: str, token: str) -> None:
        """Raises RefusedError if there is no such service."""
        service = self.state.service(service_id)
        if service is None:
            raise RefusedError(f"No service registered with ID {quote(service_id)}")
        check = HealthCheck(
            node=self.config.node_name,
            check_id=SERVICE_MAINTENANCE + service_id,
            name="Service Maintenance Mode",
            notes=reason or _SERVICE_REASON,
            service_id=service.id,
            service_name=service.service,
            status=CRITICAL,
            type="maintenance",
        )
        if self._maintain(check, enable, token):
            _log.info(f"Service {'entered' if enable else 'left'} maintenance mode", service=service_id)

    def maintain_node(self, enable: bool, reason: str, token: str) -> None:
        check = HealthCheck(
            node=self.config.node_name,
            check_id=NODE_MAINTENANCE,
            name="Node Maintenance Mode",
            notes=reason or _NODE_REASON,
            status=CRITICAL,
            type="maintenance",
        )
        if self._maintain(check, enable, token):
            _log.info(f"Node {'entered' if enable else 'left'} maintenance mode")

    def _maintain(self, check: HealthCheck, enable: bool, token: str) -> bool:
        """False if that is how things are already."""
        if (self.state.check(check.check_id) is not None) == enable:
            return False
        if enable:
            self.add_check(check, None, token, LOCAL, persist=True)
        else:
            self.remove_check(check.check_id)
        return True

    # -- reaping ---------------------------------------------------------------------------------

    def reap(self, now: float) -> None:
        """Deregister services with a check that has been critical for longer than its definition allows."""
        reaped: set[str] = set()
        for check_id, seconds in self.state.critical_for_s(now).items():
            check = self.state.check(check_id)
            if check is None or not check.service_id or check.service_id in reaped:
                continue
            after_s = self.runners.reap_after_s.get(check_id, 0.0)
            if after_s and seconds > after_s:
                reaped.add(check.service_id)
                self.remove_service(check.service_id)
                _log.info(
                    "Check for service has been critical for too long; deregistered service",
                    service=check.service_id,
                    check=check_id,
                )


def _tag_addresses(service: NodeService) -> None:
    """An IP address also counts as the address for the LAN and the WAN of its family."""
    tagged = dict(service.tagged_addresses or {})
    for tag in _ADDRESS_TAGS[definitions.ip_family(service.address)]:
        tagged.setdefault(tag, ServiceAddress(address=service.address, port=service.port))
    service.tagged_addresses = tagged
