"""Where a server listens and what it tells others of its addresses, as the real agent does with the same flags."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.agents import Agent, RealConsul, wait_settled
from tests.loopback import LoopbackPool

FLAGS = {
    "advertise": ["-advertise={1}"],
    "advertise wan": ["-advertise-wan={1}"],
    "gossip elsewhere": ["-serf-lan-bind={1}", "-serf-wan-bind={2}", "-advertise={3}", "-advertise-wan={4}"],
    "ports": ["-serf-lan-port=8401", "-serf-wan-port=8402"],
    "templates": [
        '-serf-lan-bind={{{{ GetAllInterfaces | include "name" "^lo$" | include "type" "ipv4" | attr "address" }}}}',
        "-serf-lan-port={port}",
        '-advertise-wan={{{{ "{1}" }}}}',
    ],
}
IN_SHORT = ("gossip elsewhere", "templates")


def _addresses(agent: Agent | RealConsul, names: dict[str, str]) -> dict[str, Any]:
    """What the agent tells, its addresses replaced by their numbers."""

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        return names.get(value, value) if isinstance(value, str) else value

    node = agent.http("GET", f"/v1/catalog/node/{agent.node_name}").json()["Node"]
    members = {
        pool: [(one["Addr"], one["Port"], one["Tags"].get("wan_join_port")) for one in answer]
        for pool in ("lan", "wan")
        if (answer := agent.http("GET", "/v1/agent/members" + ("?wan=1" if pool == "wan" else "")).json())
    }
    return {
        "members": {pool: [(named(one[0]), *one[1:]) for one in found] for pool, found in members.items()},
        "node": named({"Address": node["Address"], "TaggedAddresses": node["TaggedAddresses"]}),
        "listening": _listening(names),
    }


def _listening(names: dict[str, str]) -> list[tuple[str, int]]:
    """UDP sockets of these addresses."""
    found = set()
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        host, port = line.split()[1].split(":")
        address = ".".join(str(byte) for byte in reversed(bytes.fromhex(host)))
        if address in names:
            found.add((names[address], int(port, 16)))
    return sorted(found)


@pytest.mark.real_consul
@pytest.mark.parametrize(
    "case",
    [name if name in IN_SHORT else pytest.param(name, marks=pytest.mark.slow) for name in FLAGS],
)
def test_addresses_are_told_as_by_the_real_agent(
    case: str, real_consul: Path, loopback: LoopbackPool, tmp_path: Path
) -> None:
    told = []
    for kind in (RealConsul, Agent):
        addresses = [loopback() for _ in range(5)]
        port = random.SystemRandom().randrange(15_000, 32_000)  # on an address that others have, too
        flags = [text.format(*addresses, port=port) for text in FLAGS[case]]
        directory = tmp_path / kind.__name__
        agent: Agent | RealConsul = (
            RealConsul(addresses[0], directory, real_consul, flags)
            if kind is RealConsul
            else Agent(addresses[0], directory, flags)
        )
        with agent.running():
            wait_settled(agent)
            told.append(_addresses(agent, {text: f"address {at}" for at, text in enumerate(addresses)}))
    assert told[0]["node"] == told[1]["node"]
    assert told[0]["listening"] == told[1]["listening"]
    if case != "templates":  # there the port is each agent's own
        assert told[0]["members"] == told[1]["members"]
