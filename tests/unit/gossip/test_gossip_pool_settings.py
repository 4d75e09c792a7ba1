"""What the configuration says about addresses and timing reaches the cores of the two pools."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from services.gossip.pool_settings import PoolName, PoolSettings, pool_settings, pools_of
from services.gossip.swim.address import Address
from services.gossip.swim.settings import SwimSettings
from shared.config.builder import build
from shared.config.options import Options
from shared.config.runtime import RuntimeConfig, dump, load

BIND = "127.0.0.1"
LOOPBACK = '{{ GetAllInterfaces | include "address" "^127" | limit 1 | attr "address" }}'


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """config(key=value, ...) -> the configuration of a server, after its way through the file between processes."""

    def make(**keys: Any) -> RuntimeConfig:
        tree = {"bind_addr": BIND, "node_name": "n1", "data_dir": str(tmp_path / "data"), "server": True, **keys}
        path = tmp_path / "agent.json"
        dump(build(Options(flags=tree)), path)
        return load(path)

    return make


def settings(config: RuntimeConfig, pool: PoolName) -> PoolSettings:
    return pool_settings(config, pool, encrypted=False)


def swim(config: RuntimeConfig, pool: PoolName) -> SwimSettings:
    return settings(config, pool).serf.swim


def at(ip: str, port: int) -> Address:
    return Address(ipaddress.ip_address(ip).packed, port)


@pytest.mark.parametrize(
    ("keys", "lan_bind", "lan_advertise", "wan_bind", "wan_advertise"),
    [
        ({}, BIND, BIND, BIND, BIND),
        ({"advertise_addr": "10.0.0.1"}, BIND, "10.0.0.1", BIND, "10.0.0.1"),
        ({"advertise_addr_wan": "10.0.0.2"}, BIND, BIND, BIND, "10.0.0.2"),
        ({"advertise_addr": "10.0.0.1", "advertise_addr_wan": "10.0.0.2"}, BIND, "10.0.0.1", BIND, "10.0.0.2"),
        ({"serf_lan": "127.0.0.2"}, "127.0.0.2", BIND, BIND, BIND),
        ({"serf_wan": "127.0.0.3"}, BIND, BIND, "127.0.0.3", BIND),
        ({"serf_lan": "::1", "advertise_addr": "::1"}, "::1", "::1", BIND, "::1"),
        ({"serf_lan": LOOPBACK, "serf_wan": LOOPBACK}, BIND, BIND, BIND, BIND),
        ({"advertise_addr": LOOPBACK, "advertise_addr_wan": LOOPBACK}, BIND, BIND, BIND, BIND),
    ],
)
def test_where_a_pool_listens_and_what_it_tells_others(
    config: Any, keys: dict[str, str], lan_bind: str, lan_advertise: str, wan_bind: str, wan_advertise: str
) -> None:
    made = config(**keys)
    assert (settings(made, "lan").host, settings(made, "lan").port) == (lan_bind, 8301)
    assert (settings(made, "wan").host, settings(made, "wan").port) == (wan_bind, 8302)
    assert swim(made, "lan").advertise == at(lan_advertise, 8301)
    assert swim(made, "wan").advertise == at(wan_advertise, 8302)


def test_ports_are_told_with_the_addresses(config: Any) -> None:
    made = config(ports={"serf_lan": 9301, "serf_wan": 9302}, advertise_addr="10.0.0.1")
    assert (swim(made, "lan").advertise, swim(made, "lan").bind_port) == (at("10.0.0.1", 9301), 9301)
    assert (swim(made, "wan").advertise, swim(made, "wan").bind_port) == (at("10.0.0.1", 9302), 9302)
    assert settings(made, "lan").serf.tags["wan_join_port"] == "9302"


def test_who_is_in_which_pool(config: Any) -> None:
    assert pools_of(config()) == ["wan", "lan"]
    assert pools_of(config(ports={"serf_wan": -1})) == ["lan"]
    assert pools_of(config(server=False)) == ["lan"]


TIMING = {
    "gossip_interval": "250ms",
    "gossip_nodes": 7,
    "probe_interval": "3s",
    "probe_timeout": "700ms",
    "suspicion_mult": 9,
    "retransmit_mult": 5,
}


def timing(swim: SwimSettings) -> tuple[float, int, float, float, int, int]:
    return (
        swim.gossip_interval_s, swim.gossip_nodes, swim.probe_interval_s, swim.probe_timeout_s, swim.suspicion_mult,
        swim.retransmit_mult,
    )  # fmt: skip


LAN, WAN, GIVEN = (0.2, 3, 1.0, 0.5, 4, 4), (0.5, 3, 5.0, 3.0, 6, 4), (0.25, 7, 3.0, 0.7, 9, 5)


@pytest.mark.parametrize(
    ("keys", "lan", "wan"),
    [
        ({}, LAN, WAN),
        ({"gossip_lan": TIMING}, GIVEN, WAN),
        ({"gossip_wan": TIMING}, LAN, GIVEN),
        ({"gossip_lan": {"gossip_nodes": 4}}, (0.2, 4, 1.0, 0.5, 4, 4), WAN),
    ],
)
def test_timing_of_a_pool(config: Any, keys: dict[str, Any], lan: object, wan: object) -> None:
    made = config(**keys)
    assert timing(swim(made, "lan")) == lan
    assert timing(swim(made, "wan")) == wan


def test_how_long_failed_members_are_tried_again(config: Any) -> None:
    made = config(reconnect_timeout="9h", reconnect_timeout_wan="10h")
    assert settings(made, "lan").serf.reconnect_timeout_s == 9 * 3600
    assert settings(made, "wan").serf.reconnect_timeout_s == 10 * 3600
    assert settings(config(), "lan").serf.reconnect_timeout_s == 72 * 3600


def test_networks_that_members_may_live_in(config: Any) -> None:
    made = config(serf_lan_allowed_cidrs=["10.0.0.0/8"])
    allowed = swim(made, "lan").allowed
    assert allowed is not None
    assert allowed.allows(bytes((10, 1, 2, 3)))
    assert not allowed.allows(bytes((11, 1, 2, 3)))
    assert swim(made, "wan").allowed is None


@pytest.mark.parametrize(("keys", "incoming", "outgoing"), [
    ({}, True, True),
    ({"encrypt_verify_incoming": False}, False, True),
    ({"encrypt_verify_outgoing": False}, True, False),
])  # fmt: skip
def test_encryption_can_be_brought_in_step_by_step(
    config: Any, keys: dict[str, bool], incoming: bool, outgoing: bool
) -> None:
    made = pool_settings(config(encrypt="MDEyMzQ1Njc4OWFiY2RlZg==", **keys), "lan", encrypted=True)
    assert (made.verify_incoming, made.verify_outgoing) == (incoming, outgoing)
    assert made.serf.swim.encrypted is outgoing
