"""Loopback addresses that no other test, in this or another run, uses at the same time.

Claimed by binding a Unix socket in the abstract namespace under the address's name: the kernel frees the claim
when the run ends, however it ends. PROCONSUL_TEST_NET (default 127.64.0.0/10) is where they come from."""

from __future__ import annotations

import ipaddress
import os
import random
import socket


class LoopbackPool:
    def __init__(self) -> None:
        self._network = ipaddress.ip_network(os.environ.get("PROCONSUL_TEST_NET", "127.64.0.0/10"))
        self._claims: list[socket.socket] = []
        self._random = random.SystemRandom()

    def __call__(self) -> str:
        """An address that was free a moment ago. Raises RuntimeError when the network seems full."""
        for _ in range(1000):
            offset = self._random.randrange(1, self._network.num_addresses - 1)
            address = str(self._network.network_address + offset)
            if address.endswith((".0", ".255")):
                continue
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(f"\0proconsul-test-{address}")
            except OSError:
                claim.close()
                continue
            self._claims.append(claim)
            return address
        raise RuntimeError(f"no free address left in {self._network}")

    def close(self) -> None:
        for claim in self._claims:
            claim.close()
        self._claims.clear()
