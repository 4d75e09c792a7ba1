"""Programs as handlers of watches: however one ends, the watch goes on."""

from __future__ import annotations

import trio

from services.rpc_core.local.watches.handlers import run_program


async def test_a_handler_that_a_real_time_signal_ends_is_only_said() -> None:
    with trio.fail_after(30):
        await run_program(["/bin/sh", "-c", "kill -40 $$"], 1, None)
