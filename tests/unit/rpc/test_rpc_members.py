"""Gossip members as servers and catalog entries."""

from __future__ import annotations

from typing import Any

import pytest

from services.rpc_core.members import Member, belongs_to_catalog, server_of

TAGS = {
    "role": "consul", "dc": "dc1", "port": "8300", "id": "an-id", "build": "1.8.7:", "vsn": "2",
    "raft_vsn": "3", "segment": "", "wan_join_port": "8302", "ft_fs": "1",
}  # fmt: skip


def member(name: str = "n1", tags: dict[str, str] | None = None, **changes: Any) -> Member:
    wire = {
        "Name": name, "Addr": "10.0.0.1", "Port": 8301, "Tags": TAGS if tags is None else tags,
        "Status": 1, "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
        "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
    }  # fmt: skip
    return Member.from_wire({**wire, **changes})


def test_a_server_is_read_from_its_tags() -> None:
    server = server_of(member("n1.dc1"))
    assert server is not None
    assert (server.short_name, server.address, server.raft_version) == ("n1", "10.0.0.1:8300", 3)
    assert str(server) == "n1.dc1 (Addr: tcp/10.0.0.1:8300) (DC: dc1)"
    assert (server.build, server.node_id, server.non_voter) == ("1.8.7", "an-id", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "node"},
        {"port": ""},
        {"port": "1" * 20},
        {"port": "\N{FULLWIDTH DIGIT EIGHT}300"},
        {"vsn": "x"},
        {"build": "dev"},
        {"expect": "many"},
        {"ft_fs": "y"},
    ],
)
def test_members_whose_tags_do_not_parse_are_no_servers(changes: dict[str, str]) -> None:
    assert server_of(member(tags={**TAGS, **changes})) is None


def test_who_gets_a_catalog_entry() -> None:
    assert belongs_to_catalog(member(), "dc1")
    assert not belongs_to_catalog(member(), "dc2")
    assert belongs_to_catalog(member(tags={"role": "node", "dc": "dc1"}), "dc1")
    assert not belongs_to_catalog(member(tags={**TAGS, "segment": "alpha"}), "dc1")
    assert not belongs_to_catalog(member(tags={}), "dc1")


def test_ipv6_addresses_get_brackets() -> None:
    server = server_of(member(Addr="::1"))
    assert server is not None
    assert server.address == "[::1]:8300"
