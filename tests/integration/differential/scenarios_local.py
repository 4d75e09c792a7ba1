"""Services and checks of the agent itself: registrations good and bad, their checks, maintenance, health.

Requests of one scenario build on each other; each scenario removes what it registered."""

from __future__ import annotations

from typing import Any

from tests.integration.differential.exchange import Request
from tests.integration.differential.generated.world import NEVER
from tests.integration.differential.scenarios import delete, get, put

REGISTER, CHECK = "/v1/agent/service/register", "/v1/agent/check/register"


def service(body: Any, query: str = "") -> Request:
    return put(f"{REGISTER}{query}", body)


def check(body: Any) -> Request:
    return put(CHECK, body)


def unordered(path: str, *headers: tuple[str, str]) -> Request:
    return Request("GET", path, headers=headers, unordered=True)


def shown(*service_ids: str) -> list[Request]:
    """Everything that says something about these services."""
    looks = [unordered("/v1/agent/services"), unordered("/v1/agent/checks")]
    for service_id in service_ids:
        looks += [get(f"/v1/agent/service/{service_id}"), unordered(f"/v1/agent/health/service/id/{service_id}")]
    return [*looks, unordered("/v1/catalog/node/node1"), unordered("/v1/health/node/node1")]


def gone(*service_ids: str) -> list[Request]:
    return [*(put(f"/v1/agent/service/deregister/{each}") for each in service_ids), *shown()]


PLAIN = [
    *shown("none"),
    service({"Name": "web"}),
    *shown("web"),
    service({"Name": "web", "ID": "web-2", "Tags": ["b", "a"], "Port": 80, "Address": "10.0.0.7"}),
    *shown("web-2"),
    service(
        {
            "name": "web",
            "id": "web-3",
            "tags": [],
            "port": 81,
            "meta": {"b": "2", "a": "1"},
            "weights": {"passing": 5, "warning": 0},
            "enable_tag_override": True,
            "tagged_addresses": {"lan": {"address": "10.1.1.1", "port": 99}, "wan": {"address": "1.2.3.4"}},
            "token": "ignored",
        }
    ),
    *shown("web-3"),
    service({"Name": "v6", "Address": "fd00::1", "Port": 1}),
    service({"Name": "host", "Address": "db.example.com"}),
    service({"Name": "native", "Connect": {"Native": True}}),
    *shown("v6", "host", "native"),
    get("/v1/agent/services?filter=Service==web"),
    get("/v1/agent/services?filter=Port%20%3D%3D%2080"),
    get("/v1/agent/services?filter=a+in+Tags"),
    get("/v1/agent/services?filter=Meta.a==1"),
    get("/v1/agent/services?filter=Weights.Passing==5"),
    get("/v1/agent/services?filter=TaggedAddresses.lan.Port==99"),
    get("/v1/agent/services?filter=EnableTagOverride"),
    get("/v1/agent/services?filter=EnableTagOverride==true"),
    get("/v1/agent/services?filter=Nope==1"),
    get("/v1/agent/services?filter=ContentHash==1"),
    get("/v1/agent/services?filter=CreateIndex==1"),
    get("/v1/agent/services?filter=Proxy.Config.a==1"),
    get("/v1/agent/services?filter=("),
    get("/v1/agent/services?pretty"),
    get("/v1/agent/service/web?hash=0"),
    get("/v1/agent/service/web?hash=0&wait=10ms"),
    get("/v1/agent/service/web?wait=x"),
    get("/v1/agent/service/web?wait=-1s"),
    get("/v1/agent/service/"),
    get("/v1/agent/service/nope?hash=1"),
    get("/v1/agent/service/web/x"),
    get("/v1/agent/service"),
    *gone("web", "web-2", "web-3", "v6", "host", "native", "nope"),
]

