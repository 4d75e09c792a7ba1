"""What the catalog refuses, with the texts of the real one; distances; retries without a leader."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import trio
import trio.testing

from services.rpc_core.errors import NoLeaderError, NoPathToDatacenterError
from services.rpc_core.router import Router
from shared.state.leadership import FOLLOWER, LEADER, Leadership
from shared.state.near import round_trip_s
from shared.structs.catalog import HealthCheck, HealthCheckDefinition, NodeService
from shared.structs.coordinate import Vivaldi
from shared.structs.errors import RefusedError
from shared.structs.proxy import ConnectProxyConfig, Upstream
from shared.structs.registration import check_node, check_type, complete_service, uuid_mistake

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
    assert check_type(HealthCheck(definition=HealthCheckDefinition(**definition))) == kind


def test_distances() -> None:
    here = Vivaldi(vec=[0.0, 0.0], height=0.001)
    there = Vivaldi(vec=[0.003, 0.004], height=0.002)
    assert round_trip_s(here, there) == pytest.approx(0.008)
    assert round_trip_s(here, Vivaldi(vec=[1.0])) == float("inf")
    assert round_trip_s(here, there.replace(adjustment=-1.0)) == pytest.approx(0.008)


class Page:
    """A leadership page that tests write on."""

    def __init__(self, role: str = FOLLOWER, lease_s: float = 60.0, contact_ns: int = 0) -> None:
        self.set(role, lease_s, contact_ns)

    def set(self, role: str, lease_s: float = 60.0, contact_ns: int = 0) -> None:
        lease_end = time.monotonic_ns() + int(lease_s * 1e9)
        self.now = Leadership(role, 2, "id", "127.0.0.1:8300", lease_end, contact_ns, 5, 5, True)

    def read(self) -> Leadership:
        return self.now


def router(page: Page) -> Router:
    return Router("dc1", 7.0, page, random.Random(1))


async def test_the_leader_answers_and_another_datacenter_is_unknown() -> None:
    made = router(Page(LEADER))
    await made.answer_here("KVS.Get", "dc1")
    for datacenter in ("dc2", ""):
        with pytest.raises(NoPathToDatacenterError, match="No path to datacenter"):
            await made.answer_here("KVS.Get", datacenter)


async def test_without_a_leader_calls_wait_as_long_as_the_hold_timeout(autojump_clock: object) -> None:
    made = router(Page(LEADER, lease_s=-1.0))
    started = trio.current_time()
    with pytest.raises(NoLeaderError, match="No cluster leader"):
        await made.answer_here("KVS.Get", "dc1")
    assert 7.0 <= trio.current_time() - started <= 7.0 + 7.0 / 16


async def test_a_call_goes_on_when_a_leader_is_elected(autojump_clock: object) -> None:
    page = Page()
    made = router(page)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.answer_here, "KVS.Get", "dc1")
        await trio.testing.wait_all_tasks_blocked()
        page.set(LEADER)
        made.leadership_changed()
        started = trio.current_time()
    assert trio.current_time() == started


async def test_a_leaving_server_fails_waiting_calls_at_once(autojump_clock: object) -> None:
    made = router(Page())
    started = trio.current_time()

    async def leave_soon() -> None:
        await trio.testing.wait_all_tasks_blocked()
        made.start_leaving()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave_soon)
        with pytest.raises(NoLeaderError):
            await made.answer_here("KVS.Get", "dc1")
    assert trio.current_time() == started


async def test_stale_reads_need_only_have_heard_of_a_leader_once() -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(0.05):
        await router(Page()).answer_here("KVS.Get", "dc1", stale=True)
    await router(Page(contact_ns=1)).answer_here("KVS.Get", "dc1", stale=True)
    made = router(Page(contact_ns=time.monotonic_ns() - 5_000_000))
    assert 5_000_000 <= made.last_contact_ns() < 5_000_000_000
