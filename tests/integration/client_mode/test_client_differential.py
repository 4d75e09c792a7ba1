"""The same requests to a real client agent of real servers and to one of ours: equal answers.

The scenarios are those of a lone agent. PROCONSUL_DIFFERENTIAL=consul compares real ones with real ones."""

from __future__ import annotations

import contextlib
import re
import socket
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.clusters import FOUNDING, JOINING, Cluster, client, server
from tests.integration.client_mode.setups import is_complete
from tests.integration.cluster.test_cluster_differential import SCRIPTS, ask_follower, compared_in_time
from tests.integration.differential import (
    scenarios_events,
    scenarios_keyring,
    scenarios_local,
    scenarios_operator,
    scenarios_reads,
)
from tests.integration.differential.exchange import LENGTH_MAY_DIFFER, Answer, Request
from tests.integration.differential.pairs import COMPARED, STILL, assert_none, shown
from tests.integration.differential.script import Run, Step
from tests.integration.dns import exchange_dns
from tests.integration.dns.questions import CATALOG, questions
from tests.loopback import LoopbackPool
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

SETUPS = {
    "proconsul": (False, [False]),
    "consul": (True, [True]),
    "ours on real servers": (False, [True]),
    "real on our servers": (True, [False]),
    "ours on three of ours": (False, [False, False, False]),
    "ours on mixed servers": (False, [True, False, False]),
}
"""What is compared with a real client of a real server: whether the client is a real one, and the servers. The first
server leads."""
SLOW = tuple(SETUPS)[2:]
OWN: dict[str, list[Any]] = {
    "events": scenarios_events.EVENTS,
    "keyring": scenarios_keyring.REQUESTS,
    "autopilot": scenarios_operator.CONFIGURATION,
    **{f"cached {name}": requests for name, requests in scenarios_reads.SCENARIOS.items()},
    **{f"local {name}": requests for name, requests in scenarios_local.LOCAL_SCENARIOS.items()},
}
"""What the client does itself, or asks for in ways of its own."""
UNORDERED = ("/v1/event/list", "/v1/session/list", "/v1/session/node/")
_ITEM = re.compile(r',(?=\{"ID")')
_HOPS = re.compile(r"(rpc error making call: )+")
_CONTACT = re.compile(r'("LastContact": ?)\d+')
SETTLES_WITHIN_S = 20.0
"""What an agent registers is in the catalog a moment later, and what a check finds comes at any time."""
SHORT = ("session creation", "txn keys", "status", "kv", "catalog", "health")
OWN_SHORT = ("events", "local plain services")
"""What is compared without --long."""
DNS_QUESTIONS = 100
KNOWN_DIFFERENCES: dict[str, str] = {
    "PUT /v1/agent/join/": "the reason why an empty address does not resolve is worded otherwise",
}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in SETUPS
        if (name == "consul") == (COMPARED == ["consul"])
    ],
)
def clusters(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, Cluster]]:
    """A real client of a real server first, then those that are compared with them. The first of each is the client."""
    real = partial(RealConsul, binary=real_consul)
    count = len(SETUPS[request.param][1])
    with contextlib.ExitStack() as stack:
        made = []
        for is_real, servers in ((True, [True] * count), SETUPS[request.param]):
            directory = tmp_path_factory.mktemp("client")
            kinds = [real if one else Agent for one in (is_real, *servers)]
            made.append(stack.enter_context(client_of_servers(kinds, loopback, directory)))
        yield made[0], made[1]


