"""What the catalog refuses, with the texts of the real one; distances."""

from __future__ import annotations

from typing import Any

import pytest

from shared.state.near import round_trip_s
from shared.structs.catalog import HealthCheckDefinition, NodeService
from shared.structs.check_kind import check_kind
from shared.structs.coordinate import Vivaldi
from shared.structs.errors import RefusedError
from shared.structs.proxy import ConnectProxyConfig, Upstream
from shared.structs.registration import check_node, complete_service, uuid_mistake

GOOD_ID = "81577acc-86bd-269a-fea5-1b18e570fa79"


@pytest.mark.parametrize(
    ("name", "node_id", "text"),
    [
        ("", "", "Must provide node"),
        ("n", "short", "Bad node ID: uuid string is wrong length"),
        ("n", GOOD_ID.replace("-", "0"), "Bad node ID: uuid is improperly formatted"),
        ("n", "z" + GOOD_ID[1:], "Bad node ID: encoding/hex: invalid byte: U+007A 'z'"),
    ],
)
def test_bad_nodes(name: str, node_id: str, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_node(name, node_id)
    assert str(caught.value) == text


def test_good_nodes() -> None:
    check_node("n", "")
    check_node("n", GOOD_ID)
    assert uuid_mistake(GOOD_ID.upper()) is None


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (NodeService(id="a"), "Must provide service name with ID"),
        (NodeService(service="a", address="0.0.0.0"), "Invalid service address"),
        (NodeService(service="a", address="[::]"), "Invalid service address"),
        (
            NodeService(service="p", kind="connect-proxy", port=1),
            "1 error occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\n",
        ),
        (
            NodeService(service="g", kind="mesh-gateway"),
            "1 error occurred:\n\t* Port must be non-zero for a mesh-gateway\n\n",
        ),
    ],
)
def test_bad_services(service: NodeService, text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        complete_service(service)
    assert str(caught.value) == text


def test_every_mistake_of_a_proxy_is_named() -> None:
    upstream = Upstream(destination_name="db", local_bind_port=1)
    proxy = ConnectProxyConfig(upstreams=[upstream, upstream, Upstream(destination_name="x")])
    with pytest.raises(RefusedError, match="4 errors occurred") as caught:
        complete_service(NodeService(service="p", kind="connect-proxy", proxy=proxy))
    assert 'duplicates of [type="", name="db", namespace="", datacenter=""]' in str(caught.value)


def test_a_service_without_an_id_gets_its_name() -> None:
    service = NodeService(service="web")
    complete_service(service)
    assert service.id == "web"


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ({}, ""),
        ({"http": "http://x", "interval": 1}, "http"),
        ({"http": "http://x"}, ""),
        ({"tcp": "x:1", "interval": 1}, "tcp"),
        ({"grpc": "x:1", "interval": 1}, "grpc"),
        ({"ttl": 5}, "ttl"),
        ({"alias_service": "web"}, "alias"),
        ({"script_args": ["true"]}, "script"),
        ({"script_args": ["true"], "docker_container_id": "c", "interval": 1}, "docker"),
    ],
)
def test_the_type_of_a_check(definition: dict[str, Any], kind: str) -> None:
    assert check_kind(HealthCheckDefinition(**definition)) == kind


def test_distances() -> None:
    here = Vivaldi(vec=[0.0, 0.0], height=0.001)
    there = Vivaldi(vec=[0.003, 0.004], height=0.002)
    assert round_trip_s(here, there) == pytest.approx(0.008)
    assert round_trip_s(here, Vivaldi(vec=[1.0])) == float("inf")
    assert round_trip_s(here, there.replace(adjustment=-1.0)) == pytest.approx(0.008)
