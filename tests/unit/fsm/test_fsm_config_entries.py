"""Config entries in the FSM: comparison of indexes, chains that must compile, gateways, what a service inherits."""

from __future__ import annotations

from typing import Any

import pytest

from services.raft_node.fsm.errors import CommandError
from shared.state.answer import Answer
from shared.state.queries import config_entry as queries
from shared.structs import wire
from shared.structs.config_entry import (
    ConfigEntry,
    IngressGateway,
    IngressListener,
    IngressService,
    LinkedService,
    ProxyDefaults,
    ResolverFailover,
    ResolverRedirect,
    ResolverSubset,
    RouteDestination,
    ServiceDefaults,
    ServiceResolver,
    ServiceRoute,
    ServiceRouter,
    ServiceSplit,
    ServiceSplitter,
    TerminatingGateway,
)
from shared.structs.config_entry_rules import normalize
from shared.structs.config_entry_wire import (
    DELETE,
    UPSERT,
    UPSERT_CAS,
    ConfigEntryRequest,
    ServiceConfigRequest,
    ServiceConfigResponse,
    ServiceID,
)
from shared.structs.proxy import ExposeConfig, ExposePath, MeshGatewayConfig
from tests.unit.fsm.fsm_commands import config_entry
from tests.unit.fsm.fsm_driver import Driver
from tests.unit.fsm.test_fsm_machine import captured


def write(fsm: Driver, *entries: ConfigEntry) -> Any:
    """Writes entries; the result of the last one. All others must take effect."""
    result: Any = True
    for entry in entries:
        assert result is True, result
        normalize(entry)
        result = config_entry(UPSERT, entry)(fsm)
    return result


def delete(fsm: Driver, entry: ConfigEntry) -> Any:
    return config_entry(DELETE, entry)(fsm)


def refusal(result: Any) -> str:
    assert isinstance(result, CommandError)
    return str(result)


def http(*names: str) -> list[ConfigEntry]:
    return [ServiceDefaults(name=name, protocol="http") for name in names]


def router(name: str, service: str = "", subset: str = "") -> ServiceRouter:
    destination = RouteDestination(service=service, service_subset=subset)
    return ServiceRouter(name=name, routes=[ServiceRoute(destination=destination), ServiceRoute()])


def splitter(name: str, *services: str) -> ServiceSplitter:
    return ServiceSplitter(name=name, splits=[ServiceSplit(100 / len(services), service) for service in services])


def ingress(name: str, protocol: str, *services: str) -> IngressGateway:
    return IngressGateway(
        name=name, listeners=[IngressListener(port, protocol, [IngressService(s)]) for port, s in enumerate(services)]
    )


@pytest.mark.parametrize("name", ["ConfigEntry/service-router/upsert", "ConfigEntry/proxy-defaults/upsert"])
def test_an_entry_of_the_real_consul_is_written_as_it_wrote_it(fsm: Driver, name: str) -> None:
    data = captured(name)
    request = ConfigEntryRequest.from_raw(wire.unpack(data[1:]))
    assert request.to_command() == data
    subsets = {"v1": ResolverSubset(), "v2": ResolverSubset()}
    write(fsm, *http(request.entry.name), ServiceResolver(name=request.entry.name, subsets=subsets))
    assert fsm.command(data[0], data[1:]) is True
    kept = fsm.ask(lambda snap: queries.get(snap, request.entry.kind_name, request.entry.name.upper())).value
    assert kept == request.entry.replace(create_index=fsm.index, modify_index=fsm.index)


def test_entries_keep_their_creation_and_compare_their_index(fsm: Driver) -> None:
    def compared(index: int, protocol: str = "") -> Any:
        return config_entry(UPSERT_CAS, ServiceDefaults(name="X", protocol=protocol), index)(fsm)

    assert compared(7) is False
    assert fsm.topics == []
    assert compared(0) is True
    created = fsm.index
    assert fsm.topics == [["config-entry", "service-defaults/x"]]
    assert compared(0) is compared(created + 9) is False
    assert compared(created, "http") is True
    entry = fsm.ask(lambda snap: queries.get(snap, "service-defaults", "x")).value
    assert entry is not None
    assert (entry.name, entry.create_index, entry.modify_index) == ("X", created, fsm.index)
    assert fsm.row("config-entries") == fsm.index
    assert delete(fsm, ServiceDefaults(name="x")) is None
    assert fsm.row("config-entries") == fsm.index
    assert delete(fsm, ServiceDefaults(name="x")) is None
    assert fsm.row("config-entries") == fsm.index - 1  # nothing was there


