"""Snapshot streams: those of a real Consul restore and come back with the same records."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.raft_node.fsm.errors import SnapshotError
from shared.state.queries import catalog, health, kv, session
from shared.structs import wire
from shared.structs.catalog import HealthCheck, NodeService
from tests.unit.fsm.fsm_driver import N1, S1, Driver, driver

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "fsm"


def archived_state() -> bytes:
    with tarfile.open(VECTORS / "snapshot.tgz") as archive:
        member = archive.extractfile("state.bin")
        assert member is not None
        return member.read()


def records(stream: bytes) -> list[tuple[int, Any]]:
    reader = wire.WireStream([stream])
    found: list[tuple[int, Any]] = [(-1, reader.value())]
    while (kind := reader.byte()) is not None:
        found.append((kind, reader.value()))
    return found


@pytest.mark.parametrize("stream", [archived_state(), (VECTORS / "install_snapshot_state.bin").read_bytes()])
def test_a_real_snapshot_comes_back_record_by_record(fsm: Driver, stream: bytes) -> None:
    cuts = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    assert fsm.fsm.restore(cuts, 51, 2) == [51, [["restore", ""]]]
    assert fsm.fsm.applied_index == 51
    written = fsm.dump()
    assert records(written) == records(stream)
    assert len(written) == len(stream)


def fill(fsm: Driver) -> None:
    """Something in every table that is served."""
    fsm.register("n", id=N1, node_meta={"r": "1"}, service=NodeService(id="w", service="web", tags=["a"]))
    fsm.register("n", id=N1, node_meta={"r": "1"}, checks=[HealthCheck("n", "c", status="passing", service_id="w")])
    fsm.session(S1, "n", node_checks=["c"])
    fsm.kv("lock", "held", b"v", session=S1)
    fsm.kv("set", "long/" + "x" * 600, b"\xff")
    fsm.kv("set", "\udcff", b"v")
    fsm.kv("set", "gone")
    fsm.kv("delete", "gone")
    fsm.kv("set", "y" * 700)
    fsm.kv("delete", "y" * 700)


def test_our_own_snapshot_restores_to_the_same_state(fsm: Driver, tmp_path: Path) -> None:
    fill(fsm)
    stream = fsm.dump()
    with driver(tmp_path / "other") as other:
        other.fsm.restore([stream], fsm.index, 1)
        assert other.dump() == stream
        questions = [
            catalog.nodes,
            lambda s: health.service_nodes(s, "web"),
            lambda s: health.checks_in_state(s, "passing"),
            lambda s: kv.tree(s, "long/"),
            lambda s: kv.get(s, "held"),
            session.all_sessions,
            lambda s: session.node_sessions(s, "n"),
            lambda s: catalog.node_services(s, N1),
        ]
        for ask in questions:
            assert other.ask(ask) == fsm.ask(ask)
        other.index = fsm.index
        other.register("n", id=N1, checks=[HealthCheck("n", "c", status="critical", service_id="w")])
        entry = other.ask(lambda s: kv.get(s, "held")).value
        assert entry is not None
        assert entry.session == ""  # the links between check, session and key were restored too


def test_the_view_is_that_of_the_call(fsm: Driver) -> None:
    fsm.kv("set", "k", b"1")
    pieces = fsm.fsm.write_snapshot()
    fsm.kv("set", "k", b"2")
    values = [value["Value"] for kind, value in records(b"".join(pieces)) if kind == 2]
    assert values == ["1"]


def test_a_broken_stream_changes_nothing(fsm: Driver) -> None:
    fill(fsm)
    before = fsm.dump()
    stream = archived_state()
    for bad in (stream[:-3], b"", b"\xc1", stream + b"\x63\xc0", wire.pack({"LastIndex": 1}) + b"\x00\xc3"):
        with pytest.raises(SnapshotError):
            fsm.fsm.restore([bad], 99, 9)
        assert fsm.dump() == before
        assert fsm.fsm.applied_index == fsm.index
    assert fsm.kv("set", "still", b"writable") is None


def test_a_source_that_fails_changes_nothing(fsm: Driver) -> None:
    fill(fsm)
    before = fsm.dump()

    def torn() -> Iterator[bytes]:
        yield archived_state()[:5000]
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        fsm.fsm.restore(torn(), 99, 9)
    assert fsm.dump() == before


def test_an_unknown_record_type_is_named(fsm: Driver) -> None:
    with pytest.raises(SnapshotError, match="Unrecognized msg type 99"):
        fsm.fsm.restore([wire.pack({"LastIndex": 1}) + b"\x63\xc0"], 1, 1)


def test_legacy_acls_are_refused_with_advice(fsm: Driver) -> None:
    with pytest.raises(SnapshotError, match="upgrade them in Consul"):
        fsm.fsm.restore([wire.pack({"LastIndex": 1}) + b"\x04" + wire.pack({"ID": "x"})], 1, 1)
