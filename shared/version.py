"""Version numbers: our own, and the Consul release whose behaviour and wire formats we keep to."""

from __future__ import annotations

CONSUL_VERSION = "1.8.7"
"""What the agent announces in gossip tags, `/v1/agent/self` and the banner, so that peers accept it."""

PROCONSUL_VERSION = "0.1.0"

CONSUL_REVISION = ""
"""Git commit of the build; Debian's Consul 1.8.7 leaves it empty, and so do we."""

CONSUL_PROTOCOL_VERSION = 2
"""Agent protocol spoken by default, and the range it understands (`consul version` prints both)."""

CONSUL_PROTOCOL_MIN, CONSUL_PROTOCOL_MAX = 2, 3
