import os
import random

import pytest


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of one simulated run; pytest shows the line to replay it when the test fails."""
    chosen = int(os.environ.get("SIM_SEED") or random.SystemRandom().getrandbits(32))
    print(f"replay: SIM_SEED={chosen} pytest '{request.node.nodeid}'")
    return chosen
