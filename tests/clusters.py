"""Several servers as one cluster, ours, real ones, or both kinds together.

    cluster = Cluster([server(Agent, loopback(), tmp_path / "n1", "n1"), ...])
    with cluster.running():
        leader, followers = cluster.leader(), cluster.followers()

Everything is synchronous and has a deadline, as in tests.agents."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.agents import PATIENCE_S, Agent, RealConsul, wait_until
from tests.loopback import LoopbackPool

AnyAgent = Agent | RealConsul
QUICK: dict[str, Any] = {"performance": {"raft_multiplier": 1}}
"""Elections within two seconds instead of ten."""
CALM: dict[str, Any] = {"performance": {"raft_multiplier": 5, "rpc_hold_timeout": "25s"}}
"""For clusters whose leader is to stay: one that gets no processor for two seconds does not lose its office, and what
meets an election waits for its end."""
ELECTION_S = 2 * PATIENCE_S
Kind = Callable[..., AnyAgent]
"""Makes an agent: Agent itself, or RealConsul with its binary filled in."""


def expecting(servers: int) -> tuple[str, ...]:
    """Flags of a server that founds a cluster with others."""
    return ("-server", f"-bootstrap-expect={servers}")


JOINING = ("-server",)
"""Flags of a server that finds its cluster founded."""
FOUNDING = ("-server", "-bootstrap")
"""Flags of the server that leads from the first moment."""


class Cluster:
    """Servers that join each other. The first one's address is where the others look."""

    def __init__(self, servers: Sequence[AnyAgent]) -> None:
        self.servers = list(servers)

    def __iter__(self) -> Iterator[AnyAgent]:
        return iter(self.servers)

    def start(self, *servers: AnyAgent) -> None:
        """Starts those that are named, else all; does not wait."""
        for one in servers or self.servers:
            one.start()

    @contextlib.contextmanager
    def running(self) -> Iterator[Cluster]:
        """Start all, wait until all know one leader and have each other in the catalog; end all at the end."""
        with clusters_running(self):
            yield self

    def alive(self) -> list[AnyAgent]:
        return [one for one in self.servers if one.process is not None and one.process.poll() is None]

    def leader(self, timeout_s: float = ELECTION_S) -> AnyAgent:
        """The server that all living ones take for the leader."""

        def agreed() -> AnyAgent | None:
            alive = self.alive()
            said = {one.http("GET", "/v1/status/leader", timeout_s=5).json() for one in alive}
            address = said.pop().partition(":")[0] if len(said) == 1 else ""
            return next((one for one in alive if one.address == address), None)

        found = wait_until(agreed, timeout_s, "a leader that all agree on")
        assert found is not None
        return found

    def followers(self) -> list[AnyAgent]:
        leader = self.leader()
        return [one for one in self.alive() if one is not leader]

    def wait_settled(self, timeout_s: float = ELECTION_S) -> None:
        """Waits until every living server is in the catalog with all it writes about itself."""
        names = {one.node_name for one in self.alive()}

        def settled() -> bool:
            for one in self.alive():
                answer = one.http("GET", "/v1/health/service/consul", timeout_s=10)
                entries = answer.json() if answer.status == 200 else []
                known = {entry["Node"]["Node"] for entry in entries if entry["Node"]["TaggedAddresses"]}
                if not names <= known:
                    return False
            return True

        wait_until(settled, timeout_s, f"{sorted(names)} in the catalog")

    def voters(self) -> set[str]:
        """Names of the voters, as the leader knows them."""
        servers = self.leader().http("GET", "/v1/operator/raft/configuration").json()["Servers"]
        return {one["Node"] for one in servers if one["Voter"]}

    def write_somewhere(self, path: str, body: bytes, timeout_s: float = ELECTION_S) -> AnyAgent:
        """PUT until a living server accepts it: the one that did."""

        def accepted() -> AnyAgent | None:
            for one in self.alive():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if one.http("PUT", path, body, timeout_s=10).body == b"true":
                        return one
            return None

        found = wait_until(accepted, timeout_s, "a server that takes a write")
        assert found is not None
        return found


@contextlib.contextmanager
def clusters_running(*clusters: Cluster) -> Iterator[None]:
    """As `Cluster.running` for several, which start side by side."""
    servers = [one for cluster in clusters for one in cluster]
    try:
        for one in servers:
            one.start()
        for one in servers:
            one.wait_ready()
        for cluster in clusters:
            cluster.wait_settled()
        yield
    finally:
        for one in (*servers, *(one for cluster in clusters for one in cluster)):
            one.destroy()


def server(
    kind: Kind,
    address: str,
    directory: Path,
    name: str,
    *,
    mode: Sequence[str],
    join: Sequence[str] = (),
    config: dict[str, Any] | None = None,
) -> AnyAgent:
    """One server that looks for the others at the addresses `join`, again and again."""
    arguments = ["-retry-interval", "1s"]
    for other in join:
        arguments += ["-retry-join", other]
    config = {**QUICK, **(config or {})}
    return kind(address, directory, arguments=arguments, dev=False, node_name=name, config=config, mode=mode)


def client(
    kind: Kind,
    address: str,
    directory: Path,
    name: str,
    *,
    join: Sequence[str],
    config: dict[str, Any] | None = None,
    arguments: Sequence[str] = (),
) -> AnyAgent:
    """One client agent that looks for servers at the addresses `join`, again and again."""
    flags = ["-retry-interval", "1s", *arguments]
    for other in join:
        flags += ["-retry-join", other]
    return kind(address, directory, arguments=flags, dev=False, node_name=name, config=config or {}, mode=())


def founders(
    loopback: LoopbackPool, directory: Path, kinds: Sequence[Kind], config: dict[str, Any] | None = None
) -> Cluster:
    """n1, n2, ... of these kinds, which found their cluster together."""
    addresses = [loopback() for _ in kinds]
    names = [f"n{number + 1}" for number in range(len(kinds))]
    mode = expecting(len(kinds))
    return Cluster(
        [
            server(kind, address, directory / name, name, mode=mode, join=addresses, config=config)
            for kind, address, name in zip(kinds, addresses, names, strict=True)
        ]
    )


def with_follower(
    loopback: LoopbackPool, directory: Path, kinds: Sequence[Kind], config: dict[str, Any] | None = None
) -> Cluster:
    """Servers of these kinds of which the second, `node2`, leads from the beginning, and patiently; `node1` and those
    behind follow, first without a vote."""
    addresses = [loopback() for _ in kinds]
    own = {**(config or {}), "performance": {"raft_multiplier": 5}}
    made = []
    for number, (kind, address) in enumerate(zip(kinds, addresses, strict=True)):
        name, mode = f"node{number + 1}", FOUNDING if number == 1 else JOINING
        made.append(server(kind, address, directory / name, name, mode=mode, join=addresses, config=own))
    return Cluster(made)
