"""Batches, atomicity, unknown commands, chunked commands, families that are only kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from services.raft_node.fsm.errors import CommandError, FatalCommandError
from services.raft_node.fsm.machine import Entry
from shared.state import tables
from shared.state.errors import StateFullError
from shared.state.queries import catalog, kv
from shared.structs import wire
from shared.structs.catalog import NodeService, RegisterRequest
from shared.structs.kv import DirEntry, KVSRequest
from tests.unit.fsm.fsm_driver import Driver, driver

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "fsm"


def set_command(key: str, value: bytes) -> bytes:
    return b"\x02" + wire.pack(KVSRequest("dc1", "set", DirEntry(key=key, value=value)).to_wire())


def captured(name: str) -> bytes:
    message = json.loads((VECTORS / "raft_log_commands.json").read_text())["messages"][name]
    return bytes.fromhex((message[0] if isinstance(message, list) else message)["data_hex"])


def test_a_batch_answers_every_entry_and_makes_one_record(fsm: Driver) -> None:
    bad = RegisterRequest(node="n", address="a", service=NodeService(id="s", service="s", meta={"bad key": ""}))
    applied = fsm.fsm.apply_batch(
        [
            Entry(11, 1, set_command("a", b"1")),
            Entry(12, 1),
            Entry(13, 2, b"\x00" + wire.pack(bad.to_wire())),
            Entry(14, 2, set_command("b", b"2")),
        ],
        0,
    )
    assert applied.results[:2] == [None, None]
    assert isinstance(applied.results[2], CommandError)
    assert applied.change == [14, [["kv", "a"], ["kv", "b"]]]
    assert fsm.ask(catalog.nodes).value == []
    assert fsm.ask(lambda s: kv.get(s, "b")).index == 14
    with fsm.store.snapshot() as snap:
        assert snap.applied() == (14, 2)


def test_entries_are_not_applied_twice(fsm: Driver) -> None:
    fsm.fsm.apply_batch([Entry(5, 1, set_command("a", b"1"))], 0)
    with pytest.raises(ValueError, match="was applied"):
        fsm.fsm.apply_batch([Entry(5, 1, set_command("a", b"2"))], 0)
    assert fsm.fsm.apply_batch([], 0).change == [5, []]


def test_an_unknown_type_stops_the_server_unless_it_says_skip_me(fsm: Driver) -> None:
    assert fsm.command(128 + 99, b"\xc0") is None
    with pytest.raises(FatalCommandError, match=r"message type 99.*upgrade this server"):
        fsm.command(99, b"\xc0")


@pytest.mark.parametrize(
    "data", [b"\x02\xc0", b"\x02\xff", b"\x00\xc3", b"\x08\x01", b"\x03\x81\xa7Session\x05", b"\x02"]
)
def test_an_undecodable_command_stops_the_server_and_writes_nothing(fsm: Driver, data: bytes) -> None:
    before = fsm.dump()
    with pytest.raises(FatalCommandError, match="undecodable"):
        fsm.fsm.apply_batch([Entry(20, 1, set_command("a", b"1")), Entry(21, 1, data)], 0)
    assert fsm.dump() == before


def chunked_command() -> tuple[bytes, dict[str, Any]]:
    """The captured 1.1 MB write, rebuilt from its description and checked against its digest."""
    vector = json.loads((VECTORS / "raft_chunked_kv.json").read_text())
    pattern = bytes(range(255, -1, -1))
    value = (pattern * (1126400 // 256 + 1))[:1126400]
    command = set_command("chunked", value)
    assert hashlib.sha256(command).hexdigest() == vector["reassembled"]["sha256"]
    return command, vector


def pieces_of(command: bytes, vector: dict[str, Any]) -> list[Entry]:
    size = 524288
    return [
        Entry(
            chunk["index"], chunk["term"], command[at * size : (at + 1) * size], bytes.fromhex(chunk["extensions_hex"])
        )
        for at, chunk in enumerate(vector["chunks"])
    ]


def test_a_chunked_command_is_applied_at_its_last_piece(fsm: Driver) -> None:
    command, vector = chunked_command()
    for piece, chunk in zip(pieces_of(command, vector), vector["chunks"], strict=True):
        assert hashlib.sha256(piece.data).hexdigest() == chunk["data_sha256"]
        fsm.fsm.apply_batch([piece], 0)
    entry = fsm.ask(lambda s: kv.get(s, "chunked")).value
    assert entry is not None
    assert entry.modify_index == vector["reassembled"]["key_ModifyIndex_after_apply"]
    assert hashlib.sha256(entry.value or b"").hexdigest() == vector["reassembled"]["value_sha256"]
    with fsm.store.snapshot() as snap:
        assert snap.count(snap.tables.opaque) == 0


def test_waiting_pieces_survive_a_snapshot(fsm: Driver, tmp_path: Path) -> None:
    command, vector = chunked_command()
    first, second, third = pieces_of(command, vector)
    fsm.fsm.apply_batch([first, second], 0)
    with driver(tmp_path / "other") as other:
        other.fsm.restore(fsm.fsm.write_snapshot(), second.index, second.term)
        other.fsm.apply_batch([third], 0)
        assert other.ask(lambda s: kv.get(s, "chunked")).value == fsm_value(fsm, third)


def fsm_value(fsm: Driver, last: Entry) -> Any:
    fsm.fsm.apply_batch([last], 0)
    return fsm.ask(lambda s: kv.get(s, "chunked")).value


def test_a_new_term_drops_waiting_pieces(fsm: Driver) -> None:
    command, vector = chunked_command()
    first, second, third = pieces_of(command, vector)
    fsm.fsm.apply_batch([first], 0)
    fsm.fsm.apply_batch([second._replace(term=9), third._replace(term=9)], 0)
    assert fsm.ask(lambda s: kv.get(s, "chunked")).value is None


@pytest.mark.parametrize("extensions", [b"\x08", b"\x10\x05\x18\x02", b"\x22\x09a", b"\x0d1234", b"\xff" * 12])
def test_odd_chunk_information_is_an_error_of_that_entry(fsm: Driver, extensions: bytes) -> None:
    (result,) = fsm.fsm.apply_batch([Entry(11, 1, b"x", extensions)], 0).results
    assert isinstance(result, CommandError)


def test_a_full_store_takes_nothing_of_the_batch_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MAP_BYTES", (1 << 20,))
    with driver(tmp_path / "small") as fsm:
        fsm.kv("set", "small", b"1")
        before, at = fsm.dump(), fsm.index
        with pytest.raises(StateFullError, match="free disk space"):
            fsm.fsm.apply_batch(
                [Entry(at + 1, 1, set_command("a", b"2")), Entry(at + 2, 1, set_command("big", bytes(1 << 21)))], 0
            )
        assert fsm.dump() == before
        assert fsm.fsm.applied_index == at
        assert fsm.kv("set", "again", b"3") is None


@pytest.mark.parametrize(
    "name",
    [
        "ACLPolicySet",
        "ACLBootstrap",
        "ACLTokenSet",
        "ACLRoleSet",
        "ACLBindingRuleSet",
        "ACLAuthMethodSet",
        "Intention/create",
        "ConnectCA/set-config",
        "ConnectCA/set-roots",
        "ConnectCA/set-provider-state",
        "FederationState/upsert",
    ],
)
def test_records_of_other_families_are_kept_through_a_snapshot(fsm: Driver, tmp_path: Path, name: str) -> None:
    data = captured(name)
    result = fsm.command(data[0], data[1:])
    assert not isinstance(result, CommandError)
    stream = fsm.dump()
    with fsm.store.snapshot() as snap:
        assert snap.count(snap.tables.opaque) == 1
    with driver(tmp_path / "other") as other:
        other.fsm.restore([stream], fsm.index, 1)
        assert other.dump() == stream


def test_ca_serials_count_and_roots_compare_their_index(fsm: Driver) -> None:
    data = captured("ConnectCA/set-roots")
    assert fsm.command(data[0], data[1:]) is True
    assert fsm.command(data[0], data[1:]) is False  # the roots' index is not the one the command names any more
    serial = captured("ConnectCA/increment-provider-serial")
    first = fsm.command(serial[0], serial[1:])
    assert fsm.command(serial[0], serial[1:]) == first + 1
