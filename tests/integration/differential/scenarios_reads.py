"""Requests about how something is read or whether it may be: the agent cache, namespaces, rules of http_config."""

from __future__ import annotations

from tests.integration.differential.exchange import Request
from tests.integration.differential.scenarios import CATALOG, delete, get, put

_CACHE_READS = [
    "/v1/catalog/services?cached",
    "/v1/catalog/services?cached&stale",
    "/v1/catalog/services?cached&node-meta=rack:a",
    "/v1/catalog/services?cached&dc=nope",
    "/v1/catalog/service/web?cached",
    "/v1/catalog/service/web?cached&tag=v1",
    "/v1/catalog/service/web?cached&tag=v1&tag=eu",
    "/v1/catalog/service/web?cached&tag=eu&tag=v1",
    "/v1/catalog/service/web?cached&filter=ServicePort==80",
    "/v1/catalog/service/web?cached&filter=(",
    "/v1/catalog/service/nope?cached",
    "/v1/catalog/service/?cached",
    "/v1/catalog/connect/web?cached",
    "/v1/health/service/web?cached",
    "/v1/health/service/web?cached&passing",
    "/v1/health/service/web?cached&passing=maybe",
    "/v1/health/service/web?cached&max_stale=5s",
    "/v1/health/service/web?cached&consistent",
    "/v1/health/service/web?cached&token=unknown",
    "/v1/health/service/web?cached&index=1",
    "/v1/health/service/web?cached&index=1&wait=10ms",
    "/v1/health/service/web?cached&index=999999&wait=20ms",
    "/v1/health/service/web?cached&index=x",
    "/v1/health/service/web?cached&wait=x",
    "/v1/health/service/web?cached&dc=nope",
    "/v1/health/service/web?cached&pretty",
    "/v1/health/connect/web?cached",
    "/v1/health/node/web1?cached",
    "/v1/health/checks/web?cached",
    "/v1/health/state/any?cached",
    "/v1/catalog/nodes?cached",
    "/v1/catalog/node/web1?cached",
    "/v1/kv/none?cached",
    "/v1/session/list?cached",
]

CACHE = [
    *CATALOG[:6],
    # An entry is fetched a second time right after the first: what changed a moment ago may show as a miss or a hit,
    # so every entry is read until it is there.
    *(get(path) for path in _CACHE_READS for _ in range(2)),
    get("/v1/catalog/datacenters?cached"),
    get("/v1/catalog/datacenters?cached&consistent"),
    get("/v1/catalog/datacenters?stale&consistent"),
    get("/v1/catalog/datacenters?consistent"),
    get("/v1/catalog/datacenters?max_stale=x"),
    get("/v1/catalog/datacenters?max_stale=5s&cached"),
    get("/v1/catalog/datacenters?cached&consistent", ("Cache-Control", "max-age=x")),
    get("/v1/catalog/datacenters", ("Cache-Control", "max-age=x")),
    get("/v1/catalog/datacenters?cached", ("Cache-Control", "max-age=0")),
    get("/v1/catalog/datacenters?cached", ("Cache-Control", "max-age=600")),
    get("/v1/catalog/datacenters?cached", ("Cache-Control", "must-revalidate")),
    get("/v1/catalog/datacenters?cached", ("Cache-Control", "MAX-AGE=600, Must-Revalidate")),
    get("/v1/health/service/web?cached", ("Cache-Control", "max-age=0")),
    get("/v1/health/service/web?cached", ("Cache-Control", "max-age=-5")),
    get("/v1/health/service/web?cached", ("Cache-Control", "max-age=x")),
    get("/v1/health/service/web?cached", ("Cache-Control", "max-age=")),
    get("/v1/health/service/web?cached", ("Cache-Control", "stale-if-error=60")),
    get("/v1/health/service/web?cached", ("Cache-Control", "stale-if-error=x")),
    get("/v1/health/service/web?cached", ("Cache-Control", "no-cache, no-store")),
    get("/v1/health/service/web", ("Cache-Control", "max-age=x")),
    put("/v1/catalog/deregister", {"Node": "web1"}),
]

