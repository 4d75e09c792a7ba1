"""The state of a very large pool: it is taken over in pieces, so that nobody is taken for dead meanwhile."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from services.gossip.codec.messages import NodeRecord
from services.gossip.codec.serf_messages import encode_tags
from services.gossip.codec.stream import PushPull
from services.gossip.pool import Pool
from services.gossip.swim import MergeError
from shared.config import sections
from shared.config.runtime import RuntimeConfig

VSN = bytes((1, 5, 2, 2, 5, 4))
COUNT = 5000


@pytest.fixture
def pool(loopback: Callable[[], str], tmp_path: Path) -> Pool:
    ports = sections.Ports(serf_lan=18301, serf_wan=18302, server=18300)
    config = RuntimeConfig.dev(tmp_path, node_name="me", bind_addr=loopback(), server=False, ports=ports)
    return Pool(config, "lan", None, lambda pool, kind, members: None, lambda pool, event: None)


def state(datacenter: str) -> PushPull:
    meta = encode_tags({"role": "node", "dc": datacenter})
    return PushPull(
        True,
        tuple(
            NodeRecord(f"n{number}", bytes((192, 0, number >> 8, number & 255)), 8301, meta, 1, 3 * (number % 2), VSN)
            for number in range(COUNT)
        ),
        b"",
    )


async def test_others_have_their_turn_while_a_large_state_is_merged(pool: Pool) -> None:
    sizes: list[int] = []

    async def others() -> None:
        while True:
            sizes.append(len(pool.serf.members))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        nursery.start_soon(others)
        await pool._exchange.merge(state("dc1"))
        assert len(pool.serf.members) == COUNT // 2 + 1
        with pytest.raises(MergeError, match="part of wrong datacenter"):
            await pool._exchange.merge(state("dc2"))
        nursery.cancel_scope.cancel()
    assert max(after - before for before, after in itertools.pairwise(sizes)) <= 500
