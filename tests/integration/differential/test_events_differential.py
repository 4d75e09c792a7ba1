"""User events, coordinates and snapshots: the same requests to the real Consul and to our agent."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from io import BytesIO
from typing import Any

import pytest

from tests.agents import PATIENCE_S, wait_until
from tests.integration.differential import scenarios_events as scenarios
from tests.integration.differential.exchange import Request
from tests.integration.differential.pairs import AnyAgent, Pair, ask, assert_none, assert_same, compared, shown
from tests.integration.differential.scenarios import get, put

pytestmark = pytest.mark.real_consul

CONFIG: dict[str, Any] = {}
"""Coordinates are on."""


def compare(agents: Pair, requests: list[Request], *, bodies: bool = True) -> None:
    real, other = agents
    found = []
    for request in requests:
        lines = compared(ask(real, request), lambda request=request: ask(other, request))  # type: ignore[misc]
        found += shown(request, [line for line in lines if bodies or not line.startswith("body")])
    assert_none(found)


def test_user_events(agents: Pair) -> None:
    """An event that was fired is in the list a moment later."""
    assert_same(agents, scenarios.EVENTS, settles_within_s=PATIENCE_S)


def test_the_index_of_a_list_is_that_of_its_last_event(agents: Pair) -> None:
    for agent in agents:
        fired = agent.http("PUT", "/v1/event/fire/last").json()["ID"].replace("-", "")

        def listed(agent: AnyAgent = agent, fired: str = fired) -> bool:
            answer = agent.http("GET", "/v1/event/list")
            wanted = int(fired[:16], 16) ^ int(fired[16:], 16)
            return int(answer.headers["x-consul-index"]) == wanted

        wait_until(listed, what="the event in the list")


def test_coordinates_and_the_order_by_distance(agents: Pair) -> None:
    compare(agents, scenarios.UPDATES)

    def known(agent: AnyAgent) -> set[tuple[str, str]]:
        return {(each["Node"], each["Segment"]) for each in agent.http("GET", "/v1/coordinate/nodes").json()}

    for agent in agents:
        wait_until(lambda agent=agent: known(agent) == scenarios.UPDATED, what="the coordinates")
    compare(agents, scenarios.COORDINATES)
    compare(agents, scenarios.NEAR)


def archive_of(agent: AnyAgent) -> bytes:
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
