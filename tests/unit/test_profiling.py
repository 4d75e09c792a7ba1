"""What a process says about itself: profiles by kind, and only one sampler at a time."""

from __future__ import annotations

import pytest
import trio

from shared import profiling


@pytest.mark.parametrize(("kind", "shown"), [("goroutine", "task "), ("heap", " bytes ")])
async def test_what_is_known_at_once(kind: str, shown: str) -> None:
    assert shown in await profiling.take(kind, 0)


@pytest.mark.parametrize("kind", ["profile", "trace"])
async def test_one_look_at_a_time(kind: str) -> None:
    found: list[str] = []

    async def take(seconds: float) -> None:
        found.append(await profiling.take(kind, seconds))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, 0.1)
            nursery.start_soon(take, 0.1)
        await take(0.02)
    refused = f"a {kind} of this process is being taken already\n"
    assert found[0] == refused
    assert refused not in found[1:]
    assert len(found) == 3


async def test_another_kind_is_none() -> None:
    with pytest.raises(ValueError, match="unknown profile 'block'"):
        await profiling.take("block", 1)
