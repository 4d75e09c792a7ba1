"""Leader duties begin when raft_node says so, not when an old page does."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from services.rpc_core.service import RpcCore
from shared.config.runtime import RuntimeConfig
from tests.integration.rpc.rpc_neighbours import LonelyGossip, OneServerRaft, SameProcessReader, fresh_address


async def test_a_page_of_an_earlier_run_makes_no_leader(tmp_path: Path) -> None:
    config = RuntimeConfig.dev(tmp_path, node_name="n1", bind_addr=fresh_address())
    raft, gossip = OneServerRaft(config), LonelyGossip(config)
    raft.lead()  # what is left of the run before this one
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            await nursery.start(gossip.server.run)
            core = RpcCore(config)
            core.core.reader = SameProcessReader(raft.store)  # type: ignore[assignment]
            await nursery.start(core.run)
            core._on_leadership()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert "Gossip.UserEvent" not in [name for name, _ in gossip.calls]
            await nursery.start(raft.server.run)
            while "Gossip.UserEvent" not in [name for name, _ in gossip.calls]:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    raft.store.close()
