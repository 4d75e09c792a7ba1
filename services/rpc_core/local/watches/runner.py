"""Watches of the agent: each plan in a task, asking the API and calling its handler, until it is replaced.

What it takes to run them is imported when there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from shared.config.runtime import RuntimeConfig
from shared.gotext.durations import format_duration_ns
from shared.log import get_logger

if TYPE_CHECKING:
    from shared.watch_plan import Plan

_log = get_logger("agent.watch.watch")


class WatchConfigError(Exception):
    """A watch of the configuration cannot be. The text is Consul's."""


class Watches:
    """One per agent. They run from `start` on."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._plans: list[Plan] = []
        self._running: list[_Run] = []
        self._nursery: trio.Nursery | None = None
        self._started = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Gives the watches a place to run in, until cancelled. Raises WatchConfigError at once."""
        self._plans = _compile(self._config)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._begin()
            task_status.started()
            await trio.sleep_forever()

    def start(self) -> None:
        """The agent's API is there: begin, now or with `run`."""
        if not self._started:
            self._started = True
            self._begin()

    def configure(self, config: RuntimeConfig) -> None:
        """Stop the watches there are, and run those of a reloaded configuration instead. Raises WatchConfigError:
        then the old ones go on.

        A handler that is at work is let finish, as in Consul."""
        plans = _compile(config)
        for each in self._running:
            each.stop()
        self._config, self._plans = config, plans
        self._begin()

    def _begin(self) -> None:
        if self._nursery is None or not self._started:
            return
        self._running = [_Run(plan, self._config) for plan in self._plans]
        for each in self._running:
            self._nursery.start_soon(each.run)


def _compile(config: RuntimeConfig) -> list[Plan]:
    if not config.watches:
        return []
    from services.rpc_core.local.watches.plans import compile_plans
    from shared.watch_plan import WatchError

    try:
        return compile_plans(config)
    except WatchError as error:
        raise WatchConfigError(str(error)) from None


class _Run:
    """One plan at work."""

    def __init__(self, plan: Plan, config: RuntimeConfig) -> None:
        self._plan, self._config = plan, config
        self._asking = trio.CancelScope()
        self._stopped = False

    def stop(self) -> None:
        """No more requests; one that waits for an answer is given up."""
        self._stopped = True
        self._asking.cancel()

    async def run(self) -> None:
        try:
            await self._ask_for_ever()
        except Exception as error:  # a bug met by one watch must not end the agent's other work
            _log.error("Failed to run watch", type=self._plan.kind, error=repr(error))

    async def _ask_for_ever(self) -> None:
        from services.rpc_core.local.watches.client import ApiClient
        from shared.watch_plan import Progress, WatchError

        progress = Progress(self._plan)
        client = ApiClient(self._config, self._plan.token)
        while not self._stopped:
            change = None
            self._asking = trio.CancelScope()
            with self._asking:
                try:
                    change = progress.take(await client.get(progress.request()))
                except WatchError as error:
                    retry_s = progress.fail()
                    retry = format_duration_ns(int(retry_s * 1e9))
                    _log.error("Watch errored", type=self._plan.kind, error=str(error), retry=retry)
                    await trio.sleep(retry_s)
            if change is not None and not self._stopped:
                await self._handle(*change)

    async def _handle(self, index: int, data: object) -> None:
        from services.rpc_core.local.watches.handlers import run_program, send_request

        if self._plan.by_hash:
            _log.error(
                "Handler only supports index-based  watches but non index-based watch run. Skipping Handler."
            )  # and then it is called all the same, as in Consul
        exempt = self._plan.exempt
        if "http_handler_config" in exempt:
            await send_request(exempt["http_handler_config"], self._config, index, data)
        else:
            await run_program(exempt.get("handler") or exempt["args"], index, data)
