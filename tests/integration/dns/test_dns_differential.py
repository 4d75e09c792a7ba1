"""The same questions to the real Consul and to our agent, over the same catalog, with several configurations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_until
from tests.integration.differential.pairs import STILL, Pairs
from tests.integration.dns.exchange_dns import Question, ask, shown
from tests.integration.dns.questions import fill_catalog, questions
from tests.loopback import LoopbackPool
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

RANDOM_QUESTIONS = int(os.environ.get("DNS_QUESTIONS") or 200)
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "as it comes": {"node_meta": {"own": "meta"}},
    "with limits and times": {
        "datacenter": "dc1",
        "dns_config": {
            "node_ttl": "11s",
            "service_ttl": {"web": "5s", "w*": "6s", "*": "7s", "lo*": "8s", "lots": "9s"},
            "only_passing": True,
            "a_record_limit": 4,
            "udp_answer_limit": 5,
            "enable_truncate": True,
            "enable_additional_node_meta_txt": False,
            "soa": {"refresh": 1, "retry": 2, "expire": 3, "min_ttl": 4},
        },
    },
    "without compression": {"dns_config": {"disable_compression": True, "udp_answer_limit": 100}},
    "with another domain": {"domain": "Example.ORG", "alt_domain": "consul", "dns_config": {"node_ttl": "1500ms"}},
    "with the cache": {"dns_config": {"use_cache": True, "cache_max_age": "10s", "allow_stale": False}},
}


@pytest.fixture(scope="module", params=list(CONFIGURATIONS))
def agents(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RealConsul, Agent]]:
    with Pairs(real_consul, loopback, tmp_path_factory).running({**STILL, **CONFIGURATIONS[request.param]}) as pair:
        for agent in pair:
            fill_catalog(agent)
        yield pair


def test_same_answers(agents: tuple[RealConsul, Agent]) -> None:
    seed = int(os.environ.get("DNS_SEED") or seed_of("dns"))
    print(f"replay: DNS_SEED={seed}")
    found = []
    for question in questions(seed, RANDOM_QUESTIONS):
        lines = compare(agents, question)
        if lines:
            found.append("\n    ".join((str(question), *lines)))
    assert not found, f"{len(found)} answers differ, Consul's first:\n" + "\n".join(found)


def test_names_of_no_kind_are_logged_alike(agents: tuple[RealConsul, Agent]) -> None:
    names = ["x.consul", "a.b.C.consul", "zz2e0001.addr.consul", "web.service.dc1.dc2.consul", "consul"]
    for agent in agents:
        for name in names:
            ask(agent.address, Question(name))

    def warnings(agent: RealConsul | Agent) -> set[str]:
        lines = agent.output().splitlines()
        return {line.partition("Z ")[2] for line in lines if "QName invalid" in line}

    wait_until(lambda: warnings(agents[1]) == warnings(agents[0]), what="equal warnings")


def compare(agents: tuple[RealConsul, Agent], question: Question) -> list[str]:
    expected, answer = (shown(ask(agent.address, question), agent.address, question) for agent in agents)
    return [
        f"{key}: {expected.get(key)} != {answer.get(key)}"
        for key in {**expected, **answer}
        if expected.get(key) != answer.get(key)
    ]