WORSE = [
    service(b""),
    service(b"{"),
    service(b"[]"),
    service(b"null"),
    service(b'"x"'),
    service({}),
    service({"ID": "x"}),
    service({"Name": ""}),
    service({"Name": 1}),
    service({"Name": "w", "Port": "80"}),
    service({"Name": "w", "Port": 1.5}),
    service({"Name": "w", "Tags": "a"}),
    service({"Name": "w", "Tags": [1]}),
    service({"Name": "w", "Meta": {"a": 1}}),
    service({"Name": "w", "Nope": 1}),
    service({"Name": "w", "Namespace": "x"}),
    service({"Name": "w", "Address": "0.0.0.0"}),
    service({"Name": "w", "Address": "::"}),
    service({"Name": "w", "Address": "[::]"}),
    service({"Name": "w", "Weights": {"Passing": 0, "Warning": 1}}),
    service({"Name": "w", "Weights": {"Passing": 1, "Warning": -1}}),
    service({"Name": "w", "Weights": {"Passing": 70000, "Warning": 1}}),
    service({"Name": "w", "Weights": {"Passing": "1"}}),
    service({"Name": "w", "Weights": {}}),
    service({"Name": "w", "Meta": {"": "x"}}),
    service({"Name": "w", "Meta": {"a b": "x"}}),
    service({"Name": "w", "Meta": {"consul-x": "x"}}),
    service({"Name": "w", "Meta": {"a" * 129: "x"}}),
    service({"Name": "w", "Meta": {"a": "x" * 513}}),
    service({"Name": "w", "Meta": {f"k{n}": "" for n in range(65)}}),
    service({"Name": "w", "TaggedAddresses": {"lan_ipv4": {"Address": "fd00::1"}}}),
    service({"Name": "w", "TaggedAddresses": {"wan_ipv4": {"Address": "x"}}}),
    service({"Name": "w", "TaggedAddresses": {"lan_ipv6": {"Address": "1.2.3.4"}}}),
    service({"Name": "w", "TaggedAddresses": {"wan_ipv6": {"Address": "1.2.3.4"}}}),
    service({"Name": "w", "TaggedAddresses": {"lan": "x"}}),
    service({"Name": "w", "Kind": "nope"}),
    service({"Name": "w", "Kind": "connect-proxy"}),
    service({"Name": "w", "Kind": "connect-proxy", "Port": 1, "Proxy": {}}),
    service({"Name": "w", "Kind": "mesh-gateway"}),
    service({"Name": "w", "Kind": "terminating-gateway", "Port": 1, "Proxy": {"DestinationServiceName": "x"}}),
    service({"Name": "w", "Check": {"TTL": "x"}}),
    service({"Name": "w", "Check": {"TTL": 600000000000}}),
    service({"Name": "w", "Check": {"TTL": "10s", "Interval": "1s"}}),
    service({"Name": "w", "Check": {"HTTP": "http://127.0.0.1"}}),
    service({"Name": "w", "Check": {"Name": "only"}}),
    service({"Name": "w", "Check": {"Nope": 1}}),
    service({"Name": "w", "Check": "x"}),
    service({"Name": "w", "Checks": {"TTL": "1s"}}),
    service({"Name": "w", "Checks": [{"TTL": "10s"}, {}]}),
    service({"Name": "w", "Checks": [{"TTL": "10s", "Status": "odd"}]}),
    service({"Name": "w", "Checks": [{"TTL": "10s", "OutputMaxSize": -1}]}),
    service({"Name": "w", "Checks": [{"TTL": "10s", "AliasService": "x"}]}),
    service({"Name": "w", "Checks": [{"Script": "true", "Interval": "10s"}]}),
    *shown("w"),
    service({"Name": "w2", "Checks": [{"TTL": "10s"}, {"Args": ["true"], "Interval": "10s"}]}),
    *shown("w2"),
    service({"Name": "w", "Connect": {"SidecarService": {"ID": "x"}}}),
    service({"Name": "w", "Connect": {"SidecarService": {"Check": {"TTL": "10s", "Status": "odd"}}}}),
    service({"Name": "w", "Connect": {"SidecarService": {"Check": {"Interval": "10s"}}}}),
    service({"Name": "w", "Connect": {"SidecarService": {"Connect": {"SidecarService": {}}}}}),
    service({"Name": "w", "Connect": {"SidecarService": {"Meta": {"a b": "c"}}}}),
    service({"Name": "w", "Connect": {"Nope": 1}}),
    Request("POST", REGISTER, b"{}"),
    Request("GET", REGISTER),
    Request("OPTIONS", REGISTER),
    delete(REGISTER),
    service({"Name": "w"}, "?ns=x"),
    put("/v1/agent/service/deregister/"),
    put("/v1/agent/service/deregister/nope"),
    put("/v1/agent/service/deregister"),
    get("/v1/agent/service/deregister/x"),
    Request("POST", "/v1/agent/services"),
    put("/v1/agent/checks"),
    *gone("w"),
]