def test_an_entry_needs_a_name(fsm: Driver) -> None:
    assert refusal(write(fsm, ServiceDefaults())) == "serviceName is required"
    assert refusal(write(fsm, IngressGateway())) == "failed inserting config entry: object missing primary index"


TCP_ROUTER = 'discovery chain "web" uses a protocol "tcp" that does not permit advanced routing or splitting behavior'
MIXED = 'discovery chain "web" uses inconsistent protocols; service "db" has "tcp" which is not "http"'
SNI = 'service "web" has an external SNI set; cannot define {} for external services'


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ([router("web")], TCP_ROUTER),
        ([splitter("web", "")], TCP_ROUTER),
        ([*http("web"), router("web", "db")], MIXED),
        ([*http("web"), splitter("web", "", "db")], MIXED),
        ([*http("web"), router("web", "", "v1")], 'service "web" does not have a subset named "v1"'),
        ([*http("web"), router("web"), ServiceDefaults(name="web")], TCP_ROUTER),
        (
            [*http("web", "db"), splitter("web", "db"), splitter("db", "web")],
            "detected circular reference: [splitter:db.default -> splitter:web.default -> splitter:db.default]",
        ),
        (
            [
                ServiceResolver(name="a", redirect=ResolverRedirect(service="b")),
                ServiceResolver(name="b", redirect=ResolverRedirect(service="a")),
            ],
            "detected circular resolver redirect: [b.default.dc1 -> a.default.dc1 -> b.default.dc1]",
        ),
        (
            [
                ServiceDefaults(name="web", external_sni="x"),
                ServiceResolver(name="web", redirect=ResolverRedirect(datacenter="dc2")),
            ],
            SNI.format("redirects"),
        ),
        (
            [
                ServiceResolver(name="web", subsets={"v1": ResolverSubset()}),
                ServiceDefaults(name="web", external_sni="x"),
            ],
            SNI.format("subsets"),
        ),
        (
            [
                ServiceDefaults(name="web", external_sni="x"),
                ServiceResolver(name="web", failover={"*": ResolverFailover(datacenters=["dc2"])}),
            ],
            SNI.format("failover"),
        ),
        (
            [ServiceResolver(name="web", failover={"*": ResolverFailover(service="db", service_subset="v9")})],
            'service "db" does not have a subset named "v9"',
        ),
        ([ingress("in", "http", "web")], 'service "web" has protocol "tcp", which does not match defined listener '
                                         'protocol "http"'),
        (
            [TerminatingGateway(name="gw"), ingress("gw", "tcp", "web")],
            'cannot create a "ingress-gateway" config entry with name "gw", a "terminating-gateway" config entry with '
            "that name already exists",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(fsm: Driver, entries: list[ConfigEntry], text: str) -> None:
    assert write(fsm, *entries[:-1]) is True
    before = fsm.dump()
    assert refusal(write(fsm, entries[-1])) == text
    assert fsm.dump() == before


def test_what_a_chain_needs_cannot_be_taken_away(fsm: Driver) -> None:
    write(fsm, ProxyDefaults(config={"protocol": "HTTP"}), router("web", "db"), ingress("in", "http", "web"))
    assert "does not permit advanced routing" in refusal(delete(fsm, ProxyDefaults(name="global")))
    assert write(fsm, *http("web", "db")) is True
    assert delete(fsm, ProxyDefaults(name="global")) is None
    assert "inconsistent protocols" in refusal(delete(fsm, ServiceDefaults(name="db")))
    assert delete(fsm, router("web")) is None
    assert delete(fsm, ServiceDefaults(name="db")) is None
    assert "does not match defined listener" in refusal(delete(fsm, ServiceDefaults(name="web")))
    assert delete(fsm, ingress("in", "http")) is None
    assert delete(fsm, ServiceDefaults(name="web")) is None
    with fsm.store.snapshot() as snap:
        assert snap.count(snap.tables.config_entries) == snap.count(snap.tables.config_entries_by_link) == 0


def test_a_tcp_listener_may_lead_to_any_protocol_while_nothing_is_routed(fsm: Driver) -> None:
    """It cannot be made so, but it may become so."""
    assert write(fsm, ingress("in", "tcp", "web")) is True
    assert write(fsm, *http("web")) is True
    assert "does not match defined listener" in refusal(write(fsm, router("web")))
    assert "does not match defined listener" in refusal(write(fsm, ingress("in", "tcp", "web")))


def test_redirects_subsets_and_failover_that_fit(fsm: Driver) -> None:
    subsets = {"v1": ResolverSubset(filter="a == b"), "v2": ResolverSubset()}
    failover = {"v1": ResolverFailover(service_subset="v2"), "*": ResolverFailover(datacenters=["dc2", "dc1"])}
    entries = [
        ProxyDefaults(config={"protocol": "http"}),
        ServiceResolver(name="db", default_subset="v1", subsets=subsets, failover=failover),
        ServiceResolver(name="alias", redirect=ResolverRedirect(service="db", service_subset="v2")),
        ServiceResolver(name="there", redirect=ResolverRedirect(datacenter="dc2")),
        splitter("web", "alias", "db"),
        router("web", "db", "v2"),
    ]
    assert write(fsm, *entries) is True


def test_gateways_move_the_index_of_their_services_only_with_them(fsm: Driver) -> None:
    write(fsm, ingress("in", "tcp", "web"))
    linked = fsm.index
    write(fsm, ingress("in", "tcp", "web"))
    assert fsm.row("gateway-services") == linked
    write(fsm, ingress("in", "tcp", "web", "db"))
    assert fsm.row("gateway-services") == fsm.index
    write(fsm, TerminatingGateway(name="out", services=[LinkedService("x")]))
    assert fsm.row("gateway-services") == fsm.index
    delete(fsm, TerminatingGateway(name="out"))
    assert fsm.row("gateway-services") == fsm.index


def resolved(fsm: Driver, name: str, **fields: Any) -> ServiceConfigResponse:
    answer: Answer[ServiceConfigResponse] = fsm.ask(
        lambda snap: queries.service_config(snap, ServiceConfigRequest(name=name, **fields))
    )
    return answer.value


def test_a_service_inherits_from_the_proxies_defaults_and_its_own(fsm: Driver) -> None:
    assert resolved(fsm, "web", upstreams=["db"]) == ServiceConfigResponse()
    write(
        fsm,
        ProxyDefaults(
            config={"protocol": "tcp", "n": 1.0},
            mesh_gateway=MeshGatewayConfig("local"),
            expose=ExposeConfig(paths=[ExposePath(path="/global")]),
        ),
        ServiceDefaults(
            name="web",
            protocol="http",
            mesh_gateway=MeshGatewayConfig("remote"),
            expose=ExposeConfig(checks=True, paths=[ExposePath(path="/own")]),
        ),
        ServiceDefaults(name="db", protocol="grpc"),
    )
    web = resolved(fsm, "WEB", upstreams=["db", "other"])
    assert web.proxy_config == {"protocol": "http", "n": 1.0}
    assert web.mesh_gateway.mode == "remote"
    assert web.expose == ExposeConfig(checks=True, paths=[ExposePath(path="/own")])
    assert web.upstream_configs == {"db": {"protocol": "grpc"}, "other": {"protocol": "tcp"}}
    assert web.upstream_id_configs is None
    other = resolved(fsm, "other", upstreams=["db"], upstream_ids=[ServiceID("db")])
    assert (other.proxy_config, other.mesh_gateway.mode) == ({"protocol": "tcp", "n": 1.0}, "local")
    assert other.expose == ExposeConfig(paths=[ExposePath(path="/global")])
    assert other.upstream_configs is None
    assert other.upstream_id_configs is not None
    assert other.upstream_id_configs[0].config == {"protocol": "grpc"}
    assert ServiceConfigResponse.from_raw(web.to_raw()) == web


def test_what_a_service_inherits_is_watched(fsm: Driver) -> None:
    request = ServiceConfigRequest(name="Web", upstreams=["db"])
    watch = fsm.ask(lambda snap: queries.service_config(snap, request)).watch
    for entry in (ServiceDefaults(name="WEB"), ProxyDefaults(), ServiceDefaults(name="db")):
        write(fsm, entry)
        assert any(tuple(topic) in watch for topic in fsm.topics)
    write(fsm, ServiceDefaults(name="other"))
    assert not any(tuple(topic) in watch for topic in fsm.topics)
