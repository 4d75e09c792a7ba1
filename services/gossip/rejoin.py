"""Finding the pool again after a restart, by the members the snapshot file knows.

Serf tries them one after the other, once. Here the next one is tried while one that hangs is still waited for, as
members start to suspect a process that has been away for a second; and when nobody was there it is tried again for
some minutes: this process may be restarted by itself, long after the agent's own attempts to join have ended, and
while those that it knows are being restarted, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

STAGGER_S = 0.5
"""How long one member may hang before the next one is tried beside it; the dial alone may take ten seconds."""
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)

Attempt = Callable[[str, str], Awaitable[bool]]
Log = Callable[[str, str], None]


async def rejoin(
    previous: Sequence[tuple[str, str]], attempt: Attempt, is_wanted: Callable[[], bool], log: Log
) -> None:
    """Returns once one of `previous` (name, "ip:port"), in this order, was joined, or no more is to be tried.

    attempt(name, address) -> whether it worked. is_wanted: no longer once somebody else has found us."""
    for pause_s in (*PAUSES_S, None):
        if not previous or not is_wanted() or await _any_joined(previous, attempt, log):
            return
        log("warn", "serf: Failed to re-join any previously known node")
        if pause_s is not None:
            await trio.sleep(pause_s)


async def _any_joined(previous: Sequence[tuple[str, str]], attempt: Attempt, log: Log) -> bool:
    joined = False

    async def try_one(name: str, address: str, ended: trio.Event) -> None:
        nonlocal joined
        log("info", f"serf: Attempting re-join to previously known node: {name}: {address}")
        if await attempt(name, address):
            log("info", f"serf: Re-joined to previously known node: {name}: {address}")
            joined = True
            nursery.cancel_scope.cancel()
        ended.set()

    async with trio.open_nursery() as nursery:
        for name, address in previous:
            ended = trio.Event()
            nursery.start_soon(try_one, name, address, ended)
            with trio.move_on_after(STAGGER_S):
                await ended.wait()
    return joined