CHECKS = [
    service({"Name": "web", "Port": 80, "Check": {"TTL": "10m"}}),
    *shown("web"),
    put("/v1/agent/check/pass/service:web"),
    *shown("web"),
    put("/v1/agent/check/warn/service:web?note=so-so"),
    *shown("web"),
    unordered("/v1/agent/health/service/name/web"),
    unordered("/v1/agent/health/service/name/web?format=text"),
    unordered("/v1/agent/health/service/id/web?format=text"),
    unordered("/v1/agent/health/service/id/web?format=json", ("Accept", "text/plain")),
    unordered("/v1/agent/health/service/id/web?format=odd"),
    put("/v1/agent/check/fail/service:web?note=bad%20luck"),
    *shown("web"),
    put("/v1/agent/check/update/service:web", {"Status": "passing", "Output": "fine"}),
    put("/v1/agent/check/update/service:web", {"Status": "odd"}),
    put("/v1/agent/check/update/service:web", {"Status": 1}),
    put("/v1/agent/check/update/service:web", {"Nope": 1}),
    put("/v1/agent/check/update/service:web", b""),
    put("/v1/agent/check/update/service:web", b"[]"),
    put("/v1/agent/check/update/service:web", {"status": "warning", "output": "x" * 5000}),
    *shown("web"),
    put("/v1/agent/check/update/nope", {"Status": "passing"}),
    put("/v1/agent/check/update/", {"Status": "passing"}),
    put("/v1/agent/check/pass/nope"),
    put("/v1/agent/check/pass/"),
    put("/v1/agent/check/pass"),
    get("/v1/agent/check/pass/service:web"),
    check({"Name": "node ttl", "TTL": "10m"}),
    check({"ID": "ttl-2", "Name": "ttl two", "TTL": "10m", "ServiceID": "web", "Notes": "n", "Status": "warning"}),
    check({"id": "ttl-3", "name": "ttl three", "ttl": "10m", "service_id": "web"}),
    *shown("web"),
    put("/v1/agent/check/pass/ttl-2"),
    check({"ID": "ttl-2", "Name": "ttl two again", "TTL": "10m", "ServiceID": "web", "Status": "critical"}),
    *shown("web"),
    get("/v1/agent/checks?filter=Status==critical"),
    get("/v1/agent/checks?filter=ServiceID==web+and+Status!=passing"),
    get("/v1/agent/checks?filter=Nope==1"),
    get("/v1/agent/checks?filter=Name+matches+two"),
    get("/v1/agent/checks?filter=ServiceTags+is+empty"),
    get("/v1/agent/checks?filter=Definition+is+empty"),
    get("/v1/agent/checks?filter=("),
    service({"Name": "web", "Port": 81, "Check": {"TTL": "10m"}}),
    *shown("web"),
    service({"Name": "web", "Port": 82, "Check": {"CheckID": "new", "TTL": "10m"}}, "?replace-existing-checks=false"),
    *shown("web"),
    service({"Name": "web", "Port": 83, "Check": {"CheckID": "only", "TTL": "10m"}}, "?replace-existing-checks"),
    *shown("web"),
    service({"Name": "web", "Checks": [{"TTL": "10m"}, {"TTL": "5m"}]}, "?replace-existing-checks=true"),
    *shown("web"),
    put("/v1/agent/check/deregister/service:web:1"),
    put("/v1/agent/check/deregister/nope"),
    put("/v1/agent/check/deregister/"),
    *shown("web"),
    check({}),
    check(b""),
    check(b"[]"),
    check({"Name": "x"}),
    check({"Name": 1}),
    check({"Name": "x", "TTL": "10s", "Interval": "1s"}),
    check({"Name": "x", "TTL": "10s", "Status": "odd"}),
    check({"Name": "x", "TTL": "10s", "ServiceID": "nope"}),
    check({"Name": "x", "TTL": True}),
    check({"Name": "x", "TTL": "ten"}),
    check({"Name": "x", "TTL": "10s", "Nope": 1}),
    check({"Name": "x", "HTTP": "http://127.0.0.1:1"}),
    check({"Name": "x", "HTTP": 1}),
    check({"Name": "x", "Args": "true", "Interval": "1s"}),
    check({"Name": "x", "Args": ["true"], "Interval": "10s"}),
    check({"Name": "x", "Interval": "10s"}),
    check({"Name": "x", "AliasService": "web", "TTL": "1s"}),
    check({"Name": "x", "AliasService": "web", "TCP": "x", "Interval": "1s"}),
    check({"Name": "x", "Header": {"a": "b"}, "HTTP": "http://x", "Interval": "1s"}),
    Request("GET", CHECK),
    Request("POST", CHECK, b"{}"),
    put("/v1/agent/check/deregister/node ttl".replace(" ", "%20")),
    *gone("web"),
]

