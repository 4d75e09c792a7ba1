"""Names that others know, and prepared queries: the real Consul and our agent ask the same and answer the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.differential.pairs import STILL, Pairs
from tests.integration.dns.exchange_dns import Question, ask, shown
from tests.integration.dns.questions import fill_catalog
from tests.integration.dns.stub_resolver import PORT, StubResolver
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

FOREIGN = ["example.com", "www.example.com", "target.example.com", "WWW.Example.COM", "other-name.example.com",
           "nx.example.com", "servfail.example.com", "notimp.example.com", "refused.example.com", "big.example.com",
           "9.9.9.9.in-addr.arpa", "arpa", "x"]  # fmt: skip
OURS = ["name.service.consul", "outside.service.consul", "chain.service.consul", "external.node.consul",
        "n11.node.consul", "aliased.node.consul", "far.service.consul", "ours.service.consul", "loop.service.consul",
        "consul", "nope.service.consul", "web.service.consul", "odd.service.consul"]  # fmt: skip
QUERIES: dict[str, dict[str, Any]] = {
    "plain": {"Service": {"Service": "web"}},
    "timed": {"Service": {"Service": "web"}, "DNS": {"TTL": "9s"}},
    "fraction": {"Service": {"Service": "web"}, "DNS": {"TTL": "1500ms"}},
    "passing": {"Service": {"Service": "web", "OnlyPassing": True}},
    "tagged": {"Service": {"Service": "web", "Tags": ["v1"]}},
    "nobody": {"Service": {"Service": "nope"}},
    "with.dots": {"Service": {"Service": "db"}},
    "outside": {"Service": {"Service": "name"}},
    "six": {"Service": {"Service": "six"}},
    "crowd": {"Service": {"Service": "many"}},
}

TEMPLATE = {"Name": "geo-", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${name.suffix}"}}


@pytest.fixture(scope="module")
def resolvers(loopback: LoopbackPool) -> Iterator[tuple[StubResolver, StubResolver]]:
    first, second = StubResolver(loopback(), knows=False), StubResolver(loopback(), knows=True)
    with first.running(), second.running():
        yield first, second


@pytest.fixture(scope="module")
def agents(
    resolvers: tuple[StubResolver, StubResolver],
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RealConsul, Agent]]:
    first, second = resolvers
    config = {
        **STILL,
        "recursors": [f"{loopback()}:{PORT}", f"{first.address}:{PORT}", f"{second.address}:{PORT}"],
        "dns_config": {"recursor_timeout": "1500ms", "service_ttl": {"web": "4s"}, "node_ttl": "3s"},
    }
    with Pairs(real_consul, loopback, tmp_path_factory).running(config) as pair:
        for agent in pair:
            fill_catalog(agent)
            for name, query in QUERIES.items():
                answer = agent.http("POST", "/v1/query", {"Name": name, **query})
                assert answer.status == 200, answer.body
            assert agent.http("POST", "/v1/query", TEMPLATE).status == 200
        yield pair


def compare(agents: tuple[RealConsul, Agent], questions: list[Question]) -> list[str]:
    found = []
    for question in questions:
        expected, answer = (shown(ask(agent.address, question), agent.address, question) for agent in agents)
        found += [
            f"{question}\n    {key}: {expected.get(key)} != {answer.get(key)}"
            for key in {**expected, **answer}
            if expected.get(key) != answer.get(key)
        ]
    return found


def test_recursion_gives_the_same_answers(agents: tuple[RealConsul, Agent]) -> None:
    questions = [
        Question(name, qtype, tcp=tcp, udp_size=udp_size)
        for name in (*FOREIGN, *OURS)
        for qtype in ("A", "AAAA", "SRV", "ANY", "TXT", "PTR")
        for tcp, udp_size in ((False, None), (True, None), (False, 1232))
        if not (name == "big.example.com" and qtype == "TXT" and not tcp and udp_size is None)
    ]
    found = compare(agents, questions)
    assert not found, f"{len(found)} answers differ, Consul's first:\n" + "\n".join(found)


def test_the_resolvers_are_asked_the_same(
    agents: tuple[RealConsul, Agent], resolvers: tuple[StubResolver, StubResolver]
) -> None:
    for question in (
        Question("www.example.com"),
        Question("other-name.example.com", udp_size=1232),
        Question("www.example.com", "TXT", tcp=True),
        Question("name.service.consul"),
        Question("outside.service.consul", "SRV", udp_size=4096),
        Question("servfail.example.com"),
    ):
        asked = []
        for agent in agents:
            for resolver in resolvers:
                resolver.asked.clear()
            ask(agent.address, question)
            asked.append([list(resolver.asked) for resolver in resolvers])
        assert asked[1] == asked[0], question


def test_a_resolver_that_is_silent_costs_its_timeout_once_each(agents: tuple[RealConsul, Agent]) -> None:
    found = compare(agents, [Question("silent.example.com"), Question("silent.example.com", udp_size=1232)])
    assert not found, "\n".join(found)


def test_prepared_queries_give_the_same_answers(agents: tuple[RealConsul, Agent]) -> None:
    names = [*QUERIES, "PLAIN", "geo-db", "geo-web", "geo-", "geo-nope", "nope", "a.plain", "plain.query"]
    questions = [
        Question(f"{name}.query{suffix}.consul", qtype, udp_size=udp_size, subnet=subnet, cut=name == "crowd")
        for name in names
        for suffix in ("", ".dc1", ".nope")
        for qtype in ("A", "SRV", "ANY", "TXT")
        for udp_size, subnet in ((None, ""), (1232, ""), (1232, "10.1.2.0/24"))
    ]
    found = compare(agents, questions)
    assert not found, f"{len(found)} answers differ, Consul's first:\n" + "\n".join(found)
