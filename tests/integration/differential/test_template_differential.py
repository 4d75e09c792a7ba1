"""Random templates of prepared queries on the real Consul and on our agent: taken or refused with the same words, and
filled in alike. A failure prints the seed.

What makes Consul's server fall over is left out: an operator that is not minus before its first operand, and a dollar
before a character of several bytes. So is filling in what needs a text as a number: Consul can do that once only."""

from __future__ import annotations

import json
import os
import random
import re

import pytest

from tests.agents import Agent, RealConsul
from tests.integration.differential.exchange import UUID
from tests.seeds import seed_of

pytestmark = pytest.mark.real_consul

TOKENS = ["${", "}", "${name.full}", "${match(1)}", "name.suffix", "match(", ")", "(", '"', "$", "$$", "1", "2.5", "+"]
TOKENS += ["*", "-", " ", ",", "[", "]", "x", ".", "nope", "\n", '${"a ${name.prefix}"}', "\\", "_", ":", "{", "0x1"]
TOKENS += ["01", "1.", "$${"]
PATTERNS = ["", "(a)(b)?", "^x-(.*)$", "[", "(?i)X-(.)", "a{2,1}", "x-(.*?)-(.*)", "\\d+(", "(?P<n>.)", "[[:alpha:]]+"]
PATTERNS += ["*", "a++", "(?:", "\\pN", "(?s).", "[a", "x{1001}"]
DEADLY = re.compile(r'(^|[^\w.\])}"])\s*[+*]|[+*]\s*[+*]|[{(,]\s*[+*]')
NEEDS_NUMBERS = re.compile(r'["+*-]')
INDEXES = re.compile(rb'"(Create|Modify)Index": ?\d+')


class Asked:
    """One agent: what it said of a template, and what it made of it."""

    def __init__(self, agent: RealConsul | Agent) -> None:
        self._agent = agent

    def say(self, body: str, fill_in: bool) -> list[tuple[int, str]]:
        answer = self._agent.http("POST", "/v1/query", body)
        said = [(answer.status, UUID.sub("UUID", answer.body.decode()))]
        if answer.status == 200:
            if fill_in:
                explained = self._agent.http("GET", "/v1/query/x-aab-9/explain")
                said.append((explained.status, UUID.sub("UUID", INDEXES.sub(b"", explained.body).decode())))
            self._agent.http("DELETE", f"/v1/query/{answer.json()['ID']}")
        return said


@pytest.mark.parametrize("number", [150, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_templates_are_taken_refused_and_filled_in_alike(real_and_ours: tuple[RealConsul, Agent], number: int) -> None:
    seed = int(os.environ.get("TEMPLATE_SEED") or seed_of("templates"))
    print(f"replay: TEMPLATE_SEED={seed}")
    rng = random.Random(seed)
    expected, found = map(Asked, real_and_ours)
    tried = 0
    while tried < number:
        text = "".join(rng.choice(TOKENS) for _ in range(rng.randint(1, 8)))
        if DEADLY.search(text):
            continue
        tried += 1
        options = {"Type": "name_prefix_match", "Regexp": rng.choice(PATTERNS)}
        body = json.dumps({"Name": "x-", "Template": options, "Service": {"Service": "s", "Near": text}})
        fill_in = NEEDS_NUMBERS.search(text) is None
        assert found.say(body, fill_in) == expected.say(body, fill_in), (text, options)