MAINTENANCE = [
    service({"Name": "web", "Check": {"TTL": "10m", "Status": "passing"}}),
    put("/v1/agent/service/maintenance/web?enable=true&reason=broken"),
    *shown("web"),
    unordered("/v1/agent/health/service/name/web"),
    put("/v1/agent/service/maintenance/web?enable=true&reason=other"),
    put("/v1/agent/service/maintenance/web?enable=false"),
    put("/v1/agent/service/maintenance/web?enable=false"),
    put("/v1/agent/service/maintenance/web?enable=1"),
    *shown("web"),
    put("/v1/agent/service/maintenance/web?enable=F"),
    put("/v1/agent/service/maintenance/web?enable=odd"),
    put("/v1/agent/service/maintenance/web?enable="),
    put("/v1/agent/service/maintenance/web?enable"),
    put("/v1/agent/service/maintenance/web"),
    put("/v1/agent/service/maintenance/"),
    put("/v1/agent/service/maintenance/nope?enable=true"),
    put("/v1/agent/service/maintenance/nope?enable=false"),
    get("/v1/agent/service/maintenance/web?enable=true"),
    put("/v1/agent/maintenance"),
    put("/v1/agent/maintenance?enable"),
    put("/v1/agent/maintenance?enable=odd"),
    put("/v1/agent/maintenance?enable=true"),
    *shown("web"),
    put("/v1/agent/maintenance?enable=true&reason=again"),
    put("/v1/agent/maintenance?enable=false"),
    put("/v1/agent/maintenance?enable=true&reason=because"),
    *shown("web"),
    put("/v1/agent/maintenance?enable=false"),
    get("/v1/agent/maintenance?enable=false"),
    put("/v1/agent/check/pass/_node_maintenance"),
    *shown("web"),
    get("/v1/agent/health/service/id/"),
    get("/v1/agent/health/service/id/nope"),
    get("/v1/agent/health/service/id/nope?format=text"),
    get("/v1/agent/health/service/name/"),
    get("/v1/agent/health/service/name/nope"),
    get("/v1/agent/health/service/name/nope?format=text"),
    get("/v1/agent/health/service/name/nope", ("Accept", "text/plain; charset=utf-8")),
    get("/v1/agent/health/service/"),
    put("/v1/agent/health/service/id/web"),
    *gone("web"),
]

SIDECAR = {"SidecarService": {"Check": {"TTL": "10m"}}}
"""With a check of its own: what the default ones say depends on when they are looked at."""
PROXIES = [
    service({"Name": "web", "Port": 80, "Tags": ["a"], "Meta": {"m": "1"}, "Connect": SIDECAR}),
    *shown("web", "web-sidecar-proxy"),
    service(
        {
            "Name": "api",
            "ID": "api-1",
            "Port": 90,
            "Connect": {
                "sidecar_service": {
                    "Name": "odd",
                    "Port": 2000,
                    "Tags": ["own"],
                    "Proxy": {
                        "upstreams": [
                            {"destination_name": "db", "local_bind_port": 9191, "config": {"a": 1, "b": "c"}},
                            {"DestinationType": "prepared_query", "DestinationName": "q", "LocalBindPort": 9192},
                        ],
                        "Config": {"x": "y", "n": 1.5, "t": True},
                    },
                    "Check": {"TTL": "10m", "Name": "own check"},
                }
            },
        }
    ),
    *shown("api-1", "api-1-sidecar-proxy"),
    service(
        {
            "Kind": "connect-proxy",
            "Name": "solo-proxy",
            "Port": 3000,
            "Proxy": {
                "DestinationServiceName": "solo",
                "MeshGateway": {"Mode": "local"},
                "Expose": {"Paths": [{"Path": "/x", "ListenerPort": 1, "LocalPathPort": 2, "Protocol": "http"}]},
            },
        }
    ),
    service({"Kind": "mesh-gateway", "Name": "mgw", "Port": 443, "Meta": {"consul-wan-federation": "1"}}),
    service({"Kind": "ingress-gateway", "Name": "igw"}),
    *shown("solo-proxy", "mgw", "igw"),
    service({"Name": "web", "Port": 80, "Connect": {"SidecarService": {"Port": 20000}}}),
    *shown("web", "web-sidecar-proxy"),
    get("/v1/agent/services?filter=Kind==%22connect-proxy%22"),
    *gone("web", "api-1", "solo-proxy", "mgw", "igw"),
]

