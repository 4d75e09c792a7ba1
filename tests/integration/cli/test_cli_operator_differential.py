"""`operator` through both programs, against the real agent and against ours: settings and peers, right and wrong."""

from __future__ import annotations

import pytest

from tests.integration.cli.test_cli_differential import Pair, pair
from tests.unit.cli.runner import run_cli

__all__ = ["pair"]
pytestmark = pytest.mark.real_consul


@pytest.mark.parametrize(
    "flags",
    [
        ["-cleanup-dead-servers=false", "-max-trailing-logs=100"],
        ["-cleanup-dead-servers=TRUE", "-server-stabilization-time=1m30s"],
        ["-last-contact-threshold=-1s"],
        ["-last-contact-threshold=0"],
        ["-redundancy-zone-tag=", '-upgrade-version-tag=a "quoted" tag', "-disable-upgrade-migration=1"],
        [],
        ["ignored", "arguments"],
        ["-max-trailing-logs=-1"],
        ["-max-trailing-logs=x"],
        ["-min-quorum=1.5"],
        ["-min-quorum=18446744073709551616"],
        ["-cleanup-dead-servers=yes"],
        ["-cleanup-dead-servers"],
        ["-last-contact-threshold=5"],
        ["-last-contact-threshold="],
        ["-server-stabilization-time=1 s"],
        ["-datacenter=nope"],
        ["-http-addr=127.0.0.1:1"],
        ["-nope"],
    ],
    ids=lambda flags: " ".join(flags) or "none",
)
def test_settings(pair: Pair, flags: list[str]) -> None:
    pair.same("operator", "autopilot", "set-config", *flags)
    pair.same("operator", "autopilot", "get-config")


@pytest.mark.parametrize(
    "arguments",
    [
        ["operator", "autopilot", "get-config", "-datacenter=nope"],
        ["operator", "autopilot", "get-config", "-stale=maybe"],
        ["operator", "autopilot", "get-config", "-nope"],
        ["operator", "raft", "remove-peer"],
        ["operator", "raft", "remove-peer", "-id=a", "-address=b"],
        ["operator", "raft", "remove-peer", "-id="],
        ["operator", "raft", "remove-peer", '-id="quoted"'],
        ["operator", "raft", "remove-peer", "-address=nowhere", "-datacenter=nope"],
        ["operator", "raft", "remove-peer", "-nope"],
        ["operator", "raft", "list-peers", "-nope"],
        ["operator", "raft", "list-peers", "-stale=maybe"],
    ],
    ids=" ".join,
)
def test_looks_and_removals(pair: Pair, arguments: list[str]) -> None:
    pair.same(*arguments)


def test_the_only_voter_cannot_be_removed(pair: Pair) -> None:
    [server] = pair.agent.http("GET", "/v1/operator/raft/configuration").json()["Servers"]
    assert pair.same("operator", "raft", "remove-peer", f"-id={server['ID']}").status == 1
    assert pair.same("operator", "raft", "remove-peer", f"-address={server['Address']}").status == 1


def test_leadership_of_a_server_alone_is_not_handed_over(pair: Pair) -> None:
    """A command of ours alone; the real agent does not know what it asks for."""
    outcome = run_cli("operator", "raft", "transfer-leader", environment=pair.environment)
    error = outcome.stderr.decode()
    assert outcome.status == 1
    assert error.startswith("Error transferring leadership: Unexpected response code: ")
