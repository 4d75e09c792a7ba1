"""LocalAgent: registration to catalog and disk, reaping, central defaults, failures; in virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from services.rpc_core.local.persisted import Files, PersistError
from shared.structs.catalog import HealthCheck
from shared.structs.errors import RefusedError
from shared.structs.proxy import MeshGatewayConfig
from tests.unit.rpc_local.local_world import FakeCatalog, config, local_agent, register, wait_for

WEB: dict[str, Any] = {"Name": "web", "Port": 80, "Check": {"TTL": "10m"}}
PROXY: dict[str, Any] = {
    "Kind": "connect-proxy",
    "Name": "web-proxy",
    "Port": 1,
    "Proxy": {"DestinationServiceName": "web", "DestinationServiceID": "web", "Config": {"own": 1, "zero": 0}},
}


async def test_a_registration_reaches_state_catalog_and_disk(tmp_path: Path, nursery: trio.Nursery) -> None:
    catalog, settings = FakeCatalog(), config(tmp_path)
    agent = local_agent(settings, catalog)
    await nursery.start(agent.run)
    await register(agent, WEB)
    await agent.syncer.sync_now()
    assert catalog.services["web"].port == 80
    assert catalog.checks["service:web"].status == "critical"
    (kept,) = agent.files.services()
    assert (kept.service.port, kept.source) == (80, "remote")
    assert agent.stats() == {"check_monitors": "0", "check_ttls": "1", "checks": "1", "services": "1"}
    await agent.deregister_service("web")
    await agent.syncer.sync_now()
    assert catalog.services == {}
    assert catalog.checks == {}
    assert agent.files.services() == []
    assert agent.files.checks() == []


async def test_a_caller_that_gives_up_does_not_keep_the_disk_from_following(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    agent = local_agent(config(tmp_path), FakeCatalog())
    await nursery.start(agent.run)
    agent.registry.add_check(HealthCheck(check_id="c", name="c"), None, "", "remote", persist=True)
    with trio.CancelScope() as given_up:
        given_up.cancel()
        await agent.files.flush()
    assert [kept.check.check_id for kept in agent.files.checks()] == ["c"]


async def test_one_file_that_cannot_be_removed_does_not_keep_the_others(tmp_path: Path) -> None:
    files = Files(str(tmp_path))
    for check_id in ("a", "b"):
        files.save_check(HealthCheck(check_id=check_id), None, "", "remote")
    await files.flush()
    (kept_of_a,) = (Path(kept.path) for kept in files.checks() if kept.check.check_id == "a")
    kept_of_a.unlink()
    kept_of_a.mkdir()
    for check_id in ("a", "b"):
        files.purge_check(check_id)
    with pytest.raises(PersistError):
        await files.flush()
    assert files.checks() == []


async def test_checks_use_the_certificates_and_tokens_of_a_reloaded_configuration(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    settings = config(tmp_path)
    agent = local_agent(settings, FakeCatalog())
    await nursery.start(agent.run)
    await agent.configure(settings.replace(cert_file="new.pem"))
    assert agent.runners.agent.config.cert_file == "new.pem"


async def test_waiters_share_passes(tmp_path: Path, nursery: trio.Nursery) -> None:
    catalog = FakeCatalog()
    agent = local_agent(config(tmp_path), catalog)
    await nursery.start(agent.run)
    async with trio.open_nursery() as many:
        for number in range(50):

            async def one(number: int = number) -> None:
                await register(agent, {"Name": "web", "ID": f"web-{number}"})
                await agent.syncer.sync_now()
                assert f"web-{number}" in catalog.services

            many.start_soon(one)
    assert catalog.calls.count("Catalog.Register") <= 51  # one each, and the node


async def test_without_a_leader_a_registration_is_kept_and_synced_later(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    catalog = FakeCatalog(fails=True)
    agent = local_agent(config(tmp_path).replace(data_dir=""), catalog)
    await nursery.start(agent.run)
    agent.syncer.start()
    await register(agent, WEB)
    await agent.syncer.sync_now()
    assert catalog.services == {}
    catalog.fails = False
    await wait_for(lambda: "web" in catalog.services, 60)


async def test_a_service_that_stays_critical_is_reaped(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    catalog = FakeCatalog()
    agent = local_agent(config(tmp_path).replace(data_dir=""), catalog)  # virtual time would not wait for a disk
    await nursery.start(agent.run)
    agent.syncer.start()
    started = trio.current_time()
    await register(agent, {"Name": "doomed", "Check": {"TTL": "10s", "DeregisterCriticalServiceAfter": "90s"}})
    await register(agent, {"Name": "hasty", "Check": {"TTL": "10s", "DeregisterCriticalServiceAfter": "1s"}})
    await register(agent, {"Name": "spared", "Check": {"TTL": "10s"}})
    await wait_for(lambda: "hasty" not in agent.state.live_services())
    assert 70 <= trio.current_time() - started <= 110  # a minute is the least
    await wait_for(lambda: "doomed" not in agent.state.live_services())
    assert 100 <= trio.current_time() - started <= 140
    await wait_for(lambda: set(catalog.services) == {"spared"})


async def test_a_registration_that_is_refused_leaves_nothing_behind(tmp_path: Path, nursery: trio.Nursery) -> None:
    catalog = FakeCatalog()
    agent = local_agent(config(tmp_path), catalog)
    await nursery.start(agent.run)
    script = {"Args": ["true"], "Interval": "1h"}
    with pytest.raises(RefusedError, match="Scripts are disabled on this agent from remote calls"):
        await register(agent, {"Name": "web", "Checks": [{"TTL": "10m"}, script]})
    assert agent.state.live_services() == {}
    assert agent.state.live_checks() == {}
    assert agent.files.services() == []
    assert agent.files.checks() == []
    assert agent.stats()["check_ttls"] == "0"


async def test_a_service_that_cannot_be_kept_is_not_taken(tmp_path: Path, nursery: trio.Nursery) -> None:
    settings = config(tmp_path)
    agent = local_agent(settings, FakeCatalog())
    await nursery.start(agent.run)
    await trio.Path(settings.data_dir).mkdir(exist_ok=True)
    await (trio.Path(settings.data_dir) / "services").write_text("in the way")
    with pytest.raises(PersistError):
        await register(agent, {"Name": "web"})
    assert agent.state.live_services() == {}


async def test_replacing_checks_removes_those_of_before(tmp_path: Path, nursery: trio.Nursery) -> None:
    agent = local_agent(config(tmp_path), FakeCatalog())
    await nursery.start(agent.run)
    await register(agent, {"Name": "web", "Checks": [{"TTL": "1m"}, {"TTL": "2m"}]})
    await register(agent, {"Name": "web", "Check": {"CheckID": "own", "TTL": "1m"}})
    assert list(agent.state.live_checks()) == ["service:web:1", "service:web:2", "own"]
    await register(agent, {"Name": "web", "Check": {"CheckID": "own", "TTL": "1m"}}, replace_checks=True)
    assert list(agent.state.live_checks()) == ["own"]
    assert [kept.check.check_id for kept in agent.files.checks()] == ["own"]


async def test_a_proxy_gets_central_defaults_and_their_changes(tmp_path: Path, nursery: trio.Nursery) -> None:
    catalog = FakeCatalog()
    catalog.set_defaults(proxy_config={"own": 2, "zero": 3, "protocol": "http"})
    agent = local_agent(config(tmp_path), catalog)
    await nursery.start(agent.run)
    agent.syncer.start()
    await register(agent, PROXY)
    shown = agent.state.live_services()["web-proxy"]
    assert shown.proxy.config == {"own": 1, "zero": 3, "protocol": "http"}
    (kept,) = agent.files.services()
    assert kept.service.proxy.config == {"own": 1, "zero": 0}  # as it was registered
    catalog.set_defaults(proxy_config={"protocol": "grpc"}, mesh_gateway=MeshGatewayConfig(mode="local"))
    await wait_for(lambda: agent.state.live_services()["web-proxy"].proxy.mesh_gateway.mode == "local")
    await wait_for(lambda: catalog.services["web-proxy"].proxy.mesh_gateway.mode == "local")
    assert agent.state.live_services()["web-proxy"].proxy.config == {"own": 1, "zero": 0, "protocol": "grpc"}
    await wait_for(lambda: agent.files.defaults()["web-proxy"].proxy_config == {"protocol": "grpc"})
    await agent.deregister_service("web-proxy")
    assert agent.files.defaults() == {}
    catalog.set_defaults(proxy_config={"protocol": "tcp"})
    await wait_all_tasks_blocked()
    assert agent.state.live_services() == {}


async def test_a_proxy_without_an_answer_about_its_defaults_is_not_registered(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    agent = local_agent(config(tmp_path), FakeCatalog(fails=True))
    await nursery.start(agent.run)
    text = 'could not retrieve initial service_defaults config for service "web-proxy": No cluster leader'
    with pytest.raises(RefusedError, match=text):
        await register(agent, PROXY)
    assert agent.state.live_services() == {}


async def test_what_was_kept_comes_back_and_what_is_configured_wins(tmp_path: Path) -> None:
    catalog = FakeCatalog()
    async with trio.open_nursery() as nursery:
        agent = local_agent(config(tmp_path), catalog)
        await nursery.start(agent.run)
        await register(agent, WEB)
        await register(agent, PROXY)
        await register(agent, {"Name": "both", "Port": 1})
        await agent.update_ttl("service:web", "passing", "fine")
        nursery.cancel_scope.cancel()
    configured = {"name": "both", "port": 2, "checks": [], "kind": "", "weights": {"passing": 1, "warning": 1}}
    async with trio.open_nursery() as nursery:
        agent = local_agent(config(tmp_path, services=(configured,)), catalog)
        await nursery.start(agent.run)
        assert {key: each.port for key, each in agent.state.live_services().items()} == {
            "both": 2,
            "web": 80,
            "web-proxy": 1,
        }
        check = agent.state.live_checks()["service:web"]
        assert (check.status, check.output) == ("passing", "fine")
        assert {kept.service.id for kept in agent.files.services()} == {"web", "web-proxy"}
        nursery.cancel_scope.cancel()


async def test_a_broken_file_does_not_keep_the_others_from_loading(tmp_path: Path) -> None:
    settings = config(tmp_path)
    services = Path(settings.data_dir) / "services"
    services.mkdir(parents=True)
    (services / "a").write_text("{")
    (services / "b").write_text("[]")
    (services / "c-1.tmp").write_text("cut off")
    (services / "d").write_text(json.dumps({"Service": {"ID": "odd", "Service": "odd"}, "Source": "nowhere"}))
    (services / "e").write_text(json.dumps({"ID": "old", "Service": "old"}))
    async with trio.open_nursery() as nursery:
        agent = local_agent(settings, FakeCatalog())
        await nursery.start(agent.run)
        assert list(agent.state.live_services()) == ["old"]
        nursery.cancel_scope.cancel()


async def test_maintenance_is_a_check_that_is_kept(tmp_path: Path, nursery: trio.Nursery) -> None:
    agent = local_agent(config(tmp_path), FakeCatalog())
    await nursery.start(agent.run)
    await register(agent, {"Name": "web"})
    await agent.maintain_service("web", True, "", "")
    await agent.maintain_service("web", True, "another reason", "")
    await agent.maintain_node(True, "why", "")
    notes = {key: check.notes for key, check in agent.state.live_checks().items()}
    assert notes == {
        "_service_maintenance:web": (
            "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
        ),
        "_node_maintenance": "why",
    }
    assert len(agent.files.checks()) == 2
    await agent.maintain_service("web", False, "", "")
    await agent.maintain_node(False, "", "")
    assert agent.state.live_checks() == {}
    assert agent.files.checks() == []
    with pytest.raises(RefusedError, match='No service registered with ID "none"'):
        await agent.maintain_service("none", True, "", "")


async def test_defaults_that_cannot_be_read_are_asked_for_again(
    tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def junk(body: Any) -> bytes:
        return b"junk"

    catalog = FakeCatalog()
    agent = local_agent(config(tmp_path), catalog)
    await nursery.start(agent.run)
    await register(agent, PROXY)
    await wait_all_tasks_blocked()
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_resolveserviceconfig", junk)
        catalog.set_defaults(proxy_config={"protocol": "http"})
        asked = len(catalog.calls)
        await wait_for(lambda: len(catalog.calls) >= asked + 2)
    catalog.set_defaults(proxy_config={"protocol": "grpc"})

    def has_it() -> bool:
        service = agent.state.service("web-proxy")
        return service is not None and (service.proxy.config or {}).get("protocol") == "grpc"

    await wait_for(has_it)
