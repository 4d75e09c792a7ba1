"""Times, counts and coordinates against values of the reference implementation."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from services.gossip.coordinate import Coordinate, CoordinateClient, CoordinateError
from services.gossip.swim.formulas import (
    confirmed_timeout_s,
    push_pull_interval_s,
    retransmit_limit,
    suspicion_timeout_s,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "gossip"
FORMULAS = json.loads((VECTORS / "formulas.json").read_text())


def ms(seconds: float) -> int:
    return round(seconds * 1000)


@pytest.mark.parametrize("row", FORMULAS["by_cluster_size"], ids=lambda row: f"n={row['n']}")
def test_scaling_with_the_pool(row: dict[str, int]) -> None:
    assert retransmit_limit(4, row["n"]) == row["retransmit_mult4"]
    assert ms(suspicion_timeout_s(4, row["n"], 1.0)) == row["suspicion_min_ms_lan"]
    assert ms(suspicion_timeout_s(6, row["n"], 5.0)) == row["suspicion_min_ms_wan"]
    assert ms(push_pull_interval_s(30.0, row["n"])) == row["pushpull_ms_lan"]
    assert ms(push_pull_interval_s(60.0, row["n"])) == row["pushpull_ms_wan"]


def test_push_pull_edges() -> None:
    for nodes, expected in FORMULAS["pushpull_edges_lan_ms"].items():
        assert ms(push_pull_interval_s(30.0, int(nodes))) == expected


@pytest.mark.parametrize("row", FORMULAS["suspicion_timeout_ms_min4s_max24s"], ids=str)
def test_confirmed_suspicions_end_sooner(row: dict[str, int]) -> None:
    assert ms(confirmed_timeout_s(row["confirmations"], row["k"], 4.0, 24.0)) == row["timeout_ms"]


def coordinate(tree: dict[str, Any]) -> Coordinate:
    return Coordinate(tuple(map(float, tree["Vec"])), tree["Error"], tree["Adjustment"], tree["Height"])


def test_vivaldi_moves_to_the_last_bit_like_the_reference() -> None:
    document = json.loads((VECTORS / "vivaldi.json").read_text())
    client = CoordinateClient(random.Random(1))
    client.coordinate = coordinate(document["start"])
    for step in document["steps"]:
        other = coordinate(step["Other"])
        after = client.update(step["Node"], other, step["RttNs"] / 1e9)
        assert after == coordinate(step["After"])
        assert round(after.distance_to(other) * 1e9) == step["Dist"]


@pytest.mark.parametrize(
    ("other", "rtt_s"),
    [
        (Coordinate((0.0,) * 7), 0.01),
        (Coordinate((math.nan,) + (0.0,) * 7), 0.01),
        (Coordinate(error=math.inf), 0.01),
        (Coordinate(), -0.001),
        (Coordinate(), 10.5),
        (Coordinate(), math.nan),
    ],
)
def test_what_must_not_be_learnt_from(other: Coordinate, rtt_s: float) -> None:
    client = CoordinateClient(random.Random(1))
    with pytest.raises(CoordinateError):
        client.update("x", other, rtt_s)
    assert client.coordinate == Coordinate()


def test_absurd_but_finite_coordinates_reset_instead_of_spreading() -> None:
    client = CoordinateClient(random.Random(1))
    client.update("x", Coordinate((1e308,) * 8, 1.0, 0.0, 1e308), 1.0)
    assert client.coordinate.is_valid()
    assert client.resets == 1


def test_two_nodes_at_the_same_place_are_pushed_apart() -> None:
    client = CoordinateClient(random.Random(7))
    client.update("x", Coordinate(), 0.02)
    assert client.coordinate.distance_to(Coordinate()) > 0.001
