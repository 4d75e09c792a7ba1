"""Every command line that the real Consul 1.8.7 CLI was recorded with gives the same output from ours.

No agent is needed: the recorded ones fail before or while connecting. Help prose is our own, so of texts
that contain help only what comes before the word "Usage" is compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.runner import run_cli

RECORDED = json.loads((Path(__file__).parents[2] / "vectors" / "cli" / "real_cli.json").read_text())


def _name(case: dict[str, Any]) -> str:
    return " ".join([*(f"{key}={value}" for key, value in case["env"].items()), *case["args"], case["stdin"]])[:80]


@pytest.mark.parametrize("case", RECORDED["cases"], ids=_name)
def test_same_answer_as_the_real_cli(case: dict[str, Any]) -> None:
    environment = {"CONSUL_HTTP_ADDR": RECORDED["address"], **case["env"]}
    outcome = run_cli(*case["args"], environment=environment, stdin=case["stdin"].encode())
    stdout, stderr = (_without_help(text) for text in (outcome.stdout, outcome.stderr))
    assert (stderr, stdout) == (case["stderr"], case["stdout"])
    assert outcome.status == case["status"]


def _without_help(output: bytes) -> str:
    text = output.decode("utf-8", "surrogateescape")
    before, found, _ = text.partition("Usage")
    return before + found
