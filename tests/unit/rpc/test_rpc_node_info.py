"""The node's own entry: what the agent says of itself, and when the catalog says something else."""

from __future__ import annotations

from pathlib import Path

from services.rpc_core.local.node_info import is_in_sync, registration
from shared.config.runtime import RuntimeConfig
from shared.structs.catalog import Node


def config(directory: Path) -> RuntimeConfig:
    return RuntimeConfig.dev(directory, node_name="n1", bind_addr="10.0.0.1", node_meta={"rack": "a"})


def test_the_registration_carries_the_nodes_metadata_and_addresses(tmp_path: Path) -> None:
    ours = config(tmp_path)
    request = registration(ours)
    assert (request.node, request.id, request.address) == ("n1", ours.node_id, "10.0.0.1")
    assert request.node_meta == {"rack": "a", "consul-network-segment": ""}
    assert request.tagged_addresses == ours.tagged_addresses
    assert (request.service, request.check) == (None, None)


def test_the_catalog_is_right_only_if_it_says_the_same(tmp_path: Path) -> None:
    ours = config(tmp_path)
    said = registration(ours)
    node = Node(
        id=said.id, node=said.node, address=said.address, tagged_addresses=said.tagged_addresses, meta=said.node_meta
    )
    assert is_in_sync(node, ours)
    assert not is_in_sync(None, ours)
    assert not is_in_sync(node.replace(meta={"consul-network-segment": ""}), ours)
    assert not is_in_sync(node.replace(tagged_addresses={}), ours)
    assert not is_in_sync(node.replace(id="99999999-0000-0000-0000-000000000000"), ours)
