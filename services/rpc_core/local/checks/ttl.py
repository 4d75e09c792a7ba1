"""TTL checks: the service itself says how it is, and is critical when it stays silent too long."""

from __future__ import annotations

import trio

from services.rpc_core.local.checks.interface import Notify
from shared.log import get_logger
from shared.structs.catalog import CRITICAL
from shared.structs.proxy import CheckType

_log = get_logger("agent")


class TtlTimer:
    """When a TTL check expires and what it says then. Sans-IO; times are seconds of any one clock."""

    def __init__(self, ttl_s: float, output_bytes: int, now: float) -> None:
        self._ttl_s, self._output_bytes = ttl_s, output_bytes
        self.deadline: float | None = now + ttl_s
        """None: expired, and nothing was heard since."""
        self._last_output = ""

    def renew(self, output: str, now: float) -> str:
        """The service said something. Returns its output, cut to the limit (bytes of UTF-8)."""
        data = output.encode("utf-8", "surrogateescape")
        if len(data) > self._output_bytes:
            kept = data[: self._output_bytes].decode("utf-8", "surrogateescape")
            output = f"{kept} ... (captured {self._output_bytes} of {len(data)} bytes)"
        self._last_output = output
        self.deadline = now + self._ttl_s
        return output

    def expire(self, now: float) -> str | None:
        """What the check says now that nobody renewed it in time; None if it is not that late, or said so before."""
        if self.deadline is None or now < self.deadline:
            return None
        self.deadline = None
        if not self._last_output:
            return "TTL expired"
        return f"TTL expired (last output before timeout follows): {self._last_output}"


class TtlRunner:
    """Waits for the TTL of one check to expire."""

    def __init__(self, check: CheckType, notify: Notify, output_bytes: int) -> None:
        self.check = check
        self._notify = notify
        self._timer = TtlTimer(check.ttl / 1e9, output_bytes, trio.current_time())
        self._renewed = trio.Event()

    def set_status(self, status: str, output: str) -> str:
        """The service reports its status: passes it on and starts the TTL anew. Returns the output as it is kept,
        cut if it was too long."""
        _log.debug("Check status updated", check=self.check.check_id, status=status)
        output = self._timer.renew(output, trio.current_time())
        self._notify.update_check(self.check.check_id, status, output)
        self._renewed.set()
        return output

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled. The TTL began when the runner was made."""
        task_status.started()
        while True:
            self._renewed = trio.Event()
            deadline = self._timer.deadline
            if deadline is None:
                await self._renewed.wait()
            else:
                await trio.sleep_until(deadline)  # a renewal meanwhile has moved the timer's deadline
            output = self._timer.expire(trio.current_time())
            if output is not None:
                _log.warn("Check missed TTL, is now critical", check=self.check.check_id)
                self._notify.update_check(self.check.check_id, CRITICAL, output)
