"""Entry of the process: python -m services.raft_node --config FILE."""

from __future__ import annotations

import gc
import random

import trio

from services.raft_node.log.errors import StorageError
from services.raft_node.opening import open_storage
from services.raft_node.shell import RaftNode
from shared.ipc import SocketPathError
from shared.service import ServiceContext, StartError, run_service
from shared.state.errors import StateError

_GC_THRESHOLD = 20_000
"""Young objects between collections: requests are short-lived and hold no cycles."""


async def main(ctx: ServiceContext) -> None:
    try:
        storage = open_storage(ctx.config)
    except (StorageError, StateError, OSError) as error:
        raise StartError(f"Failed to start Consul server: Failed to start Raft: {error}") from error
    try:
        await ctx.wait_turn()
        node = RaftNode(ctx.config, storage, random.Random())
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(node.run)
            except SocketPathError as error:
                raise StartError(str(error)) from error
            ctx.on_stop(node.door.drain)
            ctx.on_reload(node.door.configure)
            gc.collect()
            gc.freeze()
            gc.set_threshold(_GC_THRESHOLD, 20, 50)
            ctx.ready()
    finally:
        storage.close()


if __name__ == "__main__":
    run_service("raft_node", main)
