"""LocalAgent: the agent's own services and checks as a whole - loaded, changed, reloaded, reaped, synced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.local import definitions
from services.rpc_core.local.aliased import StateAliased, StateNotify
from services.rpc_core.local.checks.definition import definition_from_config
from services.rpc_core.local.checks.runner import CheckAgent
from services.rpc_core.local.persisted import LOCAL, REMOTE, Files, PersistError, SavedCheck, SavedService
from services.rpc_core.local.registry import Registry, Statuses
from services.rpc_core.local.runners import Runners
from services.rpc_core.local.service_manager import Registration, ServiceManager
from services.rpc_core.local.sidecar import sidecar_of
from services.rpc_core.local.state import LocalState
from services.rpc_core.local.sync import EndpointCall, StateSyncer, Wait
from shared.config.runtime import RuntimeConfig
from shared.log import get_logger
from shared.structs.catalog import CRITICAL, HealthCheck, NodeService
from shared.structs.config_entry_wire import ServiceConfigResponse
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

_log = get_logger("agent")


class LoadError(Exception):
    """Definitions or saved files that cannot be taken over; the text says which and why. family: "services" or
    "checks"."""

    def __init__(self, text: str, family: str = "services") -> None:
        super().__init__(text)
        self.family = family


@dataclass(frozen=True, slots=True)
class _Saved:
    """What the data directory holds."""

    services: list[SavedService]
    checks: list[SavedCheck]
    defaults: Mapping[str, ServiceConfigResponse]


class LocalAgent:
    """One per process. call: Consul's RPC methods by name, wherever they are answered. before_sync: what is waited
    for ahead of the first sync."""

    def __init__(self, core: AgentCore, call: EndpointCall, before_sync: Wait | None = None) -> None:
        config = core.config
        self.config = config
        self.state = LocalState(
            config.node_name,
            core.rng,
            check_update_interval_s=config.check_update_interval_s,
            discard_check_output=config.discard_check_output,
        )
        self._call = call
        self.runners = Runners(StateNotify(self.state), self._check_agent(), core.rng)
        self.files = Files(config.data_dir)
        self.registry = Registry(config, self.state, self.runners, self.files)
        self._lock = trio.Lock()
        self.manager = ServiceManager(self.registry, call, self._lock)
        self.syncer = StateSyncer(core, self.state, call, before_sync)

    def _check_agent(self) -> CheckAgent:
        return CheckAgent(self.config, StateAliased(self.state, self._call, self.config))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Loads what is configured and kept, then runs until cancelled. Raises LoadError before it has started."""
        async with trio.open_nursery() as nursery:
            self.runners.open(nursery)
            self.manager.open(nursery)
            self._load(await self._saved(), statuses={})
            await self._flush()
            await nursery.start(self.syncer.run)
            nursery.start_soon(self._reap)
            task_status.started()

    # -- changes from outside ----------------------------------------------------------------------

    async def register_service(
        self,
        service: NodeService,
        check_types: list[CheckType],
        token: str,
        *,
        replace_checks: bool = False,
    ) -> None:
        """Raises RefusedError, PersistError."""
        registration = Registration(service, check_types, token, REMOTE, persist=True, replace_checks=replace_checks)
        definitions.complete(service, check_types)
        defaults = None
        if self.manager.manages(service):
            defaults = await self.manager.defaults_of(registration)
        async with self._lock:
            is_new = self.state.service(service.id) is None
            try:
                self._add(registration, defaults, persist_defaults=True)
            finally:
                await self._flush_or_undo(service.id if is_new else "")

    async def deregister_service(self, service_id: str) -> None:
        """Raises RefusedError, PersistError."""
        async with self._lock:
            self.registry.remove_service(service_id)
            self.manager.forget_removed()
            await self.files.flush()

    async def register_check(self, check: HealthCheck, check_type: CheckType, token: str) -> None:
        """Raises RefusedError, PersistError."""
        async with self._lock:
            try:
                self.registry.add_check(check, check_type, token, REMOTE, persist=True)
            finally:
                await self.files.flush()

    async def deregister_check(self, check_id: str) -> None:
        """Raises RefusedError, PersistError."""
        async with self._lock:
            self.registry.remove_check(check_id)
            await self.files.flush()

    async def update_ttl(self, check_id: str, status: str, output: str) -> None:
        """Raises RefusedError, PersistError."""
        async with self._lock:
            self.registry.update_ttl(check_id, status, output)
            try:
                await self.files.flush()
            except PersistError as error:
                raise PersistError(f'failed persisting state for check "{check_id}": {error}') from None

    async def maintain_service(self, service_id: str, enable: bool, reason: str, token: str) -> None:
        """Raises RefusedError if there is no such service, PersistError."""
        async with self._lock:
            self.registry.maintain_service(service_id, enable, reason, token)
            await self.files.flush()

    async def maintain_node(self, enable: bool, reason: str, token: str) -> None:
        """Raises PersistError."""
        async with self._lock:
            self.registry.maintain_node(enable, reason, token)
            await self.files.flush()

    def _add(
        self,
        registration: Registration,
        defaults: ServiceConfigResponse | None,
        *,
        persist_defaults: bool,
        statuses: Statuses | None = None,
    ) -> None:
        service = registration.service
        if self.manager.manages(service):
            self.manager.add(registration, defaults, persist_defaults=persist_defaults, statuses=statuses)
            return
        self.manager.remove(service.id)
        self.registry.add_service(
            service,
            registration.check_types,
            registration.token,
            registration.source,
            persist=registration.persist,
            replace_checks=registration.replace_checks,
            statuses=statuses,
        )

    async def _flush_or_undo(self, new_service_id: str) -> None:
        """A new service that cannot be kept is not taken."""
        try:
            await self.files.flush()
        except PersistError:
            if new_service_id and self.state.service(new_service_id) is not None:
                self.registry.remove_service(new_service_id, persist=False)
                self.manager.forget_removed()
            raise

    # -- loading and reloading ---------------------------------------------------------------------

    async def configure(self, config: RuntimeConfig) -> None:
        """Take over what can be reloaded: definitions, node metadata, tokens, certificates, whether outputs are kept.

        Services and checks that came over HTTP stay, as do the statuses of all checks. Raises LoadError."""
        self.config = self.config.replace(
            services=config.services,
            checks=config.checks,
            node_meta=config.node_meta,
            acl=config.acl,
            discard_check_output=config.discard_check_output,
            ca_file=config.ca_file,
            cert_file=config.cert_file,
            key_file=config.key_file,
            tls=config.tls,
        )
        self.registry.config = self.config
        self.runners.agent = self._check_agent()
        self.syncer.pause()
        try:
            async with self._lock:
                saved = await self._saved()
                self._reload(saved)
                await self._flush()
        finally:
            self.syncer.configure(self.config)
            self.syncer.resume()

    def _reload(self, saved: _Saved) -> None:
        statuses = self.state.live_checks()
        for service_id in self.state.live_services():
            if self.state.service(service_id) is not None:  # a sidecar goes with its service
                self.registry.remove_service(service_id, persist=False)
        for check_id in self.state.live_checks():
            self.registry.remove_check(check_id, persist=False)
        try:
            self._load(saved, statuses)
        finally:
            self.state.discard_check_output = self.config.discard_check_output
            self.manager.forget_removed()

    async def _saved(self) -> _Saved:
        try:
            return await trio.to_thread.run_sync(
                lambda: _Saved(self.files.services(), self.files.checks(), self.files.defaults())
            )
        except PersistError as error:
            raise LoadError(str(error)) from None

    async def _flush(self) -> None:
        try:
            await self.files.flush()
        except PersistError as error:
            raise LoadError(str(error)) from None

    def _load(self, saved: _Saved, statuses: Statuses) -> None:
        """Configured services, saved ones, configured checks, saved ones. What is configured comes first, and what
        is saved under the same id is removed. Raises LoadError."""
        for definition in self.config.services:
            self._load_configured_service(definition, saved, statuses)
        for service in saved.services:
            self._load_saved_service(service, saved, statuses)
        for service_id in saved.defaults:
            if self.state.service(service_id) is None:
                self.files.save_defaults(service_id, None)
        for definition in self.config.checks:
            self._load_configured_check(definition, statuses)
        for check in saved.checks:
            self._load_saved_check(check, statuses)

    def _load_configured_service(self, made: Mapping[str, object], saved: _Saved, statuses: Statuses) -> None:
        definition = definitions.from_config(dict(made))
        name, step = definition.name, "validate checks for service"
        try:
            check_types = definitions.check_types(definition)
            service = definitions.node_service(definition)
            step = "validate sidecar for service"
            sidecar = sidecar_of(service, definition.token, self.state.live_services(), self.config)
            service.connect.sidecar_service = None
            step = "register service"
            self._load_service(Registration(service, check_types, definition.token, LOCAL, False), saved, statuses)
            step = "register sidecar for service"
            if sidecar is not None:
                self._load_service(Registration(*sidecar, LOCAL, False), saved, statuses)
        except RefusedError as error:
            raise LoadError(f'Failed to {step} "{name}": {error}') from None

    def _load_service(self, registration: Registration, saved: _Saved, statuses: Statuses) -> None:
        definitions.complete(registration.service, registration.check_types)
        defaults = saved.defaults.get(registration.service.id)
        self._add(registration, defaults, persist_defaults=False, statuses=statuses)

    def _load_saved_service(self, kept: SavedService, saved: _Saved, statuses: Statuses) -> None:
        service = kept.service
        service.id = service.id or service.service
        if kept.source is None:
            _log.warn("service exists with invalid source, purging", service=service.id)
        elif self.state.service(service.id) is not None:
            _log.debug("service exists, not restoring from file", service=service.id, file=kept.path)
        else:
            _log.debug("restored service definition from file", service=service.id, file=kept.path)
            try:
                registration = Registration(service, [], kept.token, kept.source, False)
                self._load_service(registration, saved, statuses)
            except RefusedError as error:
                raise LoadError(f'failed adding service "{service.id}": {error}') from None
            return
        self.files.purge_service(service.id)
        self.files.save_defaults(service.id, None)

    def _load_configured_check(self, made: Mapping[str, object], statuses: Statuses) -> None:
        definition = definition_from_config(dict(made))
        check = definition.health_check(self.config.node_name)
        _take_status(check, statuses)
        try:
            self.registry.add_check(check, definition.check_type(), definition.token, LOCAL, persist=False)
        except RefusedError as error:
            raise LoadError(f"Failed to register check '{definition.name}': {error}", "checks") from None

    def _load_saved_check(self, kept: SavedCheck, statuses: Statuses) -> None:
        check = kept.check
        if kept.source is None:
            _log.warn("check exists with invalid source, purging", check=check.check_id)
        elif self.state.check(check.check_id) is not None:
            _log.debug("check exists, not restoring from file", check=check.check_id, file=kept.path)
        else:
            check.status = CRITICAL  # until it says otherwise
            _take_status(check, statuses)
            try:
                self.registry.add_check(check, kept.check_type, kept.token, kept.source, persist=False)
            except RefusedError as error:
                _log.warn("Failed to restore check", check=check.check_id, error=str(error))
            else:
                _log.debug("restored health check from file", check=check.check_id, file=kept.path)
                return
        self.files.purge_check(check.check_id)

    # -- reaping -----------------------------------------------------------------------------------

    async def _reap(self) -> None:
        while True:
            await trio.sleep(self.config.check_reap_interval_s)
            async with self._lock:
                self.registry.reap(trio.current_time())
                self.manager.forget_removed()
                try:
                    await self.files.flush()
                except PersistError as error:
                    _log.error("unable to remove the files of deregistered services", error=str(error))

    def stats(self) -> dict[str, str]:
        """The `agent` section of `consul info`."""
        return {**self.runners.stats(), **self.state.stats()}


def _take_status(check: HealthCheck, statuses: Statuses) -> None:
    before = statuses.get(check.check_id)
    if before is not None:
        check.status, check.output = before.status, before.output
