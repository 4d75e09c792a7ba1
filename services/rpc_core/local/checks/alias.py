"""Alias checks: the health of another service instance, here or on another node, or of a whole node."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from services.rpc_core.local.checks.interface import Aliased, Notify
from shared.gotext.quoting import quote
from shared.structs.catalog import CRITICAL, PASSING, WARNING, HealthCheck
from shared.structs.proxy import CheckType

REFRESH_S = 60.0
"""Looked at again after this long, if nothing said that it changed."""
WAIT_S = 60.0
"""How long a query for another node's checks blocks."""
FREE_FAILURES = 3
"""Queries that may fail in a row before the next one is put off."""
BACKOFF_S_MAX = 60.0
ATTEMPTS_TO_FIND_SERVICE = 4


def aliased_health(checks: Iterable[HealthCheck], node: str, service_id: str) -> tuple[str, str, bool]:
    """Status and output from the checks of a service and of its node, and whether one of the service was seen.

    checks: without the alias itself. node: "" takes checks of any node. service_id: "" for the node's own checks
    alone. The worst counts: the first critical one, else the last warning."""
    status, output, found = PASSING, "No checks found.", False
    for check in checks:
        if node and check.node != node:
            continue
        if check.service_id not in ("", service_id):
            continue
        found = found or check.service_id == service_id
        if check.status in (CRITICAL, WARNING):
            status = check.status
            output = f"Aliased check {quote(check.name)} failing: {check.output}"
            if status == CRITICAL:
                break
        elif status == PASSING:
            output = "All checks passing."
    return status, output, found


def backoff_s(failures: int) -> float:
    """Seconds to wait after so many queries failed in a row."""
    if failures <= FREE_FAILURES:
        return 0.0
    return min(float(1 << min(failures - FREE_FAILURES, 31)), BACKOFF_S_MAX)


class AliasRunner:
    """Keeps one alias check equal to what it stands for."""

    def __init__(self, check: CheckType, notify: Notify, aliased: Aliased, own_node: str, output_bytes: int) -> None:
        """own_node: the name of this agent's node. output_bytes: what is kept of an output, which may hold that of
        another alias, which may hold ours."""
        self.check = check
        self._notify, self._aliased = notify, aliased
        self._own_node, self._output_bytes = own_node, output_bytes

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        task_status.started()
        if self.check.alias_node:
            await self._follow_node(self.check.alias_node)
        else:
            await self._follow_local()

    async def _follow_local(self) -> None:
        service_id = self.check.alias_service
        changed = trio.Event()

        def on_change() -> None:
            changed.set()

        end = self._aliased.on_service_change(service_id, on_change)
        try:
            while True:
                changed = trio.Event()
                status, output, found = aliased_health(self._others(self._aliased.local_checks()), "", service_id)
                self._report(status, output, found or self._aliased.service_exists(service_id))
                with trio.move_on_after(REFRESH_S):
                    await changed.wait()
                await trio.lowlevel.checkpoint()
        finally:
            end()

    async def _follow_node(self, node: str) -> None:
        service_id = self.check.alias_service
        index, failures = 0, 0
        while True:
            await trio.sleep(backoff_s(failures))
            try:
                index, checks = await self._aliased.node_checks(node, index, WAIT_S)
            except Exception as error:  # whatever it was, it is the check's output
                failures += 1
                if failures > 1:
                    text = f"Failure checking aliased node or service: {error}"
                    self._notify.update_check(self.check.check_id, CRITICAL, text)
                continue
            failures, index = 0, max(index, 1)
            status, output, found = aliased_health(self._others(checks), node, service_id)
            self._report(status, output, found or await self._exists_there(node, service_id))

    def _others(self, checks: Iterable[HealthCheck]) -> list[HealthCheck]:
        """Without this very check, which would otherwise keep itself as bad as it once was: as a check of the node it
        bears on every service there."""
        own = (self._own_node, self.check.check_id)
        others = [check for check in checks if (check.node, check.check_id) != own]
        return sorted(others, key=lambda check: check.check_id)

    async def _exists_there(self, node: str, service_id: str) -> bool:
        """Whether the node has the service; yes, if nobody can tell."""
        for attempt in range(1, ATTEMPTS_TO_FIND_SERVICE + 1):
            try:
                return service_id in await self._aliased.node_service_ids(node)
            except Exception:
                if attempt < ATTEMPTS_TO_FIND_SERVICE:
                    await trio.sleep(attempt)
        return True

    def _report(self, status: str, output: str, exists: bool) -> None:
        check = self.check
        if not exists:
            status = CRITICAL
            output = f"Service {check.alias_service} could not be found on node {check.alias_node}"
        data = output.encode("utf-8", "surrogateescape")
        if len(data) > self._output_bytes:
            output = data[: self._output_bytes].decode("utf-8", "surrogateescape")
        self._notify.update_check(check.check_id, status, output)
