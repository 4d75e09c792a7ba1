"""Families that are stored but not served, against a model: records by name, with the indexes Consul gives them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.raft_node.fsm import families
from services.raft_node.fsm.errors import CommandError
from shared.structs import wire
from shared.structs.config_entry import ServiceDefaults
from tests.unit.fsm.fsm_commands import (
    MANY,
    Q1,
    config_entry,
    connect_ca,
    delete_many,
    federation_state,
    labels,
    one_record,
    prepared_query,
    set_many,
    small,
)
from tests.unit.fsm.fsm_driver import Driver, driver

AUTH_METHODS = 27


def stored(fsm: Driver, family: int, name_field: str) -> dict[str, tuple[int, int]]:
    """Name -> (CreateIndex, ModifyIndex)."""
    with fsm.store.snapshot() as snap:
        found = list(families.records(snap, family))
    return {record[name_field]: (record["CreateIndex"], record["ModifyIndex"]) for record in found}


@dataclass
class Model:
    """One family: name -> (CreateIndex, ModifyIndex), and the index of its table."""

    kind: int
    records: dict[str, tuple[int, int]] = field(default_factory=dict)
    table_index: int | None = None

    def same(self, name: str) -> str | None:
        """The name under which a record is known already; those of auth methods match in any case."""
        if self.kind == AUTH_METHODS:
            return next((known for known in self.records if known.lower() == name.lower()), None)
        return name if name in self.records else None

    def set(self, names: list[str], cas: bool, compare: int, index: int) -> None:
        for name in names:
            known = self.same(name)
            created, modified = self.records[known] if known is not None else (index, 0)
            if cas and compare != modified:
                continue
            self.records.pop(known or name, None)
            self.records[name] = (created, index)
            self.table_index = index

    def delete(self, names: list[str], index: int) -> None:
        for name in [name for name in self.records if name in names]:
            del self.records[name]
            self.table_index = index


steps = st.tuples(st.booleans(), st.lists(labels, max_size=3), st.booleans(), small)


@pytest.mark.parametrize("kind", MANY)
@given(script=st.lists(steps, max_size=8))
def test_records_set_in_numbers_match_the_model(kind: int, script: list[tuple[bool, list[str], bool, int]]) -> None:
    model = Model(kind)
    with tempfile.TemporaryDirectory() as directory, driver(Path(directory)) as fsm:
        for setting, names, cas, compare in script:
            if setting:
                assert set_many(kind, names, cas, compare)(fsm) is None
                model.set(names, cas, compare, fsm.index)
            else:
                assert delete_many(kind, names)(fsm) is None
                model.delete(names, fsm.index)
            assert stored(fsm, kind, MANY[kind][1]) == model.records
            assert fsm.row(families._INDEX_ROW[kind]) == model.table_index


def test_a_token_may_only_be_bootstrapped_again_at_the_index_of_the_first_time(fsm: Driver) -> None:
    def bootstrap(reset_index: int) -> Any:
        token = {"SecretID": f"s{fsm.index}", "AccessorID": "a"}
        return fsm.command(11, wire.pack({"Token": token, "ResetIndex": reset_index}))

    assert bootstrap(0) is None
    first = fsm.index
    assert fsm.row("acl-token-bootstrap") == first
    assert str(bootstrap(0)) == str(bootstrap(first - 1)) == "ACL bootstrap no longer allowed"
    assert bootstrap(first) is None
    assert fsm.row("acl-token-bootstrap") == fsm.index
    assert len(stored(fsm, families.TOKEN, "SecretID")) == 2


def test_federation_states_come_and_go(fsm: Driver) -> None:
    assert federation_state("upsert", "dc1")(fsm) is True
    with fsm.store.snapshot() as snap:
        (state,) = families.records(snap, families.FEDERATION_STATE)
    assert state["PrimaryModifyIndex"] == fsm.index
    assert federation_state("delete", "dc1")(fsm) is None
    assert stored(fsm, families.FEDERATION_STATE, "Datacenter") == {}
    assert fsm.row("federation-states") == fsm.index


def test_the_connect_ca_has_one_active_root_and_one_configuration(fsm: Driver) -> None:
    refused = connect_ca("set-roots", "a", active=False, compare=False)(fsm)
    assert str(refused) == "there must be exactly one active CA"
    assert connect_ca("set-roots", "a", active=True, compare=False)(fsm) is True
    created = fsm.index
    assert connect_ca("set-roots-config", "a", active=True, compare=True)(fsm) is None
    changed = fsm.index
    assert connect_ca("set-roots-config", "b", active=True, compare=False)(fsm) is False  # roots have moved on
    assert stored(fsm, families.CA_ROOT, "ID") == {"a": (created, changed), "old a": (created, changed)}
    assert stored(fsm, families.CA_CONFIG, "ClusterID") == {"a": (changed + 1, changed + 1)}
    unnamed = {"Op": "set-config", "Config": {"ClusterID": "", "ModifyIndex": changed + 1}}
    assert fsm.command(13, wire.pack(unnamed)) is True
    assert list(stored(fsm, families.CA_CONFIG, "ClusterID")) == ["a"]  # the cluster keeps its id
    assert fsm.command(13, wire.pack({"Op": "set-config", "Config": {"ModifyIndex": 3}})) is False


def test_the_state_of_a_ca_provider_can_be_deleted(fsm: Driver) -> None:
    assert connect_ca("set-provider-state", "a", active=True, compare=False)(fsm) is True
    assert list(stored(fsm, families.CA_STATE, "ID")) == ["a"]
    assert connect_ca("delete-provider-state", "a", active=True, compare=False)(fsm) is True
    assert stored(fsm, families.CA_STATE, "ID") == {}


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (prepared_query("odd", Q1), "Invalid PreparedQuery operation 'odd'"),
        (one_record(12, "Intention", "odd", "x", ""), "Invalid Intention operation 'odd'"),
        (config_entry("odd", ServiceDefaults(name="x")), "invalid config entry operation type: odd"),
        (federation_state("odd", "x"), "invalid federation state operation type: odd"),
        (connect_ca("odd", "x", active=True, compare=False), "Invalid CA operation 'odd'"),
        (lambda fsm: fsm.command(4, wire.pack({})), "legacy ACL operations are not supported: use the new ACL system"),
    ],
)
def test_unknown_operations_are_refused(fsm: Driver, command: Callable[[Driver], Any], text: str) -> None:
    before = fsm.dump()
    refused = command(fsm)
    assert isinstance(refused, CommandError)
    assert str(refused) == text
    assert fsm.dump() == before


def test_a_leaf_certificate_leaves_no_trace(fsm: Driver) -> None:
    before = fsm.dump()
    assert fsm.command(21, wire.pack({})) == fsm.index
    assert fsm.dump() == before
