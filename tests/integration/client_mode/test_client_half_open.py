"""A client whose link to the server that it uses loses everything, while all others are whole: nothing ends the
connection, and gossip goes round the link. Reads and look-ups go on elsewhere within seconds; Consul's client fails
all of them until its keepalive gives up, after up to 40 s."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from dnslib import RCODE

from tests.agents import PATIENCE_S, wait_until
from tests.clusters import AnyAgent, Cluster, client, expecting, server
from tests.integration.client_mode.setups import OURS, REAL, ask_dns, is_complete
from tests.linearizability.network import Network, why_not
from tests.on_hosts import HostAgent, HostRealConsul

pytestmark = pytest.mark.slow

SERVERS, CLIENT = 3, 3
"""How many servers there are, and the number of the client's host, which comes behind theirs."""
CUT_S = 15.0
FELT_S = 1.0
"""Nobody is given up sooner: what took longer has met the cut."""
ANSWER_WITHIN_S = 8.0
"""It takes four to five on a machine with nothing else to do."""
WAYS: dict[str, list[tuple[int | None, int | None]]] = {
    "nothing passes": [(CLIENT, None), (None, CLIENT)],
    "nothing arrives there": [(CLIENT, None)],
    "nothing comes back": [(None, CLIENT)],
}
"""From which host to which; None is the server's."""


class Asking(threading.Thread):
    """`ask` again and again; `outcomes` has when, how long and, if it failed, why."""

    def __init__(self, network: Network, ask: Callable[[], str]) -> None:
        super().__init__(daemon=True)
        self._network, self._ask = network, ask
        self.stopping = threading.Event()
        self.outcomes: list[tuple[float, float, str]] = []

    def run(self) -> None:
        with self._network.entered():
            began = time.monotonic()
            while not self.stopping.wait(0.1):
                asked = time.monotonic()
                try:
                    failure = self._ask()
                except (OSError, http.client.HTTPException) as error:
                    failure = repr(error)
                self.outcomes.append((round(asked - began, 1), round(time.monotonic() - asked, 1), failure))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [OURS, pytest.param(REAL, marks=pytest.mark.real_consul)])
def test_reads_and_lookups_go_on_elsewhere(kind: str, way: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    made = HostAgent if kind == OURS else partial(HostRealConsul, binary=request.getfixturevalue("real_consul"))
    network = Network(SERVERS + 1)
    try:
        with network.entered():
            addresses = [network.address(number) for number in range(SERVERS)]
            servers = [
                server(
                    partial(made, prefix=network.command(number)),
                    address,
                    tmp_path / f"n{number}",
                    f"n{number}",
                    mode=expecting(SERVERS),
                    join=addresses,
                )
                for number, address in enumerate(addresses)
            ]
            on_its_host = partial(HostAgent, prefix=network.command(CLIENT))
            agent = client(on_its_host, network.address(CLIENT), tmp_path / "c1", "c1", join=addresses)
            with Cluster(servers).running():
                try:
                    agent.start()
                    agent.wait_ready()
                    wait_until(lambda: is_complete(agent), 2 * PATIENCE_S, "the client in the catalog")
                    go_on(network, agent, way)
                finally:
                    agent.destroy()
    finally:
        network.close()


def go_on(network: Network, agent: AnyAgent, way: str) -> None:
    assert agent.http("PUT", "/v1/kv/a", b"1").body == b"true"

    def read() -> str:
        answer = agent.http("GET", "/v1/kv/a", timeout_s=2 * PATIENCE_S)
        return "" if answer.status == 200 else f"{answer.status} {answer.body!r}"

    def look_up() -> str:
        answer = ask_dns(agent.address, "c1.node.consul", timeout_s=2 * PATIENCE_S)
        return "" if answer.header.rcode == RCODE.NOERROR and answer.rr else str(answer)

    used = server_used(agent, [network.address(number) for number in range(SERVERS)])
    for source, target in WAYS[way]:
        network.cut(used if source is None else source, used if target is None else target)
    asking = [Asking(network, one) for one in (read, look_up)]
    for one in asking:
        one.start()
    time.sleep(CUT_S)
    written = agent.http("PUT", "/v1/kv/a", b"2").body
    network.heal()
    for one in asking:
        one.stopping.set()
        one.join(2 * PATIENCE_S)
        print(way, max(one.outcomes, key=lambda outcome: outcome[1]), len(one.outcomes))
        assert not [outcome for outcome in one.outcomes if outcome[2]]
        assert len(one.outcomes) > CUT_S
        assert max(took_s for _, took_s, _ in one.outcomes) < ANSWER_WITHIN_S
    slowest_s = max(took_s for one in asking for _, took_s, _ in one.outcomes)
    assert slowest_s > FELT_S, "the link that was cut is not the one that was used"
    assert written == b"true"


def server_used(agent: AnyAgent, addresses: list[str]) -> int:
    """The number of the one to which the client has a connection."""
    rows = [line.split() for line in Path(f"/proc/{agent.pid}/net/tcp").read_text().splitlines()[1:]]
    ends = {row[2] for row in rows if row[3] == "01"}
    used = []
    for number, address in enumerate(addresses):
        reversed_bytes = bytes(int(part) for part in reversed(address.split(".")))
        if f"{reversed_bytes.hex().upper()}:{8300:04X}" in ends:
            used.append(number)
    (found,) = used
    return found
