"""Service manager: proxies and gateways get the central defaults (service-defaults, proxy-defaults) merged in.

Their definitions are kept as they were registered; what the catalog gets is merged anew whenever the defaults
change, which a task per proxy waits for."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import trio

from services.rpc_core.errors import RpcError
from services.rpc_core.local.persisted import PersistError
from services.rpc_core.local.registry import Registry, Statuses
from services.rpc_core.local.sync import EndpointCall
from services.rpc_core.replies import reading
from shared.log import get_logger
from shared.structs.catalog import KIND_CONNECT_PROXY, NodeService
from shared.structs.config_entry_wire import ServiceConfigRequest, ServiceConfigResponse, ServiceID
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType, ExposeConfig
from shared.structs.registration import GATEWAY_KINDS

_log = get_logger("agent")

WAIT_NS = 600_000_000_000
"""Longest wait of one blocking query for changed defaults."""
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Registration:
    """What was asked for, to be merged with newer defaults again and again."""

    service: NodeService
    check_types: list[CheckType]
    token: str
    source: str
    persist: bool
    replace_checks: bool = False


class ServiceManager:
    """`open` it in a nursery before `add`. lock: held by whoever changes registrations over a wait."""

    def __init__(self, registry: Registry, call: EndpointCall, lock: trio.Lock) -> None:
        self._registry, self._call, self._lock = registry, call, lock
        self._nursery: trio.Nursery | None = None
        self._watches: dict[str, trio.CancelScope] = {}

    def open(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def manages(self, service: NodeService) -> bool:
        """Sidecar proxies and gateways, unless `enable_central_service_config` is off."""
        if not self._registry.config.enable_central_service_config:
            return False
        is_sidecar = service.kind == KIND_CONNECT_PROXY and bool(service.proxy.destination_service_id)
        return is_sidecar or service.kind in GATEWAY_KINDS

    async def defaults_of(self, registration: Registration) -> ServiceConfigResponse:
        """The central defaults now. Raises RefusedError: without them a proxy is not registered."""
        service = registration.service
        try:
            return await self._fetch(registration, 0)
        except RpcError as error:
            raise RefusedError(
                f'could not retrieve initial service_defaults config for service "{service.id}": {error}'
            ) from None

    def add(
        self,
        registration: Registration,
        defaults: ServiceConfigResponse | None,
        *,
        persist_defaults: bool,
        statuses: Statuses | None = None,
    ) -> None:
        """Register with these defaults, and watch for others. Raises RefusedError."""
        service_id = registration.service.id
        self.remove(service_id)
        self._register(registration, defaults, persist_defaults=persist_defaults, statuses=statuses)
        assert self._nursery is not None, "open() comes first"
        scope = self._watches[service_id] = trio.CancelScope()
        self._nursery.start_soon(self._watch, registration, defaults, scope)

    def remove(self, service_id: str) -> None:
        """No longer watch; what is not watched is not missed."""
        scope = self._watches.pop(service_id, None)
        if scope is not None:
            scope.cancel()

    def forget_removed(self) -> None:
        """End the watches of services that are no longer registered."""
        for service_id in tuple(self._watches):
            if self._registry.state.service(service_id) is None:
                self.remove(service_id)

    def _register(
        self,
        registration: Registration,
        defaults: ServiceConfigResponse | None,
        *,
        persist_defaults: bool,
        statuses: Statuses | None = None,
    ) -> None:
        try:
            self._registry.add_service(
                merge(registration.service, defaults),
                registration.check_types,
                registration.token,
                registration.source,
                persist=registration.persist,
                replace_checks=registration.replace_checks,
                statuses=statuses,
                as_registered=registration.service,
                defaults=defaults,
                persist_defaults=persist_defaults,
            )
        except RefusedError as error:
            raise RefusedError(f"error updating service registration: {error}") from None

    async def _fetch(self, registration: Registration, min_index: int) -> ServiceConfigResponse:
        tokens = self._registry.config.acl.tokens
        request = _request(registration, self._registry.config.datacenter)
        request.token = registration.token or tokens.agent or tokens.default
        request.min_query_index, request.max_query_time = min_index, WAIT_NS if min_index else 0
        raw = await self._call("ConfigEntry.ResolveServiceConfig", request.to_wire())
        with reading("ConfigEntry.ResolveServiceConfig"):
            return ServiceConfigResponse.from_raw(raw)

    async def _watch(
        self, registration: Registration, known: ServiceConfigResponse | None, scope: trio.CancelScope
    ) -> None:
        """known: what the registration was merged with, None if nothing was known of it."""
        index = 0 if known is None else known.index
        delay_s = RETRY_MIN_S
        with scope:
            while True:
                try:
                    found = await self._fetch(registration, index)
                except Exception as error:  # whatever it was, another service's watch must not end with it
                    _log.error("error handling service update", error=f"error watching service config: {error}")
                    await trio.sleep(delay_s)
                    delay_s = min(2 * delay_s, RETRY_MAX_S)
                    index = 0
                    continue
                delay_s = RETRY_MIN_S
                # An index that went back means another state; start over, as any blocking query has to.
                index = found.index if found.index >= index else 0
                if known is None or not _same(known, found):
                    known = found
                    await self._take_over(registration, found)

    async def _take_over(self, registration: Registration, defaults: ServiceConfigResponse) -> None:
        async with self._lock:
            try:
                self._register(registration, defaults, persist_defaults=True)
                await self._registry.files.flush()
            except (RefusedError, PersistError) as error:
                _log.error("error handling service update", error=str(error))


def _request(registration: Registration, datacenter: str) -> ServiceConfigRequest:
    service = registration.service
    name, upstreams = service.service, []
    if service.kind == KIND_CONNECT_PROXY:
        name = service.proxy.destination_service_name
        upstreams = [
            ServiceID(id=upstream.destination_name)
            for upstream in service.proxy.upstreams or ()
            if upstream.destination_type in ("", "service")
        ]
    return ServiceConfigRequest(name=name, datacenter=datacenter, upstream_ids=upstreams or None)


def _same(one: ServiceConfigResponse, other: ServiceConfigResponse) -> bool:
    names = ("proxy_config", "upstream_configs", "upstream_id_configs", "mesh_gateway", "expose")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def merge(service: NodeService, defaults: ServiceConfigResponse | None) -> NodeService:
    """A copy of the service with the defaults where it says nothing itself."""
    if defaults is None:
        return service
    merged = service.copy()
    proxy = merged.proxy = deepcopy(service.proxy)
    proxy.config = _filled(proxy.config, defaults.proxy_config)
    proxy.expose = ExposeConfig(
        checks=proxy.expose.checks or defaults.expose.checks,
        paths=proxy.expose.paths or defaults.expose.paths,
    )
    proxy.mesh_gateway.mode = proxy.mesh_gateway.mode or defaults.mesh_gateway.mode
    upstream_configs = {each.upstream.id: each.config for each in defaults.upstream_id_configs or ()}
    for upstream in proxy.upstreams or ():
        if upstream.destination_type not in ("", "service"):
            continue
        upstream.mesh_gateway.mode = upstream.mesh_gateway.mode or proxy.mesh_gateway.mode
        if upstream.destination_name in upstream_configs:
            upstream.config = _filled(upstream.config, upstream_configs[upstream.destination_name])
    return merged


def _filled(own: dict[str, Any] | None, defaults: dict[str, Any] | None) -> dict[str, Any] | None:
    """The own values, and the defaults for those that are missing or zero; maps are merged key by key."""
    if not defaults:
        return own
    filled = dict(own or {})
    for key, value in defaults.items():
        mine = filled.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            filled[key] = _filled(mine, value)
        elif not mine:
            filled[key] = value
    return filled
