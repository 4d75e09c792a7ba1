"""Random sequences of registrations, updates and removals: both agents show the same after every step.

A failure names its seed: PROCONSUL_SEED=... repeats it."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.differential.exchange import Request, differences
from tests.integration.differential.pairs import OUTPUTS_HELD_BACK, STILL, ask
from tests.integration.differential.scenarios import put
from tests.integration.differential.scenarios_local import CHECK, REGISTER, unordered
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

CONFIG = STILL | OUTPUTS_HELD_BACK
STEPS = 120
SERVICES = ["a", "b", "c d", "ü", "%41"]
CHECKS = ["k1", "k2", "k3", "service:a", "service:b"]
STATUSES = ["passing", "warning", "critical", "", "odd"]
LOOKS = [
    "/v1/agent/services",
    "/v1/agent/checks",
    "/v1/catalog/node/node1",
    "/v1/health/node/node1",
    "/v1/agent/health/service/id/a",
]


class Requests:
    """Draws requests. Nothing that happens by itself: TTLs are long, probes far away."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def draw(self) -> Request:
        kinds = [self._service, self._service, self._check, self._update, self._word, self._deregister, self._maintain]
        return self._rng.choice(kinds)()

    def _maybe(self, make: Any, chance: float = 0.5) -> dict[str, Any]:
        return make() if self._rng.random() < chance else {}

    def _service(self) -> Request:
        rng = self._rng
        name = rng.choice(SERVICES)
        body: dict[str, Any] = {
            "Name": name,
            **self._maybe(lambda: {"ID": rng.choice(SERVICES)}),
            **self._maybe(lambda: {"Port": rng.randrange(-1, 70000)}),
            **self._maybe(lambda: {"Tags": rng.choice([None, [], ["x"], ["y", "x"], ["x", "x"]])}),
            **self._maybe(lambda: {"Meta": rng.choice([None, {}, {"k": "v"}, {"k": "v", "l": "ü"}, {"a b": "c"}])}),
            **self._maybe(lambda: {"Address": rng.choice(["", "10.1.1.1", "fd00::2", "h.example", "0.0.0.0"])}),
            **self._maybe(lambda: {"EnableTagOverride": rng.random() < 0.5}, 0.2),
            **self._maybe(lambda: {"Weights": {"Passing": rng.randrange(0, 4), "Warning": rng.randrange(-1, 3)}}, 0.3),
            **self._maybe(lambda: {"TaggedAddresses": {rng.choice(["lan", "lan_ipv4"]): {"Address": "9.9.9.9"}}}, 0.2),
            **self._maybe(lambda: {"Checks": [self._ttl() for _ in range(rng.randrange(3))]}),
            **self._maybe(lambda: {"Check": self._ttl()}, 0.3),
            **self._maybe(lambda: {"Kind": rng.choice(["connect-proxy", "mesh-gateway", ""])}, 0.1),
        }
        query = rng.choice(["", "", "?replace-existing-checks", "?replace-existing-checks=true", "?pretty"])
        return put(f"{REGISTER}{query}", body)

    def _ttl(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "TTL": rng.choice(["10m", "20m", "10m", "x", 3_600_000_000_000]),
            **self._maybe(lambda: {"CheckID": rng.choice(CHECKS)}, 0.3),
            **self._maybe(lambda: {"Name": rng.choice(["n1", "n2"])}, 0.3),
            **self._maybe(lambda: {"Status": rng.choice(STATUSES)}, 0.4),
            **self._maybe(lambda: {"Notes": "note"}, 0.2),
        }

    def _check(self) -> Request:
        rng = self._rng
        body = self._ttl()
        body.pop("CheckID", None)
        body |= {"Name": rng.choice(["n1", "n2"]), **self._maybe(lambda: {"ID": rng.choice(CHECKS)}, 0.7)}
        body |= self._maybe(lambda: {"ServiceID": rng.choice(SERVICES)})
        return put(CHECK, body)

    def _path(self, prefix: str, name: str) -> str:
        return prefix + name.replace("%", "%25").replace(" ", "%20").replace("ü", "%C3%BC")

    def _update(self) -> Request:
        rng = self._rng
        path = self._path("/v1/agent/check/update/", rng.choice(CHECKS))
        return put(path, {"Status": rng.choice(STATUSES), "Output": rng.choice(["", "fine", "<&>ü"])})

    def _word(self) -> Request:
        rng = self._rng
        word = rng.choice(["pass", "warn", "fail", "deregister"])
        note = rng.choice(["", "?note=so", "?note=%3C%26"])
        return put(self._path(f"/v1/agent/check/{word}/", rng.choice(CHECKS)) + note)

    def _deregister(self) -> Request:
        return put(self._path("/v1/agent/service/deregister/", self._rng.choice(SERVICES)))

    def _maintain(self) -> Request:
        rng = self._rng
        query = f"?enable={rng.choice(['true', 'false'])}" + rng.choice(["", "&reason=r1", "&reason=r2"])
        if rng.random() < 0.3:
            return put(f"/v1/agent/maintenance{query}")
        return put(self._path("/v1/agent/service/maintenance/", rng.choice(SERVICES)) + query)


@pytest.mark.parametrize("number", range(2))
def test_both_agents_show_the_same_after_every_step(real_and_ours: tuple[RealConsul, Agent], number: int) -> None:
    seed = int(os.environ.get("PROCONSUL_SEED") or seed_of(f"local {number}"))
    print(f"replay: PROCONSUL_SEED={seed}")
    for agent in real_and_ours:  # an earlier sequence may have left something
        for service_id in agent.http("GET", "/v1/agent/services").json():
            agent.http("PUT", Requests(0)._path("/v1/agent/service/deregister/", service_id))
        for check_id in agent.http("GET", "/v1/agent/checks").json():
            agent.http("PUT", f"/v1/agent/check/deregister/{check_id}")
    requests = Requests(seed)
    done: list[str] = []
    for _ in range(STEPS):
        request = requests.draw()
        done.append(str(request))
        for each in (request, *map(unordered, LOOKS)):
            expected, found = (ask(agent, each) for agent in real_and_ours)
            lines = differences(expected, found)
            assert not lines, "\n".join([*done[-12:], f"-> {each}", *lines])
