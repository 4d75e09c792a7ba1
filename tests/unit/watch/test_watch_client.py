"""How watches reach the agent's own API."""

from __future__ import annotations

import pytest
import trio

from services.rpc_core.local.watches import client
from services.rpc_core.local.watches.client import ApiClient
from shared.config.runtime import RuntimeConfig
from shared.watch_plan import Request, WatchError
from tests.agents import PATIENCE_S
from tests.loopback import LoopbackPool


async def test_a_handshake_that_never_ends_leaves_no_connection(
    loopback: LoopbackPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 2.0)  # the handshake begins within it
    (listener,) = await trio.open_tcp_listeners(0, host=loopback())
    host, port = listener.socket.getsockname()
    config = RuntimeConfig.dev("run", node_name="n1")
    config = config.replace(addresses=config.addresses.replace(https=(f"{host}:{port}",)))

    async def ask() -> None:
        with pytest.raises(WatchError, match="i/o timeout"):
            await ApiClient(config, "").get(Request("/v1/status/leader", {}))

    with trio.fail_after(PATIENCE_S):
        async with listener, trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            async with await listener.accept() as silent:
                assert (await silent.receive_some(1))[0] == 22  # the record type of a handshake
                while await silent.receive_some(1000):
                    pass
