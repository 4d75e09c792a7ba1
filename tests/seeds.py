"""Seeds of random tests: the same in every run of CI, others with --long; each test's own variable replays a run."""

from __future__ import annotations

import random
import sys
import zlib


def seed_of(name: str) -> int:
    if "--long" in sys.argv:
        return random.SystemRandom().getrandbits(32)
    return zlib.crc32(name.encode())
