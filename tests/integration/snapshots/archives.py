"""Filling an agent with every kind of record, looking at all of it, and large archives."""

from __future__ import annotations

import tarfile
import time
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from shared import snapshot_archive
from shared.structs.wire import pack
from tests.agents import Agent, RealConsul

KEY_RECORD = 2


def fill(agent: Agent | RealConsul) -> None:
    """Records of all kinds that have an API on both agents."""

    def put(path: str, body: Any = b"", method: str = "PUT") -> Any:
        answer = agent.http(method, path, body)
        assert answer.status == 200, (path, answer)
        return answer.json() if answer.body else None

    put("/v1/kv/plain", b"value")
    put("/v1/kv/flags?flags=18446744073709551615", bytes(range(256)))
    put("/v1/kv/%C3%A4/empty")
    put("/v1/kv/deleted", b"x")
    put("/v1/kv/deleted", method="DELETE")
    put(
        "/v1/catalog/register",
        {
            "Node": "external",
            "ID": "11111111-2222-3333-4444-555555555555",
            "Address": "10.1.1.1",
            "TaggedAddresses": {"wan": "1.2.3.4"},
            "NodeMeta": {"rack": "a"},
            "Service": {
                "ID": "web-1",
                "Service": "web",
                "Tags": ["b", "a"],
                "Port": 80,
                "Meta": {"x": "y"},
                "Weights": {"Passing": 3, "Warning": 2},
                "TaggedAddresses": {"lan": {"Address": "a", "Port": 1}},
            },
            "Checks": [
                {"Name": "alive", "CheckID": "alive", "Status": "passing"},
                {"Name": "slow", "CheckID": "slow", "Status": "warning", "ServiceID": "web-1", "Output": "so so"},
            ],
        },
    )
    put(
        "/v1/catalog/register",
        {
            "Node": "external",
            "Address": "10.1.1.1",
            "Service": {
                "Kind": "connect-proxy",
                "Service": "web-proxy",
                "Port": 81,
                "Proxy": {"DestinationServiceName": "web", "Config": {"a": 1.5}},
            },
        },
    )
    session = put("/v1/session/create", {"Node": "external", "NodeChecks": ["alive"], "Name": "s", "LockDelay": "0s"})
    assert put(f"/v1/kv/locked?acquire={session['ID']}", b"held") is True
    put("/v1/query", {"Name": "geo", "Service": {"Service": "web", "Failover": {"NearestN": 2}}}, "POST")
    put("/v1/query", {"Name": "tpl", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "x"}}, "POST")
    put("/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    put("/v1/config", {"Kind": "proxy-defaults", "Name": "global", "Config": {"b": "c", "n": 7}})
    put("/v1/operator/autopilot/configuration", {"CleanupDeadServers": False, "MaxTrailingLogs": 99})


LOOKS = (
    "/v1/kv/?recurse",
    "/v1/session/list",
    "/v1/catalog/node/external",
    "/v1/health/node/external",
    "/v1/health/service/web",
    "/v1/catalog/connect/web",
    "/v1/query",
    "/v1/config/service-defaults",
    "/v1/config/proxy-defaults",
    "/v1/operator/autopilot/configuration",
)


def seen(agent: Agent | RealConsul) -> dict[str, Any]:
    """All that `fill` made, as the API shows it, with its indexes."""
    found = {path: agent.http("GET", path).json() for path in LOOKS}
    found["/v1/query"].sort(key=lambda query: query["ID"])
    return found


def enlarged(archive: bytes, keys: int, path: Path) -> None:
    """Writes an archive to `path`: the given one, and that many keys `big/<n>` of a thousand random bytes."""
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        state = tar.extractfile("state.bin").read()  # type: ignore[union-attr]
    rng = Random(1)
    records = [state]
    for number in range(keys):
        entry = {"Key": f"big/{number:06d}", "Value": rng.randbytes(1000), "CreateIndex": 5, "ModifyIndex": 5}
        records.append(bytes((KEY_RECORD,)) + pack({"Flags": 0, "LockIndex": 0, "Session": "", **entry}))
    whole = b"".join(records)
    metadata = {"Version": 1, "ID": "2-9-9", "Index": 9, "Term": 2, "Size": len(whole)}
    with path.open("wb") as out:
        snapshot_archive.write(out, metadata, BytesIO(whole), int(time.time()))
