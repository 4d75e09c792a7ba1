import os
import random
import zlib

import pytest


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of one simulated run: the same every time, another one with --long; SIM_SEED replays a run."""
    usual = zlib.crc32(request.node.nodeid.encode())
    other = random.SystemRandom().getrandbits(32) if request.config.getoption("--long") else usual
    chosen = int(os.environ.get("SIM_SEED") or other)
    print(f"replay: SIM_SEED={chosen} pytest '{request.node.nodeid}'")
    return chosen
