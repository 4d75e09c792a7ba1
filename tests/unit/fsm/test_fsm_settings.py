"""Small families: coordinates, tombstone reaping, the autopilot configuration."""

from __future__ import annotations

import math
from typing import Any

import pytest

from services.raft_node.fsm.errors import FatalCommandError
from shared.state.queries import coordinate, operator
from shared.structs import wire
from shared.structs.kv import TombstoneRequest
from shared.structs.operator import AutopilotConfig, AutopilotSetConfigRequest
from tests.unit.fsm.fsm_driver import Driver

COORDINATES, TOMBSTONES, AUTOPILOT = 6, 5, 9


def place(node: str, segment: str = "", **changes: Any) -> dict[str, Any]:
    coord = {"Vec": [0.0] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": 1e-5, **changes}
    return {"Node": node, "Segment": segment, "Coord": coord}


def known(fsm: Driver) -> list[tuple[str, str]]:
    return [(one.node, one.segment) for one in fsm.ask(coordinate.nodes).value]


def test_coordinates_of_known_nodes_are_kept_by_segment(fsm: Driver) -> None:
    fsm.register("n")
    fsm.command(COORDINATES, wire.pack([place("n"), place("N", "alpha"), place("stranger")]))
    assert known(fsm) == [("n", ""), ("N", "alpha")]
    assert fsm.topics == [["coordinate", "n"]]
    assert fsm.row("coordinates") == fsm.index
    fsm.deregister("n")
    assert known(fsm) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Height": math.nan},
        {"Error": math.inf},
        {"Adjustment": -math.inf},
        {"Vec": [math.nan] + [0.0] * 7},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_coordinate_that_is_no_number_is_passed_over(fsm: Driver, changes: dict[str, Any]) -> None:
    fsm.register("n")
    fsm.command(COORDINATES, wire.pack([place("n", **changes), {"Node": "n", "Coord": None}]))
    assert known(fsm) == []
    assert fsm.row("coordinates") == fsm.index  # as Consul: the index moves in any case


def test_updates_that_are_no_list_stop_the_server(fsm: Driver) -> None:
    with pytest.raises(FatalCommandError, match="expected a list, got dict"):
        fsm.command(COORDINATES, wire.pack({}))


def test_only_reaping_is_done_to_tombstones(fsm: Driver) -> None:
    fsm.kv("set", "k")
    fsm.kv("delete", "k")
    before = fsm.dump()
    refused = fsm.command(TOMBSTONES, TombstoneRequest("dc1", "polish", fsm.index))
    assert str(refused) == "Invalid Tombstone operation 'polish'"
    assert fsm.dump() == before
    fsm.reap(fsm.index)
    with fsm.store.snapshot() as snap:
        assert snap.count(snap.tables.tombstones) == 0


def test_autopilot_compares_the_index_it_is_given(fsm: Driver) -> None:
    def set_config(cas: bool, modify_index: int = 0) -> Any:
        config = AutopilotConfig(modify_index=modify_index, max_trailing_logs=fsm.index)
        return fsm.command(AUTOPILOT, AutopilotSetConfigRequest("dc1", config, cas))

    assert set_config(cas=True) is False  # there is nothing yet that could be compared
    assert fsm.ask(operator.autopilot_config).value is None
    assert set_config(cas=False) is None
    created = fsm.index
    assert set_config(cas=True, modify_index=created - 1) is False
    assert set_config(cas=True, modify_index=created) is True
    config = fsm.ask(operator.autopilot_config).value
    assert config is not None
    assert (config.create_index, config.modify_index, config.max_trailing_logs) == (created, fsm.index, fsm.index - 1)
