"""The tasks that carry out the agent's checks: one per check, started and stopped with it."""

from __future__ import annotations

import random
from dataclasses import dataclass

import trio

from services.rpc_core.local.checks.definition import MIN_INTERVAL_NS, is_script, runner_name
from services.rpc_core.local.checks.runner import CheckAgent, Notify, Runner, TtlRunner, make_runner
from shared.gotext.quoting import quote
from shared.log import get_logger
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

_log = get_logger("agent")


@dataclass(frozen=True, slots=True)
class _Running:
    runner: Runner
    scope: trio.CancelScope


class Runners:
    """`open` it in a nursery before `start`. agent: what the runners may ask of the agent, replaced on
    reload; it holds for checks that start from then on."""

    def __init__(self, notify: Notify, agent: CheckAgent, rng: random.Random) -> None:
        self._notify, self.agent, self._rng = notify, agent, rng
        self._nursery: trio.Nursery | None = None
        self._running: dict[str, _Running] = {}
        self.reap_after_s: dict[str, float] = {}
        """Seconds a check may be critical before its service is deregistered."""

    def open(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start(self, check_id: str, check: CheckType) -> None:
        """In the place of the one that runs under this id. Raises RefusedError if nothing could carry it out."""
        assert self._nursery is not None, "open() comes first"
        kind = runner_name(check)
        check = check.replace(check_id=check_id)
        if check.interval < MIN_INTERVAL_NS and kind not in ("ttl", "alias"):
            _log.warn("check has interval below minimum", check=check_id, minimum_interval="1s")
            check.interval = MIN_INTERVAL_NS
        runner = make_runner(check, self._notify, rng=self._rng, agent=self.agent)
        self.stop(check_id)
        running = _Running(runner, trio.CancelScope())
        self._running[check_id] = running
        self._nursery.start_soon(self._run, check_id, running)
        self._set_reaping(check_id, check)

    def stop(self, check_id: str) -> None:
        """What does not run is not missed."""
        self.reap_after_s.pop(check_id, None)
        running = self._running.pop(check_id, None)
        if running is not None:
            running.scope.cancel()

    def check_of(self, check_id: str) -> CheckType | None:
        """How the check is carried out now, None if it is not."""
        running = self._running.get(check_id)
        return None if running is None else running.runner.check

    def ttl(self, check_id: str) -> TtlRunner:
        """Raises RefusedError if no TTL check runs under this id."""
        running = self._running.get(check_id)
        if running is None or not isinstance(running.runner, TtlRunner):
            raise RefusedError(f"CheckID {quote(check_id)} does not have associated TTL")
        return running.runner

    def stats(self) -> dict[str, str]:
        """How many scripts and TTLs there are, as `consul info` counts them."""
        checks = [running.runner.check for running in self._running.values()]
        ttls = sum(check.ttl > 0 for check in checks)
        scripts = sum(is_script(check) and runner_name(check) == "script" for check in checks)
        return {"check_monitors": str(scripts), "check_ttls": str(ttls)}

    async def _run(self, check_id: str, running: _Running) -> None:
        with running.scope:
            try:
                await running.runner.run()
            except Exception as error:  # a bug in one runner must not end the other checks
                _log.error("A check ended", check=check_id, error=repr(error))

    def _set_reaping(self, check_id: str, check: CheckType) -> None:
        if check.deregister_critical_service_after <= 0:
            return
        seconds = check.deregister_critical_service_after / 1e9
        minimum_s = self.agent.config.check_deregister_interval_min_s
        if seconds < minimum_s:
            from shared.gotext.durations import format_duration_s

            _log.warn(
                "check has deregister interval below minimum",
                check=check_id,
                minimum_interval=format_duration_s(minimum_s),
            )
            seconds = minimum_s
        self.reap_after_s[check_id] = seconds
