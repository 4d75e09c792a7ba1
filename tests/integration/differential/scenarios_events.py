"""User events and coordinates, right and wrong requests."""

from __future__ import annotations

from typing import Any

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import delete, get, put

FIRE, LIST = "/v1/event/fire", "/v1/event/list"

EVENTS: list[Request] = [
    get(LIST),
    get(f"{LIST}?name=none"),
    get(f"{LIST}?index=1&wait=10ms"),
    get(f"{LIST}?name=none&index=1&wait=1ms"),
    put(f"{FIRE}/deploy", b"payload"),
    put(f"{FIRE}/deploy"),
    put(f"{FIRE}/other?node=^node1$", b"\xff\x00binary"),
    put(f"{FIRE}/other?service=web&tag=v1"),
    put(f"{FIRE}/other?service=web"),
    put(f"{FIRE}/nobody?node=^nobody$"),
    put(f"{FIRE}/with%20space"),
    put(f"{FIRE}/a/b"),
    put(f"{FIRE}/%C3%A4?node=.*"),
    put(f"{FIRE}/x?dc=dc1"),
    put(f"{FIRE}/x?pretty"),
    put(f"{FIRE}/x?token=unknown"),
    get(LIST),
    get(f"{LIST}?name=deploy"),
    get(f"{LIST}?name=nobody"),
    get(f"{LIST}?name=other&pretty"),
    get(f"{LIST}?name=with+space"),
    get(f"{LIST}?index=5&wait=1m"),
    get(f"{LIST}?stale"),
    get(f"{LIST}?consistent&stale"),
    get(f"{LIST}?dc=nope"),
    # wrong ones
    put(f"{FIRE}/"),
    put(FIRE),
    get(f"{FIRE}/x"),
    delete(f"{FIRE}/x"),
    Request("POST", f"{FIRE}/x"),
    Request("OPTIONS", f"{FIRE}/x"),
    put(LIST),
    Request("HEAD", LIST),
    get(f"{LIST}/"),
    put(f"{FIRE}/x?dc=nope"),
    put(f"{FIRE}/x?node=("),
    put(f"{FIRE}/x?service=*"),
    put(f"{FIRE}/x?service=web&tag=["),
    put(f"{FIRE}/x?service=web&tag=a{{2,1}}"),
    put(f"{FIRE}/x?tag=v1"),
    put(f"{FIRE}/x?node=\\1"),
    put(f"{FIRE}/x", b"x" * 600),
    put(f"{FIRE}/x", b"x" * 430),
    put(f"{FIRE}/{'n' * 600}"),
    get(f"{LIST}?index=x"),
    get(f"{LIST}?index=-1"),
    get(f"{LIST}?wait=soon"),
    get(f"{LIST}?index=99999999999999999999"),
]


def coordinate(node: str, *vec: float, segment: str = "", **more: Any) -> Request:
    """An update of a node's coordinate."""
    coord = {"Vec": [*vec, *[0.0] * (8 - len(vec))], "Error": 1.5, "Adjustment": 0, "Height": 0.00001, **more}
    return put("/v1/coordinate/update", {"Node": node, "Segment": segment, "Coord": coord})


UPDATES: list[Request] = [
    put("/v1/catalog/register", {"Node": "far", "Address": "10.0.0.1", "Service": {"Service": "web"}}),
    put("/v1/catalog/register", {"Node": "near", "Address": "10.0.0.2", "Service": {"Service": "web"}}),
    put("/v1/catalog/register", {"Node": "nowhere", "Address": "10.0.0.3", "Service": {"Service": "web"}}),
    coordinate("far", 0.5),
    coordinate("near", 0.001, Adjustment=-0.0001),
    coordinate("near", 0.002, segment="alpha"),
    coordinate("unknown", 1.0),
    coordinate("node1", 0.0),  # what the agent would say of itself within half a minute
]
UPDATED = {("far", ""), ("near", ""), ("near", "alpha"), ("node1", "")}
"""(node, segment) of all coordinates there are after that."""

COORDINATES: list[Request] = [
    get("/v1/coordinate/datacenters"),
    get("/v1/coordinate/datacenters?dc=nope"),
    get("/v1/coordinate/datacenters/"),
    put("/v1/coordinate/datacenters"),
    get("/v1/coordinate/nodes"),
    get("/v1/coordinate/nodes?pretty"),
    get("/v1/coordinate/nodes?stale"),
    get("/v1/coordinate/nodes?consistent"),
    get("/v1/coordinate/nodes?stale&consistent"),
    get("/v1/coordinate/nodes?segment="),
    get("/v1/coordinate/nodes?segment=alpha"),
    get("/v1/coordinate/nodes?segment=none"),
    get("/v1/coordinate/nodes?segment=alpha&segment=none"),
    get("/v1/coordinate/nodes?index=1&wait=10ms"),
    get("/v1/coordinate/nodes?index=99999&wait=10ms"),
    get("/v1/coordinate/nodes?index=x"),
    get("/v1/coordinate/nodes?dc=nope"),
    delete("/v1/coordinate/nodes"),
    get("/v1/coordinate/node/far"),
    get("/v1/coordinate/node/FAR"),
    get("/v1/coordinate/node/near?segment=alpha"),
    get("/v1/coordinate/node/near?segment="),
    get("/v1/coordinate/node/near?segment=none"),
    get("/v1/coordinate/node/nowhere"),
    get("/v1/coordinate/node/unknown"),
    get("/v1/coordinate/node/"),
    get("/v1/coordinate/node"),
    get("/v1/coordinate/node/far?dc=nope"),
    get("/v1/coordinate/node/far?index=99999&wait=10ms"),
    put("/v1/coordinate/node/far"),
    # wrong updates
    get("/v1/coordinate/update"),
    put("/v1/coordinate/update"),
    put("/v1/coordinate/update", "{"),
    put("/v1/coordinate/update", "[]"),
    put("/v1/coordinate/update", {"Node": 1}),
    put("/v1/coordinate/update", {"Node": "far", "Nope": 1}),
    put("/v1/coordinate/update", {"Node": "far", "Coord": {"Vec": [1]}}),
    put("/v1/coordinate/update", {"Node": "far", "Coord": {"Vec": "x"}}),
    put("/v1/coordinate/update", {"Node": "far", "Coord": {"Vec": [0] * 8, "Error": "x"}}),
    put("/v1/coordinate/update", {"Node": "far", "Coord": {"Nope": 1}}),
    put("/v1/coordinate/update?dc=nope", {"Node": "far", "Coord": {"Vec": [0] * 8}}),
]

NEAR: list[Request] = [
    get(f"{path}{'&' if '?' in path else '?'}near={near}")
    for near in ("_agent", "far", "near", "nowhere", "nobody", "")
    for path in (
        "/v1/catalog/nodes",
        "/v1/catalog/service/web",
        "/v1/health/service/web",
        "/v1/health/service/web?filter=Node.Node%20!=%20far",
        "/v1/health/checks/web",
        "/v1/health/state/any",
        "/v1/coordinate/nodes",
    )
]
