"""make_runner: which task carries out a check.

runner = make_runner(check, notify, rng=rng, agent=CheckAgent(config, aliased))
await nursery.start(runner.run)        # runs until cancelled, at most one probe at a time"""

from __future__ import annotations

import random

from services.rpc_core.local.checks.definition import runner_name
from services.rpc_core.local.checks.interface import Aliased, CheckAgent, Notify, Runner, output_limit
from services.rpc_core.local.checks.periodic import PeriodicRunner, Probe
from services.rpc_core.local.checks.ttl import TtlRunner
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

__all__ = ["Aliased", "CheckAgent", "Notify", "Runner", "TtlRunner", "make_runner"]


def make_runner(check: CheckType, notify: Notify, *, rng: random.Random, agent: CheckAgent) -> Runner:
    """The runner for a definition that `definition.validate` let through; `check.check_id` must be set.

    Raises RefusedError if nothing could carry it out."""
    kind = runner_name(check)
    if kind == "ttl":
        return TtlRunner(check, notify, output_limit(check, agent.config))
    if kind == "alias":
        from services.rpc_core.local.checks.alias import AliasRunner

        if agent.aliased is None:
            raise RefusedError("Check type is not valid")
        return AliasRunner(check, notify, agent.aliased, agent.config.node_name, output_limit(check, agent.config))
    return PeriodicRunner(check, notify, _probe(kind, check, agent), rng)


def _probe(kind: str, check: CheckType, agent: CheckAgent) -> Probe:
    """Imported when the first check of a kind is made: most agents run few kinds. Raises RefusedError."""
    limit = output_limit(check, agent.config)
    if kind == "tcp":
        from services.rpc_core.local.checks.tcp import TcpProbe

        return TcpProbe(check)
    if kind == "script":
        from services.rpc_core.local.checks.script import ScriptProbe

        return ScriptProbe(check, limit)
    if kind == "docker":
        from services.rpc_core.local.checks.docker import DockerError, DockerProbe

        try:
            return DockerProbe(check, limit)
        except DockerError as error:
            raise RefusedError(str(error)) from None
    from services.rpc_core.local.checks.tls import CheckTls

    if kind == "http":
        from services.rpc_core.local.checks.http import HttpProbe

        return HttpProbe(check, CheckTls(agent.config, check.tls_skip_verify), limit)
    from services.rpc_core.local.checks.grpc import GrpcProbe

    return GrpcProbe(check, CheckTls(agent.config, check.tls_skip_verify, ("h2",)) if check.grpc_use_tls else None)
