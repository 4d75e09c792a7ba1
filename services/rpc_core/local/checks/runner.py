"""make_runner: which task carries out a check.

    runner = make_runner(check, notify, rng=rng, agent=CheckAgent(config, aliased))
    await nursery.start(runner.run)        # runs until cancelled, at most one probe at a time"""

from __future__ import annotations

import random

from services.rpc_core.local.checks.definition import runner_name
from services.rpc_core.local.checks.interface import Aliased, CheckAgent, Notify, Runner, output_limit
from services.rpc_core.local.checks.ttl import TtlRunner
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

__all__ = ["Aliased", "CheckAgent", "Notify", "Runner", "TtlRunner", "make_runner"]


def make_runner(check: CheckType, notify: Notify, *, rng: random.Random, agent: CheckAgent) -> Runner:
    """The runner for a definition that `definition.validate` let through; `check.check_id` must be set.

    Raises RefusedError if nothing could carry it out."""
    kind = runner_name(check)
    limit = output_limit(check, agent.config)
    if kind == "ttl":
        return TtlRunner(check, notify, limit)
    raise RefusedError(f"Checks of type {kind} cannot be carried out yet")