_NAMESPACED = [
    ("GET", "/v1/catalog/services"),
    ("GET", "/v1/catalog/nodes"),
    ("GET", "/v1/catalog/datacenters"),
    ("GET", "/v1/catalog/service/web"),
    ("GET", "/v1/catalog/connect/web"),
    ("GET", "/v1/catalog/node/web1"),
    ("GET", "/v1/catalog/node-services/web1"),
    ("GET", "/v1/health/node/web1"),
    ("GET", "/v1/health/checks/web"),
    ("GET", "/v1/health/state/any"),
    ("GET", "/v1/health/service/web"),
    ("GET", "/v1/health/connect/web"),
    ("GET", "/v1/kv/a"),
    ("PUT", "/v1/kv/a"),
    ("DELETE", "/v1/kv/a"),
    ("GET", "/v1/session/list"),
    ("GET", "/v1/session/info/x"),
    ("GET", "/v1/session/node/x"),
    ("PUT", "/v1/session/create"),
    ("PUT", "/v1/session/destroy/x"),
    ("PUT", "/v1/session/renew/x"),
    ("PUT", "/v1/catalog/register"),
    ("PUT", "/v1/catalog/deregister"),
    ("GET", "/v1/agent/members"),
    ("GET", "/v1/status/leader"),
    ("GET", "/v1/operator/raft/configuration"),
]

NAMESPACES = [
    request
    for method, path in _NAMESPACED
    for request in (
        Request(method, f"{path}?ns=default", unordered=path == "/v1/catalog/services"),
        Request(method, f"{path}?ns="),
        Request(method, path, headers=(("X-Consul-Namespace", "team"),)),
    )
    if not (method == "PUT" and path == "/v1/session/create" and "ns=" in request.path and request.path[-1] == "=")
]

SCENARIOS = {"cache": CACHE, "namespaces": NAMESPACES}

RULED = {
    "disable_coordinates": True,
    "http_config": {
        "block_endpoints": ["/v1/session", "/v1/kv/secret", "/v1/agent/h", "/ui"],
        "allow_write_http_from": ["10.0.0.0/8", "::1/128"],
        "response_headers": {"access-control-allow-origin": "*", "x-b": "b, c", "Server": "mine"},
        "use_cache": False,
    },
}
"""A configuration whose rules `RULES` meets."""

RULES = [
    get("/v1/status/leader"),
    get("/v1/session/list"),
    get("/v1/sessions"),
    get("/v1/session"),
    get("/v1/kv/secret"),
    get("/v1/kv/secret/deeper?raw"),
    get("/v1/kv/secre"),
    get("/v1/kv/./secret"),
    get("/v1/kv/%73ecret"),
    get("/v1/agent/host"),
    get("/v1/agent/members"),
    get("/"),
    get("/nope"),
    put("/v1/kv/a", b"x"),
    put("/v1/kv/secret", b"x"),
    put("/v1/session/create"),
    delete("/v1/kv/a"),
    get("/v1/kv/a"),
    put("/v1/catalog/register", {"Node": "a", "Address": "10.0.0.1"}),
    put("/v1/agent/reload"),
    put("/v1/status/leader"),
    Request("POST", "/v1/kv/a", b"x"),
    Request("PATCH", "/v1/kv/a"),
    Request("HEAD", "/v1/kv/a"),
    Request("OPTIONS", "/v1/kv/a"),
    Request("OPTIONS", "/v1/session/list"),
    Request("CONNECT", "/v1/kv/a"),
    Request("TRACE", "/v1/status/leader"),
    get("/v1/catalog/services?cached"),
    get("/v1/catalog/services?cached"),
    get("/v1/health/service/consul?cached", ("Cache-Control", "max-age=x")),
    get("/v1/health/service/consul?cached&consistent"),
    get("/v1/catalog/nodes?filter=("),
    get("/v1/agent/monitor?loglevel=loud"),
]
