"""Programs as handlers of watches: however one ends, the watch goes on."""

from __future__ import annotations

import pytest
import trio

from services.rpc_core.local.watches.handlers import _signal_name, run_program


@pytest.mark.parametrize(("number", "name"), [(9, "killed"), (15, "terminated"), (40, "real-time signal 6")])
def test_every_signal_has_a_name(number: int, name: str) -> None:
    assert _signal_name(number) == name


async def test_a_handler_that_a_real_time_signal_ends_is_only_said() -> None:
    with trio.fail_after(30):
        await run_program(["/bin/sh", "-c", "kill -40 $$"], 1, None)
