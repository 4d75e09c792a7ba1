"""`keyring` through both programs against an agent of ours that encrypts: each step of a rotation by either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import Agent, wait_until
from tests.integration.cli.test_cli_differential import CONFIG, Pair
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

FIRST, SECOND = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "EBESExQVFhcYGRobHB0eHw=="


@pytest.fixture(scope="module")
def pair(real_consul: Path, loopback: LoopbackPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    agent = Agent(loopback(), tmp_path_factory.mktemp("agent"), config={**CONFIG, "encrypt": FIRST})
    with agent.running():
        yield Pair(real_consul, agent)


def test_a_rotation_by_both_programs(pair: Pair) -> None:
    """Steps may be repeated: the second program finds done what it asks for."""
    pair.same("keyring", "-list")
    pair.same("keyring", "-use", SECOND)
    assert pair.same("keyring", "-install", SECOND).stdout == b"==> Installing new gossip encryption key...\n"
    assert pair.same("keyring", "-use", SECOND, "-relay-factor=1").status == 0
    pair.same("keyring", "-list-primary")
    pair.same("keyring", "-remove", SECOND)
    assert pair.same("keyring", "-remove", FIRST).status == 0
    listed = pair.same("keyring", "-list").stdout.decode()
    assert listed == (
        f"==> Gathering installed encryption keys...\n\nWAN:\n  {SECOND} [1/1]\n\ndc1 (LAN):\n  {SECOND} [1/1]\n"
    )
    only = pair.same("keyring", "-list", "-local-only").stdout.decode()
    assert only == f"==> Gathering installed encryption keys...\n\ndc1 (LAN):\n  {SECOND} [1/1]\n"


def test_a_restart_of_gossip_alone_keeps_the_keys_of_the_agent(pair: Pair) -> None:
    """They are in no file that outlives it."""
    third = "ICEiIyQlJicoKSorLC0uLw=="
    for option in ("-install", "-use"):
        assert pair.same("keyring", option, third).status == 0
    before = pair.same("keyring", "-list-primary")
    assert isinstance(pair.agent, Agent)
    pair.agent.wait_restarted("gossip", pair.agent.kill("gossip"))
    wait_until(lambda: pair.real("keyring", "-list-primary") == before, what="the same keys")