PATHS = [
    "/v1/agent/services",
    "/v1/agent/service/web",
    "/v1/agent/service/register",
    "/v1/agent/service/deregister/none",
    "/v1/agent/service/maintenance/none",
    "/v1/agent/maintenance",
    "/v1/agent/checks",
    "/v1/agent/check/register",
    "/v1/agent/check/deregister/none",
    "/v1/agent/check/pass/none",
    "/v1/agent/check/warn/none",
    "/v1/agent/check/fail/none",
    "/v1/agent/check/update/none",
    "/v1/agent/health/service/id/none",
    "/v1/agent/health/service/name/none",
]
ODD_QUERIES = ["ns=x", "pretty", "token=none", "dc=nope", "stale", "index=x", "wait=x", "enable=true", "filter=("]
METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH")
EVERYWHERE = [
    *(Request(method, path) for path in PATHS for method in METHODS),
    *(Request(method, f"{path}?{query}") for path in PATHS for query in ODD_QUERIES for method in ("GET", "PUT")),
    *(Request("PUT", path, b"{}", (("X-Consul-Namespace", "x"),)) for path in PATHS),
    *(Request("PUT", path, body) for path in PATHS for body in (b"{", b"[]", b"1", b"null", b"{} x", b'{"a":{"b":1}}')),
    put("/v1/agent/maintenance?enable=false"),
]
"""Every path with every method, with parameters that it knows and others, with bodies that are none."""

LOCAL_SCENARIOS: dict[str, list[Request]] = {
    "plain services": PLAIN,
    "bad services": WORSE,
    "checks": CHECKS,
    "maintenance": MAINTENANCE,
    "proxies": PROXIES,
    "everywhere": EVERYWHERE,
}

CONFIGURED: dict[str, Any] = {
    "enable_local_script_checks": True,
    "service": {"name": "solo", "port": 7000, "tags": ["one"], "check": {"ttl": "10m", "status": "warning"}},
    "services": [
        {
            "id": "c1",
            "name": "configured",
            "address": "10.9.8.7",
            "port": 7001,
            "meta": {"k": "v"},
            "weights": {"passing": 2, "warning": 1},
            "enable_tag_override": True,
            "tagged_addresses": {"lan": {"address": "10.1.1.1", "port": 4}},
            "checks": [
                {"id": "c1-ttl", "name": "first", "ttl": "20m", "notes": "note"},
                {"args": ["/bin/false"], "interval": NEVER, "status": "passing"},
            ],
            "connect": {
                "sidecar_service": {
                    "check": {"ttl": "1h"},
                    "proxy": {"upstreams": [{"destination_name": "d", "local_bind_port": 5}]},
                }
            },
        },
        {
            "kind": "connect-proxy",
            "name": "own-proxy",
            "port": 7002,
            "proxy": {
                "destination_service_name": "solo",
                "config": {"a": "b", "n": 3},
                "mesh_gateway": {"mode": "local"},
                "expose": {"paths": [{"path": "/p", "listener_port": 7003, "local_path_port": 7004}]},
            },
        },
    ],
    "check": {"id": "configured-ttl", "name": "Node TTL", "ttl": "1h", "notes": "of the node"},
    "checks": [{"name": "of c1", "service_id": "c1", "ttl": "1h", "status": "passing"}],
}
"""Definitions for a config file."""


def configured_looks() -> list[Request]:
    """Requests that show what became of `CONFIGURED`."""
    services = ("solo", "c1", "c1-sidecar-proxy", "own-proxy")
    return [
        unordered("/v1/agent/services"),
        *(get(f"/v1/agent/service/{each}") for each in services),
        unordered("/v1/agent/checks"),
        unordered("/v1/agent/health/service/id/solo"),
        unordered("/v1/health/checks/solo"),
        unordered("/v1/catalog/service/configured"),
        unordered("/v1/catalog/service/own-proxy"),
    ]
