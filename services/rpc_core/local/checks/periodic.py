"""PeriodicRunner: probes again and again, an interval after the last probe ended. The first probe comes at a random
moment of the first interval, so that checks registered together do not run together."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from services.rpc_core.local.checks.definition import MIN_INTERVAL_NS
from services.rpc_core.local.checks.interface import Notify
from services.rpc_core.local.checks.status import StatusFilter
from shared.log import get_logger
from shared.structs.proxy import CheckType

_log = get_logger("agent")


class Result(NamedTuple):
    """What a probe found. final: reported at once, whatever the thresholds say."""

    status: str
    output: str
    final: bool = False


Probe = Callable[[], Awaitable[Result]]
"""Looks once. Bounds its own time and never raises but when cancelled."""


class PeriodicRunner:
    """Runs a probe for ever."""

    def __init__(self, check: CheckType, notify: Notify, probe: Probe, rng: random.Random) -> None:
        self.check = check
        self._notify, self._probe, self._rng = notify, probe, rng
        self._filter = StatusFilter(
            check.check_id, notify, check.success_before_passing, check.failures_before_critical
        )
        self._interval_s = max(check.interval, MIN_INTERVAL_NS) / 1e9
        if check.interval < MIN_INTERVAL_NS:
            _log.warn("check has interval below minimum", check=check.check_id, minimum_interval="1s")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        task_status.started()
        await trio.sleep(self._rng.random() * self._interval_s)
        while True:
            result = await self._probe()
            if result.final:
                self._notify.update_check(self.check.check_id, result.status, result.output)
            else:
                self._filter.result(result.status, result.output)
            await trio.sleep(self._interval_s)
