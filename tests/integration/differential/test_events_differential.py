"""User events, coordinates and snapshots: the same requests to the real Consul and to our agent."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.agents import Agent, RealConsul, wait_settled, wait_until
from tests.integration.differential import scenarios_events as scenarios
from tests.integration.differential.exchange import Request, differences, exchange
from tests.integration.differential.scenarios import get, put
from tests.loopback import LoopbackPool

pytestmark = pytest.mark.real_consul

COMPARED = os.environ.get("PROCONSUL_DIFFERENTIAL", "consul,proconsul").split(",")
Pair = tuple[RealConsul, RealConsul | Agent]


@pytest.fixture(scope="module", params=COMPARED)
def agents(
    request: pytest.FixtureRequest,
    real_consul: Path,
    loopback: LoopbackPool,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    """The real agent first, then the one to be compared. Dev agents send their own coordinate at once."""
    real = RealConsul(loopback(), tmp_path_factory.mktemp("real"), real_consul)
    other: RealConsul | Agent
    if request.param == "consul":
        other = RealConsul(loopback(), tmp_path_factory.mktemp("other"), real_consul)
    else:
        other = Agent(loopback(), tmp_path_factory.mktemp("ours"))
    with contextlib.ExitStack() as stack:
        for agent in (real, other):
            stack.enter_context(agent.running())
        for agent in (real, other):
            wait_settled(agent)
        yield real, other


def compare(agents: Pair, requests: list[Request], *, bodies: bool = True) -> None:
    real, other = agents
    found = []
    for request in requests:
        expected = exchange(real.address, real.http_port, request)
        try:
            lines = differences(expected, exchange(other.address, other.http_port, request))
        except (OSError, http.client.HTTPException, ValueError) as error:
            lines = [f"no comparable answer: {error!r}, where Consul says {expected.status}"]
        found += [f"{request}\n    {line}" for line in lines if bodies or not line.startswith("body")]
    assert not found, f"{len(found)} differences, Consul's answer first:\n" + "\n".join(found)


def test_user_events(agents: Pair) -> None:
    compare(agents, scenarios.EVENTS)


def test_the_index_of_a_list_is_that_of_its_last_event(agents: Pair) -> None:
    for agent in agents:
        fired = agent.http("PUT", "/v1/event/fire/last").json()["ID"].replace("-", "")

        def listed(agent: RealConsul | Agent = agent, fired: str = fired) -> bool:
            answer = agent.http("GET", "/v1/event/list")
            wanted = int(fired[:16], 16) ^ int(fired[16:], 16)
            return int(answer.headers["x-consul-index"]) == wanted

        wait_until(listed, what="the event in the list")


def test_coordinates_and_the_order_by_distance(agents: Pair) -> None:
    compare(agents, scenarios.UPDATES)

    def known(agent: RealConsul | Agent) -> set[tuple[str, str]]:
        return {(each["Node"], each["Segment"]) for each in agent.http("GET", "/v1/coordinate/nodes").json()}

    for agent in agents:
        wait_until(lambda agent=agent: known(agent) == scenarios.UPDATED, what="the coordinates")
    compare(agents, scenarios.COORDINATES)
    compare(agents, scenarios.NEAR)


def archive_of(agent: RealConsul | Agent) -> bytes:
    return agent.http("GET", "/v1/snapshot").body


def remade(archive: bytes, *, sums: bool = True, drop: str = "", **changed: bytes) -> bytes:
    """The archive with other members (`meta` for meta.json, `state`, `sums`, and `extra`)."""
    names = {"meta": "meta.json", "state": "state.bin", "sums": "SHA256SUMS", "extra": "extra"}
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    members.update({names[name]: data for name, data in changed.items()})
    if sums and "sums" not in changed:
        hashed = (f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in ("meta.json", "state.bin"))
        members["SHA256SUMS"] = "".join(hashed).encode()
    members.pop(drop, None)
    packed = b""
    for name, data in members.items():
        info = tarfile.TarInfo(name)
        info.size = len(data)
        packed += info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
    return gzip.compress(packed + bytes(2 * tarfile.BLOCKSIZE))


def test_what_is_no_snapshot_is_refused_in_the_same_words(agents: Pair) -> None:
    whole = archive_of(agents[0])
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    bodies = [
        b"",
        b"short",
        b"this is no archive at all",
        whole[: len(whole) // 2],
        whole[:-4],
        whole + b"junk",
        bytes(flipped),
        gzip.compress(b"no tar at all" * 100),
        remade(whole, drop="state.bin"),
        remade(whole, drop="meta.json"),
        remade(whole, extra=b"x"),
        remade(whole, sums=False, state=b"changed"),
        remade(whole, meta=b"{}", sums=f"{hashlib.sha256(b'{}').hexdigest()}  meta.json\n".encode()),
        remade(whole, sums=b"hello"),
        remade(whole, sums=b"00  meta.json\n"),
        remade(whole, sums=b"00  other\n"),
        remade(whole, meta=b"{"),
        remade(whole, meta=b"[]"),
        remade(whole, meta=b'{"Version":2,"Index":1,"Term":1,"Size":1}'),
        remade(whole, meta=b'{"Version":1,"Index":1,"Term":1,"Size":1}'),
        gzip.compress(gzip.decompress(whole) + bytes(4096)),
    ]
    compare(agents, [put("/v1/snapshot", body) for body in bodies])


def test_other_requests_for_snapshots(agents: Pair) -> None:
    compare(
        agents,
        [
            put("/v1/snapshot?stale", archive_of(agents[0])),
            put("/v1/snapshot?dc=nope", archive_of(agents[0])),
            get("/v1/snapshot?dc=nope"),
            get("/v1/snapshot/"),
            Request("POST", "/v1/snapshot"),
            Request("DELETE", "/v1/snapshot"),
            Request("HEAD", "/v1/snapshot"),
            Request("OPTIONS", "/v1/snapshot"),
        ],
    )
    compare(agents, [get("/v1/snapshot"), get("/v1/snapshot?stale")], bodies=False)
