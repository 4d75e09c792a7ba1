"""Consul's tags, and its rules for who may come into a pool."""

import json
import random

import pytest
from gossip_rigs import ME, PEER, VECTORS, VSN

from services.gossip.codec.messages import Alive, NodeRecord
from services.gossip.codec.serf_messages import (
    encode_tags,
)
from services.gossip.codec.stream import PushPull
from services.gossip.consul.merge_rules import LanRules, is_server, wan_rules
from services.gossip.consul.tags import pool_tags
from services.gossip.flood_join import missing_in_wan
from services.gossip.serf import Member, Serf, SerfSettings, Status
from services.gossip.swim import SwimSettings
from shared.config import sections
from shared.config.runtime import RuntimeConfig


def config(**changes: object) -> RuntimeConfig:
    ports = sections.Ports(server=21300, serf_wan=21302)
    return RuntimeConfig.dev("/run", node_name="n", ports=ports).replace(node_id="id", **changes)


def settings_of(name: str) -> dict[str, str]:
    document = json.loads((VECTORS / "tags.json").read_text())
    if name in document["with_meta"]:
        found = document["with_meta"][name]["tags"]
    else:
        found = next(tags for title, tags in document["other_settings"].items() if title.startswith(name))
    return {**found, "id": "id"}


@pytest.mark.parametrize(
    ("name", "wan", "changes"),
    [
        ("c1", False, {"server": False}),
        ("s1", False, {"bootstrap": True}),
        ("s1", False, {"bootstrap_expect": 1}),
        ("s1.dc1", True, {"bootstrap": True}),
        ("g1 LAN", False, {"bootstrap_expect": 3, "acl": sections.Acl(enabled=True), "ca_file": "x"}),
        ("g1.dc1 WAN", True, {"bootstrap_expect": 3, "acl": sections.Acl(enabled=True), "ca_file": "x"}),
        ("g2 LAN", False, {"server": False, "acl": sections.Acl(enabled=True)}),
        ("g5 LAN", False, {"datacenter": "dc5"}),
    ],
)
def test_our_tags_are_those_of_a_real_agent(name: str, wan: bool, changes: dict[str, object]) -> None:
    expected = settings_of(name)
    for port in ("port", "wan_join_port"):
        if port in expected:
            expected[port] = "21300" if port == "port" else "21302"
    assert pool_tags(config(**changes), wan=wan) == expected


def member(name: str, *, status: Status = Status.NONE, **tags: str) -> Member:
    return Member(name, PEER.ip, PEER.port, tags, VSN, status)


SERVER = {"role": "consul", "dc": "dc1", "port": "8300", "vsn": "2", "build": "1.8.7:ab", "raft_vsn": "3", "ft_fs": "1"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"role": "node"}, False),
        ({"port": "x"}, False),
        ({"vsn": ""}, False),
        ({"build": "1.8"}, False),
        ({"expect": "3"}, True),
        ({"expect": "three"}, False),
        ({"ft_x": "on"}, False),
        ({"raft_vsn": "-3"}, True),
        ({"wan_join_port": "1e3"}, False),
        ({"sl_a": "1.2.3.4:8300"}, True),
        ({"sl_a": "1.2.3.4"}, False),
        ({"sl_a": "[::1]:8300"}, True),
        ({"sl_a": "::1:8300"}, False),
    ],
)
def test_who_counts_as_a_server(change: dict[str, str], expected: bool) -> None:
    assert is_server(member("s", **{**SERVER, **change})) == expected


def test_lan_merge_rules() -> None:
    rules = LanRules("dc1", "my-id", "me", "")
    assert rules([member("a", id="1", role="node", dc="dc1", build="1.8.7"), member("b", **SERVER)]) is None
    assert rules([member("a")]) is None
    assert rules([member("me", id="my-id", role="node", dc="dc1")]) is None
    assert rules([member("a", id="my-id")]) == "Member 'a' has conflicting node ID 'my-id' with this agent's ID"
    twice = [member("a", id="1", build="1.8.7:"), member("b", id="1")]
    assert rules(twice) == "Member 'b' has conflicting node ID '1' with member 'a'"
    assert rules([member("a", id="1", build="0.8.4:"), member("b", id="1")]) is None
    assert rules([member("a", role="node", dc="dc2")]) == "Member 'a' part of wrong datacenter 'dc2'"
    assert rules([member("a", **{**SERVER, "dc": "dc3"})]) == "Member 'a' part of wrong datacenter 'dc3'"
    assert rules([member("a", role="other", dc="dc3")]) is None
    assert rules([member("a", segment="x")]) == "Member 'a' part of wrong segment 'x' (expected '')"
    assert rules([member("a", id="my-id", status=Status.LEFT, role="node", dc="dc2")]) is None


def test_wan_merge_rules() -> None:
    assert wan_rules([member("a", **SERVER), member("b", **{**SERVER, "dc": "dc2"})]) is None
    assert wan_rules([member("a", **SERVER), member("b", role="node")]) == "Member 'b' is not a server"


def test_a_pool_applies_its_rules_to_joins_and_single_nodes() -> None:
    serf = Serf(SerfSettings(SwimSettings("me", ME), {}), random.Random(1), LanRules("dc1", "my-id", "me", ""))
    serf.start(0.0)
    foreign = encode_tags({"role": "node", "dc": "dc9"})
    serf.receive([Alive(1, "x", PEER.ip, PEER.port, foreign, VSN)], PEER, 0.0)
    assert serf.members.get("x") is None
    record = NodeRecord("x", PEER.ip, PEER.port, foreign, 1, 0, VSN)
    with pytest.raises(Exception, match="part of wrong datacenter 'dc9'"):
        serf.merge(PushPull(True, (record,), b""), 0.0)


def test_which_servers_are_missing_in_the_wan_pool() -> None:
    lan = [
        member("s1", status=Status.ALIVE, **SERVER, wan_join_port="8302"),
        member("s2", status=Status.ALIVE, **SERVER, wan_join_port="8302"),
        member("s3", status=Status.FAILED, **SERVER, wan_join_port="8302"),
        member("s4", status=Status.ALIVE, **SERVER),
        member("c1", status=Status.ALIVE, role="node"),
    ]
    wan = [member("s1.dc1", status=Status.ALIVE, **SERVER), member("s2.dc2", **{**SERVER, "dc": "dc2"})]
    assert missing_in_wan(lan, wan, "dc1") == [("s2.dc1", "10.0.0.2:8302")]
