"""Random filters over random records: the real Consul and our agent choose the same, and refuse with the same words."""

from __future__ import annotations

import os
import random
import urllib.parse

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.differential.exchange import differences
from tests.integration.differential.filters import SELECTORS, Filters
from tests.integration.differential.pairs import ask, assert_none, assert_same, shown
from tests.integration.differential.scenarios import get, put
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

EXPRESSIONS = int(os.environ.get("FILTERS") or 300)
NODES = 4


def test_filters_choose_and_refuse_alike(real_and_ours: tuple[RealConsul, Agent]) -> None:
    seed = int(os.environ.get("FILTER_SEED") or seed_of("filters"))
    print(f"replay: FILTER_SEED={seed}")
    filters, rng = Filters(seed), random.Random(seed)
    for body in filters.registrations(NODES):
        for agent in real_and_ours:
            assert agent.http("PUT", "/v1/catalog/register", body).status == 200
    for body in filters.local_services():
        for agent in real_and_ours:
            registered = agent.http("PUT", "/v1/agent/service/register", body)
            assert registered.status == 200, (body, registered.body)
    found, kept = [], 0
    for _ in range(EXPRESSIONS):
        endpoint = rng.choice(list(SELECTORS))
        expression = filters.expression(endpoint)
        request = get(f"{endpoint}?filter={urllib.parse.quote(expression)}")
        expected, answer = (ask(agent, request) for agent in real_and_ours)
        kept += expected.status == "200 OK"
        found += shown(f"{endpoint} {expression!r}", differences(expected, answer))
    assert_none(found)
    assert kept > EXPRESSIONS // 4, "too few of the expressions were right"


def test_a_filter_in_the_body_or_twice(real_and_ours: tuple[RealConsul, Agent]) -> None:
    requests = [
        get("/v1/catalog/nodes?filter=Node==node1&filter=("),
        get("/v1/catalog/nodes?filter="),
        get("/v1/catalog/nodes?filter=%20"),
        get("/v1/catalog/nodes?filter=%00"),
        get("/v1/catalog/nodes?filter=%ff%20==%20a"),
        get("/v1/catalog/nodes?filter=Node==%22%ff%22"),
        get("/v1/catalog/nodes?filter=Node==`node1%0a"),
        get("/v1/catalog/nodes?filter=" + "a" * 3000),
        get("/v1/agent/members?filter=("),
        get("/v1/kv/a?filter=("),
        put("/v1/kv/a?filter=(", b"x"),
    ]
    assert_same(real_and_ours, requests)