@contextlib.contextmanager
def client_of_servers(kinds: list[Any], loopback: LoopbackPool, directory: Path) -> Iterator[Cluster]:
    """`node1`, a client of the first kind, and its servers `node2` (the leader) and so on. All are in the catalog."""
    addresses = [loopback() for _ in kinds]
    config = {**STILL, "performance": {"raft_multiplier": 2}}
    servers = [
        server(
            kind,
            address,
            directory / f"node{number}",
            f"node{number}",
            mode=FOUNDING if number == 2 else JOINING,
            join=addresses[1:],
            config=config,
        )
        for number, kind, address in zip(range(2, len(kinds) + 1), kinds[1:], addresses[1:], strict=True)
    ]
    asked = client(kinds[0], addresses[0], directory / "node1", "node1", join=addresses[1:], config=STILL)
    try:
        with Cluster(servers).running():
            asked.start()
            asked.wait_ready()
            wait_until(lambda: is_complete(asked), 2 * PATIENCE_S, "the client in the catalog")
            yield Cluster([asked, *servers])
    finally:
        asked.destroy()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in SCRIPTS]
)
def test_same_answers_of_a_client(clusters: tuple[Cluster, Cluster], name: str) -> None:
    compare(clusters, SCRIPTS[name])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in OWN_SHORT else pytest.mark.slow) for name in OWN]
)
def test_same_answers_about_the_client_itself(clusters: tuple[Cluster, Cluster], name: str) -> None:
    compare(clusters, OWN[name])


def compare(clusters: tuple[Cluster, Cluster], steps: list[Request | Step]) -> None:
    """All differences at once. A look that shows a difference is repeated for a while."""
    known, tried = (Run(partial(ask_client, cluster)) for cluster in clusters)
    found = []
    for step in steps:
        repeat_until = time.monotonic() + (SETTLES_WITHIN_S if str(step).startswith("GET") else 0)
        while (lines := compared_in_time(known, tried, step)) and time.monotonic() < repeat_until:
            time.sleep(0.1)
        if lines and str(step) in KNOWN_DIFFERENCES and isinstance(clusters[1].servers[0], Agent):
            warnings.warn(f"{step}: {KNOWN_DIFFERENCES[str(step)]}", stacklevel=1)
            continue
        found += shown(step, lines)
    assert_none(found)


def ask_client(cluster: Cluster, request: Request) -> Answer:
    """As for a follower, with what depends on which server the client has asked masked, and in an order of its own
    what gossip, or random ids, bring into any order."""
    answer = ask_follower(cluster, request)
    body, headers = _HOPS.sub("rpc error making call: ", answer.body), dict(answer.headers)
    body = _CONTACT.sub(r"\1NANOSECONDS", body)
    if request.path.startswith(UNORDERED) and body.startswith("["):
        body = f"[{','.join(sorted(_ITEM.split(body[1:-1])))}]"
    if body != answer.body and "Content-Length" in headers:
        headers["Content-Length"] = [LENGTH_MAY_DIFFER]
    if len(cluster.servers) > 2 and "X-Consul-Lastcontact" in headers:
        headers["X-Consul-Lastcontact"] = ["MILLISECONDS"]
    return replace(answer, body=body, headers=headers)


def dns_answer(cluster: Cluster, question: exchange_dns.Question) -> dict[str, Any]:
    """The client's, with the addresses of its servers masked."""
    agent, *servers = cluster.servers
    reply = exchange_dns.ask(agent.address, question)
    for number, one in enumerate(servers):
        reply = reply.replace(socket.inet_aton(one.address), bytes([192, 0, 2, number]))
    return exchange_dns.shown(reply, agent.address, question)


def test_same_answers_over_dns(clusters: tuple[Cluster, Cluster]) -> None:
    """Last: the catalog is another one from here on."""
    for cluster in clusters:
        agent, own = cluster.servers[0], {one.node_name for one in cluster}
        for node in agent.http("GET", "/v1/catalog/nodes").json():
            if node["Node"] not in own:  # of earlier scenarios
                agent.http("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})
        for body in CATALOG:
            assert agent.http("PUT", "/v1/catalog/register", body).status == 200, body
    seed = seed_of("dns")
    print(f"seed: {seed}")
    found = []
    settles_until = time.monotonic() + SETTLES_WITHIN_S
    for question in questions(seed, DNS_QUESTIONS):
        while True:
            expected, answer = (dns_answer(cluster, question) for cluster in clusters)
            if expected == answer or time.monotonic() >= settles_until:
                break
            time.sleep(0.1)
        if expected != answer:
            keys = [key for key in {**expected, **answer} if expected.get(key) != answer.get(key)]
            found.append("\n    ".join([str(question), *(f"{k}: {expected.get(k)} != {answer.get(k)}" for k in keys)]))
    assert_none(found)
