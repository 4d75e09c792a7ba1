"""merge: one report of the parts of all processes, in the JSON shape of GET /v1/agent/metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from shared.metrics.registry import INTERVAL_S


def merge(dumps: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One report of the parts of all processes, in the shape and order of GET /v1/agent/metrics.

    Counters and samples of one name are added up, `consul.runtime.*` gauges too; of other gauges the last wins."""
    parts = list(dumps)
    gauges: dict[str, dict[str, Any]] = {}
    aggregates: dict[str, dict[str, dict[str, Any]]] = {"Counters": {}, "Samples": {}}
    for part in parts:
        for item in part["Gauges"]:
            key = _series_key(item)
            value = item["Value"]
            if key in gauges and ".runtime." in key:
                value += gauges[key]["Value"]
            gauges[key] = {"Name": item["Name"], "Value": _number(value), "Labels": item["Labels"]}
        for kind, merged in aggregates.items():
            for item in part[kind]:
                _merge_aggregate(merged, item)
    newest_s = max((part["Timestamp"] for part in parts), default=0)
    return {
        "Timestamp": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(newest_s)),
        "Gauges": [gauges[key] for key in sorted(gauges)],
        "Points": [],
        "Counters": [_aggregate_shown(aggregates["Counters"][key]) for key in sorted(aggregates["Counters"])],
        "Samples": [_aggregate_shown(aggregates["Samples"][key]) for key in sorted(aggregates["Samples"])],
    }


def _merge_aggregate(merged: dict[str, dict[str, Any]], item: dict[str, Any]) -> None:
    key = _series_key(item)
    other = merged.get(key)
    if other is None:
        merged[key] = dict(item)
        return
    for field in ("Count", "Sum", "SumSq"):
        other[field] += item[field]
    other["Min"], other["Max"] = min(other["Min"], item["Min"]), max(other["Max"], item["Max"])


def _series_key(item: dict[str, Any]) -> str:
    return ";".join([item["Name"], *(f"{key}={value}" for key, value in item["Labels"].items())])


def _aggregate_shown(item: dict[str, Any]) -> dict[str, Any]:
    count, total = item["Count"], item["Sum"]
    variance = (count * item["SumSq"] - total * total) / (count * (count - 1)) if count > 1 else 0.0
    return {
        "Name": item["Name"],
        "Count": count,
        "Rate": _number(total / INTERVAL_S),
        "Sum": _number(total),
        "Min": _number(item["Min"]),
        "Max": _number(item["Max"]),
        "Mean": _number(total / count),
        "Stddev": _number(max(variance, 0.0) ** 0.5),
        "Labels": item["Labels"],
    }


def _number(value: float) -> float:
    """Whole numbers as integers: Go's JSON writes 5, not 5.0."""
    return int(value) if float(value).is_integer() else value
