"""What a runner of checks is to the local state, and what the local state is to a runner.

A runner never touches the local state: it calls `Notify.update_check`, from its own task, each time a probe ended
and the thresholds of the definition let its status through, also when nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from services.rpc_core.local.checks.definition import DEFAULT_OUTPUT_BYTES
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import HealthCheck
from shared.structs.proxy import CheckType


class Notify(Protocol):
    """Where statuses go. The local state is one."""

    def update_check(self, check_id: str, status: str, output: str) -> None:
        """The status and output of a check, perhaps the same as before. Does not block, does not raise."""


class Aliased(Protocol):
    """What alias checks look at: the agent's own checks and services, and those of other nodes."""

    def local_checks(self) -> Iterable[HealthCheck]:
        """All checks of this agent."""

    def service_exists(self, service_id: str) -> bool:
        """Whether a service of this id is registered with this agent."""

    def on_service_change(self, service_id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback()` after each change of a check that bears on the service: its own and those of the node.
        Must not block; called from the task that made the change. Returns what ends it."""

    async def node_checks(self, node: str, min_index: int, wait_s: float) -> tuple[int, list[HealthCheck]]:
        """All checks of a node of this datacenter, as Health.NodeChecks gives them: stale reads allowed, at most
        15 s old; waits up to `wait_s` for an index above `min_index` (0: answers at once). Returns index and checks.
        Raises Exception with the text of the failure."""

    async def node_service_ids(self, node: str) -> set[str]:
        """The ids of the services of a node, as Catalog.NodeServices gives them. Raises as `node_checks`."""


class Runner(Protocol):
    """One check's task."""

    check: CheckType

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carries the check out until cancelled. Has started when its schedule has."""


@dataclass(frozen=True, slots=True)
class CheckAgent:
    """What runners need to know of the agent. aliased: None if alias checks cannot occur (tests)."""

    config: RuntimeConfig
    aliased: Aliased | None = None


def output_limit(check: CheckType, config: RuntimeConfig) -> int:
    """Bytes of output to keep: the agent's limit, less if the definition asks for less."""
    limit = config.check_output_max_size or DEFAULT_OUTPUT_BYTES
    return min(limit, check.output_max_size) if check.output_max_size > 0 else limit
