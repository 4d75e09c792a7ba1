"""Requests of operators: autopilot's settings and its view of the servers, and the Raft configuration.

HEALTHY is to be asked of a server that autopilot holds for healthy, UNHEALTHY of one that it does not."""

from __future__ import annotations

from typing import Any

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import delete, get, put
from tests.integration.differential.script import Step

HEALTH = "/v1/operator/autopilot/health"
AUTOPILOT = "/v1/operator/autopilot/configuration"
RAFT = "/v1/operator/raft/configuration"
PEER = "/v1/operator/raft/peer"
DEFAULTS: dict[str, Any] = {
    "CleanupDeadServers": True, "LastContactThreshold": "200ms", "MaxTrailingLogs": 250,
    "ServerStabilizationTime": "10s",
}  # fmt: skip
IMPOSSIBLE: dict[str, Any] = {**DEFAULTS, "LastContactThreshold": "-1s"}
"""With these no server is healthy."""
GZIP = ("Accept-Encoding", "gzip")

_LOOKS = [
    get(HEALTH),
    get(f"{HEALTH}?pretty"),
    get(f"{HEALTH}?stale"),
    get(f"{HEALTH}?consistent"),
    get(HEALTH, GZIP),
    Request("HEAD", HEALTH),
]
HEALTHY = [
    *_LOOKS,
    get(f"{HEALTH}?dc=dc1"),
    get(f"{HEALTH}?dc=nope"),
    get(f"{HEALTH}?stale&consistent"),
    get(f"{HEALTH}?index=1000000&wait=1s"),
    get(f"{HEALTH}?wait=x"),
    get(f"{HEALTH}/"),
    put(HEALTH),
    Request("POST", HEALTH),
    Request("OPTIONS", HEALTH),
]
UNHEALTHY = _LOOKS

_BAD_BODIES: list[bytes | str | dict[str, Any] | list[Any]] = [
    b"\xff", "[]", "7", '"x"', "true", "{} {}", '{"MinQuorum": 3} trailing', '{"MinQuorum": 3',
    '{"MinQuorum": 3,}', '{"minquorum": 3, "MINQUORUM": 4}', '{"MinQuorum": 1, "MinQuorum": 2}',
    {"MinQuorum": "3"}, {"MinQuorum": -1}, {"MinQuorum": 1.5}, {"MinQuorum": 1e3}, {"MinQuorum": 1 << 64},
    {"MaxTrailingLogs": True}, {"MaxTrailingLogs": []}, {"MaxTrailingLogs": {}},
    {"CleanupDeadServers": "yes"}, {"CleanupDeadServers": 1}, {"CleanupDeadServers": None},
    {"LastContactThreshold": ""}, {"LastContactThreshold": "5"}, {"LastContactThreshold": "1 s"},
    {"LastContactThreshold": "-3s"}, {"LastContactThreshold": -3}, {"LastContactThreshold": "1e3s"},
    {"LastContactThreshold": True}, {"LastContactThreshold": ["1s"]}, {"LastContactThreshold": 1 << 63},
    {"ServerStabilizationTime": "9999999h"}, {"ServerStabilizationTime": 0.5},
    {"RedundancyZoneTag": 5}, {"RedundancyZoneTag": "zone", "UpgradeVersionTag": "v", "DisableUpgradeMigration": True},
    {"CreateIndex": 7, "ModifyIndex": 9}, {"ModifyIndex": "9"},
    {"Nope": 1}, {"Config": {"MinQuorum": 1}},
]  # fmt: skip

CONFIGURATION: list[Request | Step] = [
    get(AUTOPILOT),
    *[request for body in _BAD_BODIES for request in (put(AUTOPILOT, body), get(AUTOPILOT))],
    put(AUTOPILOT, {}),
    Step(get(AUTOPILOT), ("index", lambda found: found["ModifyIndex"])),
    put(f"{AUTOPILOT}?cas=$index", DEFAULTS),
    put(f"{AUTOPILOT}?cas=$index", DEFAULTS),
    put(f"{AUTOPILOT}?cas=0", DEFAULTS),
    put(f"{AUTOPILOT}?cas=-1", DEFAULTS),
    put(f"{AUTOPILOT}?cas=1.5", DEFAULTS),
    put(f"{AUTOPILOT}?cas=+1", DEFAULTS),
    put(f"{AUTOPILOT}?cas=18446744073709551616", DEFAULTS),
    put(f"{AUTOPILOT}?cas=1&cas=2", DEFAULTS),
    put(f"{AUTOPILOT}?cas=x", "{"),
    put(f"{AUTOPILOT}?dc=nope", DEFAULTS),
    put(f"{AUTOPILOT}?pretty", DEFAULTS),
    get(f"{AUTOPILOT}?consistent"),
    get(f"{AUTOPILOT}?stale&consistent"),
    delete(AUTOPILOT),
    Request("HEAD", AUTOPILOT),
    Request("OPTIONS", AUTOPILOT),
]

PEERS: list[Request | Step] = [
    Step(get(RAFT), ("own", lambda found: found["Servers"][0]["ID"])),
    get(f"{RAFT}?stale"),
    get(f"{RAFT}?consistent"),
    get(f"{RAFT}?stale&consistent"),
    get(f"{RAFT}?dc=nope"),
    Request("HEAD", RAFT),
    Request("OPTIONS", RAFT),
    delete(RAFT),
    delete(f"{PEER}?id=$own"),
    delete(f"{PEER}?id=$own&id=other"),
    delete(f"{PEER}?id=%22quoted%22"),
    delete(f"{PEER}?id=%ff"),
    delete(f"{PEER}?id"),
    delete(f"{PEER}?address"),
    delete(f"{PEER}?address=nowhere"),
    delete(f"{PEER}?address=1.2.3.4:8300&dc=nope"),
    delete(f"{PEER}?id=&address="),
    delete(f"{PEER}?ID=x"),
    put(f"{PEER}?id=x"),
    Request("HEAD", f"{PEER}?id=x"),
    Request("OPTIONS", PEER),
]
