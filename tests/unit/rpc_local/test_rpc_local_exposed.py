"""Checks behind a proxy: which address stands in for theirs, and which ports they get."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from services.rpc_core.local.exposed import ExposedPorts, through_grpc, through_http
from shared.structs.errors import RefusedError
from tests.unit.rpc_local.local_world import FakeCatalog, config, local_agent, register


@pytest.mark.parametrize(
    ("url", "address", "expected"),
    [
        ("http://localhost", "10.0.0.1", "http://10.0.0.1:21500"),
        ("http://localhost:8080/health?x=1", "10.0.0.1", "http://10.0.0.1:21500/health?x=1"),
        ("https://[::1]:9/h", "fd00::1", "https://[fd00::1]:21500/h"),
        ("https://host.example/", "[fd00::1]", "https://[fd00::1]:21500/"),
        ("ftp://host/", "10.0.0.1", "ftp://host/"),
    ],
)
def test_urls_by_way_of_a_proxy(url: str, address: str, expected: str) -> None:
    assert through_http(url, address, 21500) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [("localhost:80", "10.0.0.1:21500"), ("host:80/pkg.Service", "10.0.0.1:21500/pkg.Service"), ("host", "host")],
)
def test_grpc_targets_by_way_of_a_proxy(target: str, expected: str) -> None:
    assert through_grpc(target, "10.0.0.1", 21500) == expected


def test_ports_are_kept_freed_and_used_up() -> None:
    ports = ExposedPorts(21500, 21502)
    assert [ports.take("s", "a"), ports.take("s", "b"), ports.take("s", "a")] == [21500, 21501, 21500]
    with pytest.raises(RefusedError, match="no ports available to expose 'c'"):
        ports.take("s", "c")
    ports.free("s", "a")
    ports.free("s", "unknown")
    assert ports.take("s", "c") == 21500


async def test_checks_follow_their_proxy(tmp_path: Path, nursery: trio.Nursery) -> None:
    agent = local_agent(config(tmp_path).replace(enable_central_service_config=False), FakeCatalog())
    await nursery.start(agent.run)
    probe = {"CheckID": "h", "HTTP": "http://127.0.0.1:1/health", "Interval": "1h"}
    await register(agent, {"Name": "web", "Port": 1, "Checks": [probe, {"CheckID": "t", "TTL": "1h"}]})

    def way() -> str:
        check = agent.runners.check_of("h")
        assert check is not None
        return check.proxy_http

    async def proxy(expose: bool) -> None:
        settings = {"DestinationServiceName": "web", "DestinationServiceID": "web", "Expose": {"Checks": expose}}
        body = {"Kind": "connect-proxy", "Name": "p", "Port": 2, "Address": "10.0.0.1", "Proxy": settings}
        await register(agent, body)

    assert way() == ""
    await proxy(True)
    assert way() == "http://10.0.0.1:21500/health"
    await register(agent, {"Name": "web", "Port": 3, "Checks": [probe]})
    assert way() == "http://10.0.0.1:21500/health"
    await proxy(False)
    assert way() == ""
    await proxy(True)
    assert way() == "http://10.0.0.1:21500/health"
    await agent.deregister_service("p")
    assert way() == ""
    assert agent.state.live_checks().keys() == {"h", "t"}
