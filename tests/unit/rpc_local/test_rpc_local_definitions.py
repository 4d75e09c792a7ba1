"""Definitions: what a service becomes, what is refused, its sidecar, and the hash that real agents show for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.rpc_core.local import definitions
from services.rpc_core.local.content_hash import content_hash
from services.rpc_core.local.methods import aggregated_status
from services.rpc_core.local.sidecar import sidecar_of
from shared.config.runtime import RuntimeConfig
from shared.structs.agent import AgentService
from shared.structs.catalog import HealthCheck, NodeService
from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType, ServiceAddress, ServiceDefinition, Weights

HASHES: list[tuple[dict[str, Any], str]] = [
    ({"Name": "web"}, "5a07705c3d245800"),
    ({"Name": "native", "Connect": {"Native": True}}, "c923f94c670178be"),
    (
        {
            "name": "web",
            "id": "web-3",
            "tags": [],
            "port": 81,
            "meta": {"b": "2", "a": "1"},
            "weights": {"passing": 5, "warning": 0},
            "enable_tag_override": True,
            "tagged_addresses": {"lan": {"address": "10.1.1.1", "port": 99}, "wan": {"address": "1.2.3.4"}},
        },
        "27a372262c27a0b2",
    ),
    (
        {
            "Kind": "connect-proxy",
            "Name": "solo-proxy",
            "Port": 3000,
            "Proxy": {
                "DestinationServiceName": "solo",
                "MeshGateway": {"Mode": "local"},
                "Expose": {"Paths": [{"Path": "/x", "ListenerPort": 1, "LocalPathPort": 2, "Protocol": "http"}]},
            },
        },
        "bb06beae58fafa66",
    ),
    ({"Kind": "mesh-gateway", "Name": "mgw", "Port": 443, "Meta": {"consul-wan-federation": "1"}}, "4048155984984737"),
    ({"Kind": "ingress-gateway", "Name": "igw"}, "94d1cfaca02e121f"),
]
"""Bodies of registrations, and the X-Consul-ContentHash that Consul 1.8.7 gave for each."""


def service_of(body: dict[str, Any]) -> NodeService:
    return definitions.node_service(ServiceDefinition.from_json(body))


@pytest.mark.parametrize(("body", "expected"), HASHES)
def test_the_hash_of_a_service_is_consuls(body: dict[str, Any], expected: str) -> None:
    assert content_hash(AgentService.of(service_of(body))) == expected


def test_every_part_of_a_service_counts_for_its_hash() -> None:
    shown = AgentService.of(service_of({"Name": "web"}))
    changed = [
        shown.replace(port=1),
        shown.replace(tags=["a", "b"]),
        shown.replace(tags=["b", "a"]),
        shown.replace(meta={"a": "b"}),
        shown.replace(meta={"b": "a"}),
        shown.replace(weights=Weights(passing=1, warning=2)),
        shown.replace(tagged_addresses={"lan": ServiceAddress(address="1.2.3.4", port=1)}),
    ]
    assert len({content_hash(each) for each in (shown, *changed)}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("10.0.0.1", 4),
        ("::ffff:10.0.0.1", 4),
        ("fd00::1", 6),
        ("fe80::1%eth0", 0),
        ("db.example.com", 0),
        ("", 0),
        ("1.2.3", 0),
        ("01.2.3.4", 0),
    ],
)
def test_families_of_addresses(address: str, family: int) -> None:
    assert definitions.ip_family(address) == family


@pytest.mark.parametrize(
    ("service", "checks", "text"),
    [
        (NodeService(), [], "Service name missing"),
        (NodeService(service="w"), [CheckType()], "Check is not valid: TTL must be > 0 for TTL checks"),
        (
            NodeService(service="w", tagged_addresses={"lan_ipv4": ServiceAddress(address="fd00::1")}),
            [],
            'Service tagged address "lan_ipv4" must be a valid ipv4 address',
        ),
        (
            NodeService(service="w", tagged_addresses={"lan_ipv6": ServiceAddress(address="1.2.3.4")}),
            [],
            'Service tagged address "lan_ipv6" must be a valid ipv6 address',
        ),
    ],
)
def test_what_the_agent_cannot_keep_is_refused(service: NodeService, checks: list[CheckType], text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        definitions.complete(service, checks)
    assert str(refused.value) == text


def test_a_definition_of_a_config_file_says_the_same_as_one_over_http() -> None:
    in_file = {
        "id": "a",
        "name": "api",
        "tags": ["x"],
        "address": "10.0.0.1",
        "port": 5,
        "meta": {"k": "v"},
        "weights": {"passing": 2, "warning": 1},
        "enable_tag_override": True,
        "tagged_addresses": {"lan": {"address": "1.1.1.1", "port": 2}},
        "token": "t",
        "kind": "connect-proxy",
        "proxy": {
            "destination_service_name": "d",
            "upstreams": [{"destination_name": "u", "local_bind_port": 3, "mesh_gateway": {"mode": "local"}}],
            "expose": {"checks": True, "paths": [{"path": "/p", "listener_port": 4}]},
        },
        "checks": [{"id": "c", "ttl": 60.0, "output_max_size": 4096}],
        "connect": {"native": False, "sidecar_service": {"port": 9, "checks": []}},
    }
    over_http = {
        "ID": "a",
        "Name": "api",
        "Tags": ["x"],
        "Address": "10.0.0.1",
        "Port": 5,
        "Meta": {"k": "v"},
        "Weights": {"Passing": 2, "Warning": 1},
        "EnableTagOverride": True,
        "TaggedAddresses": {"lan": {"Address": "1.1.1.1", "Port": 2}},
        "Token": "t",
        "Kind": "connect-proxy",
        "Proxy": {
            "DestinationServiceName": "d",
            "Upstreams": [{"DestinationName": "u", "LocalBindPort": 3, "MeshGateway": {"Mode": "local"}}],
            "Expose": {"Checks": True, "Paths": [{"Path": "/p", "ListenerPort": 4}]},
        },
        "Checks": [{"CheckID": "c", "TTL": "1m", "OutputMaxSize": 4096}],
        "Connect": {"SidecarService": {"Port": 9, "Checks": []}},
    }
    assert definitions.from_config(in_file) == ServiceDefinition.from_json(over_http)


# -- sidecars -----------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> RuntimeConfig:
    made = RuntimeConfig.dev(tmp_path, node_name="n1")
    return made.replace(ports=made.ports.replace(sidecar_min_port=21000, sidecar_max_port=21001))


def test_a_sidecar_is_completed_from_its_parent(config: RuntimeConfig) -> None:
    body = {"Name": "web", "ID": "w1", "Port": 80, "Address": "10.0.0.1", "Tags": ["a"], "Meta": {"k": "v"}}
    made = sidecar_of(service_of({**body, "Connect": {"SidecarService": {}}}), "token", {}, config)
    assert made is not None
    sidecar, checks, token = made
    assert (sidecar.id, sidecar.service, sidecar.kind) == ("w1-sidecar-proxy", "web-sidecar-proxy", "connect-proxy")
    assert (sidecar.port, sidecar.address, sidecar.tags, sidecar.meta) == (21000, "10.0.0.1", ["a"], {"k": "v"})
    proxy = sidecar.proxy
    assert (proxy.destination_service_name, proxy.destination_service_id) == ("web", "w1")
    assert (proxy.local_service_address, proxy.local_service_port) == ("127.0.0.1", 80)
    assert sidecar.locally_registered_as_sidecar
    assert token == "token"
    assert [(check.name, check.tcp, check.interval, check.alias_service) for check in checks] == [
        ("Connect Sidecar Listening", "127.0.0.1:21000", 10_000_000_000, ""),
        ("Connect Sidecar Aliasing w1", "", 0, "w1"),
    ]


def test_a_sidecar_keeps_its_port_and_takes_none_of_others(config: RuntimeConfig) -> None:
    parent = service_of({"Name": "web", "Connect": {"SidecarService": {}}})

    def port(known: dict[str, int]) -> int:
        services = {key: NodeService(id=key, port=value) for key, value in known.items()}
        made = sidecar_of(parent, "", services, config)
        assert made is not None
        return made[0].port

    assert port({"other": 21000}) == 21001
    assert port({"other": 21000, "web-sidecar-proxy": 21001}) == 21001
    with pytest.raises(RefusedError, match=r"none left in the configured range \[21000, 21001\]"):
        port({"other": 21000, "another": 21001})


def test_without_a_range_a_sidecar_needs_a_port(config: RuntimeConfig) -> None:
    parent = service_of({"Name": "web", "Connect": {"SidecarService": {}}})
    closed = config.replace(ports=config.ports.replace(sidecar_min_port=0, sidecar_max_port=0))
    with pytest.raises(RefusedError, match="auto-assignment disabled in config"):
        sidecar_of(parent, "", {}, closed)


# -- health of a service -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([], "passing"),
        ([("a", "passing")], "passing"),
        ([("a", "passing"), ("b", "warning")], "warning"),
        ([("a", "critical"), ("b", "warning")], "critical"),
        ([("_service_maintenance:web", "critical"), ("a", "passing")], "maintenance"),
        ([("_node_maintenance", "critical"), ("a", "critical")], "maintenance"),
        ([("a", "odd")], ""),
    ],
)
def test_the_worst_check_decides(checks: list[tuple[str, str]], expected: str) -> None:
    assert aggregated_status([HealthCheck(check_id=name, status=status) for name, status in checks]) == expected
