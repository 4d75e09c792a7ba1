"""The agent's own entry in the catalog: what it should be, and whether it is."""

from __future__ import annotations

from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import Node, RegisterRequest

SEGMENT_META_KEY = "consul-network-segment"


def node_meta(config: RuntimeConfig) -> dict[str, str]:
    """The node's metadata: what the user configured, and the network segment."""
    return {**config.node_meta, SEGMENT_META_KEY: config.segment}


def is_in_sync(node: Node | None, config: RuntimeConfig) -> bool:
    """Whether the catalog's entry says what we say."""
    return (
        node is not None
        and node.id == config.node_id
        and (node.tagged_addresses or {}) == config.tagged_addresses
        and (node.meta or {}) == node_meta(config)
    )


def registration(config: RuntimeConfig) -> RegisterRequest:
    """The request that puts it right; services and checks of the node are not touched."""
    return RegisterRequest(
        datacenter=config.datacenter,
        id=config.node_id,
        node=config.node_name,
        address=config.advertise_addr,
        tagged_addresses=dict(config.tagged_addresses),
        node_meta=node_meta(config),
        token=config.acl.tokens.agent or config.acl.tokens.default,
    )
