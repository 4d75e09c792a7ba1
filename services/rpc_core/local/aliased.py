"""What checks see of the agent: where their statuses go, and what alias checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from services.rpc_core.local.state import LocalState
from services.rpc_core.local.sync import EndpointCall
from services.rpc_core.replies import reading
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import HealthCheck, NodeServices
from shared.structs.query import NodeSpecificRequest

_STALE_MAX_NS = 15_000_000_000


class StateNotify:
    """The local state, at the present time."""

    def __init__(self, state: LocalState) -> None:
        self._state = state

    def update_check(self, check_id: str, status: str, output: str) -> None:
        self._state.update_check(check_id, status, output, trio.current_time())


class StateAliased:
    """The agent's own services from its state, those of other nodes from the catalog. call: how it is reached."""

    def __init__(self, state: LocalState, call: EndpointCall, config: RuntimeConfig) -> None:
        self._state, self._call, self._config = state, call, config

    def local_checks(self) -> Iterable[HealthCheck]:
        return self._state.live_checks().values()

    def service_exists(self, service_id: str) -> bool:
        return self._state.service(service_id) is not None

    def on_service_change(self, service_id: str, callback: Callable[[], None]) -> Callable[[], None]:
        return self._state.watch_alias(service_id, callback)

    async def node_checks(self, node: str, min_index: int, wait_s: float) -> tuple[int, list[HealthCheck]]:
        """Raises RpcError."""
        request = self._request(node)
        request.min_query_index, request.max_query_time = min_index, round(wait_s * 1e9)
        reply = await self._call("Health.NodeChecks", request.to_wire())
        with reading("Health.NodeChecks"):
            return int(reply["Index"]), [HealthCheck.from_wire(each) for each in reply["HealthChecks"] or ()]

    async def node_service_ids(self, node: str) -> set[str]:
        """Raises RpcError."""
        reply = await self._call("Catalog.NodeServices", self._request(node).to_wire())
        with reading("Catalog.NodeServices"):
            found = reply["NodeServices"]
            return set() if found is None else set(NodeServices.from_wire(found).services or ())

    def _request(self, node: str) -> NodeSpecificRequest:
        return NodeSpecificRequest(
            datacenter=self._config.datacenter,
            node=node,
            token=self._config.acl.tokens.default,
            allow_stale=True,
            max_stale_duration=_STALE_MAX_NS,
        )
