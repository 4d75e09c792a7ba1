"""AgentCore: what rpc_core has in every agent: configuration, gossip, connections to servers, a rate limit."""

from __future__ import annotations

import random

import trio

from services.rpc_core.limits import TokenBucket
from services.rpc_core.pool import Pools
from shared import metrics
from shared.config.runtime import RuntimeConfig
from shared.ipc import Link
from shared.server_rpc.pool import ServerPool


class AgentCore:
    """One per process. servers: connections to (other) servers."""

    def __init__(
        self, config: RuntimeConfig, *, gossip: Link, pools: Pools, servers: ServerPool, rng: random.Random
    ) -> None:
        self.config = config
        self.gossip = gossip
        self.pools = pools
        self.servers = servers
        self.rng = rng
        self.limiter = TokenBucket(config.limits.rpc_rate, config.limits.rpc_max_burst, trio.current_time())

    def configure(self, config: RuntimeConfig) -> None:
        """Take over a reloaded configuration."""
        if config.limits != self.config.limits:
            self.limiter = TokenBucket(config.limits.rpc_rate, config.limits.rpc_max_burst, trio.current_time())
        self.config = config

    def allow_call(self) -> bool:
        """Count a call that the agent originates, and take a token of its rate limit for it."""
        metrics.incr("consul.client.rpc")
        return self.take_token()

    def take_token(self) -> bool:
        """Take a token of the agent's own rate limit (`limits.rpc_rate`)."""
        return self.limiter.unlimited or self.limiter.allow(trio.current_time())
