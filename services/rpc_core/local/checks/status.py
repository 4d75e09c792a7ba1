"""StatusFilter: a check changes its status only after so many results of one kind in a row."""

from __future__ import annotations

from services.rpc_core.local.checks.interface import Notify
from shared.log import get_logger
from shared.structs.catalog import PASSING, WARNING

_log = get_logger("agent")


class StatusFilter:
    """Lets results through to `notify`. The first result of all always gets through. Sans-IO.

    successes, failures: how many in a row are needed; 0 and 1 let everything through."""

    def __init__(self, check_id: str, notify: Notify, successes: int, failures: int) -> None:
        self._check_id, self._notify = check_id, notify
        self._successes_needed, self._failures_needed = successes, failures
        self._successes, self._failures = successes, failures

    def result(self, status: str, output: str) -> None:
        """A probe has ended. Warnings count as successes."""
        if status in (PASSING, WARNING):
            self._successes, self._failures = self._successes + 1, 0
            if self._successes >= self._successes_needed:
                _log.debug("Check status updated", check=self._check_id, status=status)
                self._notify.update_check(self._check_id, status, output)
                return
            _log.warn(
                "Check passed but has not reached success threshold",
                check=self._check_id,
                status=status,
                success_count=self._successes,
                success_threshold=self._successes_needed,
            )
            return
        self._successes, self._failures = 0, self._failures + 1
        if self._failures >= self._failures_needed:
            _log.warn("Check is now critical", check=self._check_id)
            self._notify.update_check(self._check_id, status, output)
            return
        _log.warn(
            "Check failed but has not reached failure threshold",
            check=self._check_id,
            status=status,
            failure_count=self._failures,
            failure_threshold=self._failures_needed,
        )
