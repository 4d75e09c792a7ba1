"""peers.json: both formats, and the words for what is neither (compared with Consul's in test_cluster_recovery)."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.raft_node.core.types import NON_VOTER, VOTER, Configuration, Server
from services.raft_node.peers_file import INFO_TEXT, PeersFileError, found, parse


def test_servers_with_ids() -> None:
    text = b"""
    [{"id": "a", "address": "10.0.0.1:8300"}, {"ID": "b", "Address": "10.0.0.2:8300", "non_voter": true, "x": 1},
     {"id": "c", "address": "10.0.0.3:8300", "non_voter": null}] and what follows is not read"""
    servers = (
        Server("a", "10.0.0.1:8300", VOTER),
        Server("b", "10.0.0.2:8300", NON_VOTER),
        Server("c", "10.0.0.3:8300", VOTER),
    )
    assert parse(text, 3) == Configuration(servers)


def test_addresses_are_ids_in_the_old_format() -> None:
    assert parse(b'["a:1", "b:2"]', 2) == Configuration((Server("a:1", "a:1", VOTER), Server("b:2", "b:2", VOTER)))


@pytest.mark.parametrize(
    ("text", "protocol", "problem"),
    [
        ("", 3, "EOF"),
        ("[", 3, "unexpected EOF"),
        ("nonsense", 3, "invalid character 'o' in literal null (expecting 'u')"),
        ("{}", 3, "json: cannot unmarshal object into Go value of type []raft.configEntry"),
        ("[]", 3, "Need at least one voter in configuration: {[]}"),
        ('["a:1"]', 3, "json: cannot unmarshal string into Go value of type raft.configEntry"),
        ('[{"id": 7}]', 3, "json: cannot unmarshal number into Go struct field configEntry.id of type raft.ServerID"),
        ('[{"address": "a:1"}]', 3, "Empty ID in configuration: {[{Voter  a:1}]}"),
        ('[{"id": "a"}]', 3, "Empty address in configuration: {Voter a }"),
        ('[{"id": "a", "address": "b"}, {"id": "a", "address": "c"}]', 3, "Found duplicate ID in configuration: a"),
        ('[{"id": "a"}]', 2, "json: cannot unmarshal object into Go value of type string"),
    ],
)
def test_what_is_neither(text: str, protocol: int, problem: str) -> None:
    with pytest.raises(PeersFileError) as caught:
        parse(text.encode(), protocol)
    assert str(caught.value) == problem


def test_the_file_counts_from_the_second_start_on(tmp_path: Path) -> None:
    said: list[str] = []
    peers = tmp_path / "peers.json"
    peers.write_text("[]")
    assert found(str(tmp_path), said.append) is None
    assert (peers.exists(), len(said)) == (False, 1)
    assert (tmp_path / "peers.info").read_text() == INFO_TEXT
    assert found(str(tmp_path), said.append) is None
    peers.write_text("[]")
    assert found(str(tmp_path), said.append) == str(peers)
    assert len(said) == 1
