"""The process: rpc_core of a server or of a client, by configuration. Only what that one needs is imported."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import trio

from shared.log import get_logger
from shared.service import ServiceContext

if TYPE_CHECKING:
    from services.rpc_core.client.service import ClientRpcCore
    from services.rpc_core.service import RpcCore

_GC_THRESHOLDS = 10_000, 10, 20
"""As in the gateway: calls make next to no cycles, and those that wait would make every full collection long."""


async def main(ctx: ServiceContext) -> None:
    """Entry of the process."""
    made: type[RpcCore] | type[ClientRpcCore]
    if ctx.config.server:
        from services.rpc_core.service import RpcCore as made
    else:
        from services.rpc_core.client.service import ClientRpcCore as made
    await ctx.wait_turn()
    service = made(ctx.config)
    kind = "server" if ctx.config.server else "client"

    async def stop() -> None:
        get_logger(f"agent.{kind}").info(f"shutting down {kind}")
        await service.drain()

    ctx.on_reload(service.configure)
    ctx.on_stop(stop)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        if not ctx.supervised:  # else the supervisor says when: after the agent has joined
            service.start_sync()
        gc.set_threshold(*_GC_THRESHOLDS)
        ctx.ready()
