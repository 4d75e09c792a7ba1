"""What is asked: one entry per endpoint with what is right for it. What is wrong is made of that.

`$session` and `$query` stand for ids that the world has (see world.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UNKNOWN = "11111111-2222-3333-4444-555555555555"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """path: without the last part if it `ends in a slash`; parts: what may follow, things that exist first.

    query: parameters of its own, each right. field: something filterable, a whole expression. unordered: lists of
    the answer are in the random order of a Go map. never: methods with an effect that would disturb the rest."""

    path: str
    methods: tuple[str, ...] = ("GET",)
    parts: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    body: dict[str, Any] | list[Any] | bytes | None = None
    field: str | None = None
    blocking: bool = False
    unordered: bool = False
    shape: bool = False
    never: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        return self.methods != ("GET",)


def _register(**more: Any) -> dict[str, Any]:
    return {"Node": "gen1", "Address": "10.8.0.1", **more}


_SERVICE = {
    "ID": "made-1",
    "Service": "made",
    "Tags": ["v1", "eu"],
    "Address": "10.8.1.1",
    "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 81}},
    "Meta": {"k": "v"},
    "Port": 80,
    "Weights": {"Passing": 2, "Warning": 1},
    "EnableTagOverride": True,
    "Proxy": {"Expose": {}},
    "Connect": {"Native": False},
}
_CHECK = {
    "Node": "gen1",
    "CheckID": "made-check",
    "Name": "made",
    "Status": "warning",
    "Notes": "n",
    "Output": "o",
    "ServiceID": "made-1",
    "ServiceName": "made",
    "ServiceTags": ["v1"],
    "Type": "ttl",
    "Definition": {"HTTP": "http://10.8.0.1:80/", "Interval": "10s", "Header": {"A": ["b"]}, "TLSSkipVerify": True},
}
_LOCAL_CHECK = {
    "ID": "local-check",
    "Name": "local",
    "Notes": "n",
    "ServiceID": "local-1",
    "TTL": "1h",
    "Status": "passing",
    "SuccessBeforePassing": 0,
    "FailuresBeforeCritical": 0,
    "DeregisterCriticalServiceAfter": "72h",
    "OutputMaxSize": 4096,
}
_LOCAL_SERVICE = {
    "ID": "local-1",
    "Name": "local",
    "Tags": ["a", "b"],
    "Port": 8080,
    "Address": "10.8.2.1",
    "TaggedAddresses": {"lan": {"address": "10.8.2.1", "port": 80}},
    "Meta": {"k": "v"},
    "Weights": {"Passing": 3, "Warning": 2},
    "EnableTagOverride": False,
    "Check": {"CheckID": "local-ttl", "TTL": "1h", "Name": "alive"},
    "Checks": [{"CheckID": "local-http", "HTTP": "http://127.0.0.1:1/", "Interval": "1h", "Timeout": "1s"}],
    "Proxy": {"Config": {"a": 1}},
}
_QUERY = {
    "Name": "made-query",
    "Session": "",
    "Token": "",
    "Service": {
        "Service": "web",
        "Failover": {"NearestN": 0, "Datacenters": []},
        "IgnoreCheckIDs": ["node"],
        "OnlyPassing": True,
        "Near": "_agent",
        "Tags": ["v1", "!old"],
        "NodeMeta": {"rack": "a"},
        "ServiceMeta": {"k": "v"},
        "Connect": False,
    },
    "DNS": {"TTL": "10s"},
}
_SESSION = {
    "LockDelay": "0s",
    "Name": "made",
    "Node": "node1",
    "NodeChecks": ["serfHealth"],
    "ServiceChecks": [],
    "Behavior": "release",
    "TTL": "10m",
}
_TXN: list[Any] = [
    {"KV": {"Verb": "set", "Key": "gen/txn", "Value": "dHhu", "Flags": 3}},
    {"KV": {"Verb": "get", "Key": "gen/a"}},
    {"KV": {"Verb": "cas", "Key": "gen/a", "Value": "dHhu", "Index": 1}},
    {"Node": {"Verb": "set", "Node": {"Node": "gen1", "Address": "10.8.0.1", "Meta": {"a": "b"}}}},
    {"Service": {"Verb": "set", "Node": "gen1", "Service": {"ID": "made-1", "Service": "made", "Port": 80}}},
    {"Check": {"Verb": "set", "Check": {"Node": "gen1", "CheckID": "c", "Name": "c", "Status": "passing"}}},
]
_DEFAULTS = {
    "Kind": "service-defaults",
    "Name": "web",
    "Protocol": "http",
    "MeshGateway": {"Mode": "local"},
    "Expose": {"Checks": True, "Paths": [{"ListenerPort": 1, "Path": "/x", "LocalPathPort": 2, "Protocol": "http"}]},
}
_RESOLVER = {
    "Kind": "service-resolver",
    "Name": "web",
    "DefaultSubset": "v1",
    "Subsets": {"v1": {"Filter": "Service.Meta.v == 1", "OnlyPassing": True}},
    "Failover": {"*": {"Service": "other", "Datacenters": ["dc1"]}},
    "ConnectTimeout": "5s",
}
_PROXY = {
    "ID": "made-proxy",
    "Name": "made-proxy",
    "Kind": "connect-proxy",
    "Port": 2000,
    "Proxy": {
        "DestinationServiceName": "web",
        "DestinationServiceID": "web-1",
        "LocalServiceAddress": "127.0.0.1",
        "LocalServicePort": 80,
        "Config": {"a": 1, "b": ["x"]},
        "Upstreams": [
            {
                "DestinationType": "service",
                "DestinationName": "db",
                "Datacenter": "dc1",
                "LocalBindPort": 1,
                "Config": {},
            }
        ],
        "MeshGateway": {"Mode": "local"},
        "Expose": {"Checks": False, "Paths": [{"Path": "/x", "LocalPathPort": 1, "ListenerPort": 2}]},
    },
}
_SIDECAR = {"Name": "local", "ID": "local-3", "Port": 80, "Connect": {"SidecarService": {"Port": 3000, "Tags": ["t"]}}}
# Without alias checks: the real agent hangs on some that look at themselves.
_LOCAL_CHECKS: tuple[dict[str, Any], ...] = (
    {
        "Name": "made-http",
        "HTTP": "http://127.0.0.1:1/",
        "Method": "POST",
        "Header": {"A": ["b", "c"]},
        "Body": "x",
        "TLSSkipVerify": True,
        "Interval": "1h",
        "Timeout": "5s",
    },
    {
        "Name": "made-tcp",
        "ID": "made-tcp",
        "TCP": "127.0.0.1:1",
        "Interval": "1h",
        "Timeout": "5s",
        "Status": "warning",
    },
    {"Name": "made-grpc", "GRPC": "127.0.0.1:1/x", "GRPCUseTLS": False, "Interval": "1h", "Status": "passing"},
    {"Name": "made-script", "Args": ["/bin/true", "x"], "Interval": "1h", "Shell": "", "DockerContainerID": ""},
)
_TEMPLATE = {
    "Name": "made-",
    "Template": {"Type": "name_prefix_match", "Regexp": "^made-(.+)$", "RemoveEmptyTags": True},
    "Service": {"Service": "${match(1)}", "Tags": ["${name.suffix}"], "Failover": {"Datacenters": ["dc1", "dc2"]}},
}
_TXN_VERBS: list[Any] = [
    {"KV": {"Verb": "check-not-exists", "Key": "gen/none"}},
    {"KV": {"Verb": "lock", "Key": "gen/lock", "Session": "$session", "Value": "bG9jaw=="}},
    {"KV": {"Verb": "check-session", "Key": "gen/lock", "Session": "$session"}},
    {"KV": {"Verb": "unlock", "Key": "gen/lock", "Session": "$session"}},
    {"KV": {"Verb": "get-tree", "Key": "gen/"}},
    {"KV": {"Verb": "delete-tree", "Key": "gen/b"}},
    {"Node": {"Verb": "get", "Node": {"Node": "web1"}}},
    {"Service": {"Verb": "get", "Node": "web1", "Service": {"ID": "web"}}},
    {"Check": {"Verb": "get", "Check": {"Node": "web1", "CheckID": "alive"}}},
    {"Service": {"Verb": "delete", "Node": "web2", "Service": {"ID": "web-b"}}},
    {"Check": {"Verb": "delete", "Check": {"Node": "web2", "CheckID": "node"}}},
    {"Node": {"Verb": "cas", "Node": {"Node": "web1", "Address": "10.9.0.9", "ModifyIndex": 1}}},
]
_ENTRIES: tuple[dict[str, Any], ...] = (
    {
        "Kind": "proxy-defaults",
        "Name": "global",
        "Config": {"protocol": "http", "n": 1.5},
        "MeshGateway": {"Mode": "none"},
    },
    {
        "Kind": "service-router",
        "Name": "web",
        "Routes": [
            {
                "Match": {"HTTP": {"PathPrefix": "/a", "Header": [{"Name": "x", "Exact": "1"}], "Methods": ["GET"]}},
                "Destination": {"Service": "other", "RequestTimeout": "5s", "NumRetries": 2, "PrefixRewrite": "/"},
            }
        ],
    },
    {
        "Kind": "service-splitter",
        "Name": "web",
        "Splits": [{"Weight": 90, "Service": "web"}, {"Weight": 10.0, "Service": "other", "ServiceSubset": ""}],
    },
    {
        "Kind": "ingress-gateway",
        "Name": "ingress",
        "TLS": {"Enabled": False},
        "Listeners": [{"Port": 8080, "Protocol": "http", "Services": [{"Name": "web", "Hosts": ["web.example"]}]}],
    },
    {
        "Kind": "terminating-gateway",
        "Name": "terminating",
        "Services": [{"Name": "db", "CAFile": "/ca", "CertFile": "/cert", "KeyFile": "/key", "SNI": "db.example"}],
    },
)
_COORDINATE = {"Node": "web1", "Coord": {"Vec": [0.1] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": 0.00001}}
_PLACES = ("node-meta=rack:a", "near=_agent", "near=web1")
_WHERE = "/v1/agent/"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("/v1/status/leader"),
    Endpoint("/v1/status/peers"),
    Endpoint(
        "/v1/kv/",
        ("GET", "PUT", "DELETE"),
        ("gen/a", "gen/b/c", "gen/", "gen/none", "gen/%C3%A9"),
        (
            "raw",
            "recurse",
            "keys",
            "keys&separator=/",
            "cas=0",
            "cas=1",
            "flags=7",
            "acquire=$session",
            "release=$session",
        ),
        b"value",
        blocking=True,
    ),
    Endpoint("/v1/catalog/register", ("PUT",), body=_register(Service=_SERVICE, Check=_CHECK)),
    Endpoint(
        "/v1/catalog/register",
        ("PUT",),
        body=_register(
            ID=UNKNOWN,
            TaggedAddresses={"lan": "10.8.0.1"},
            NodeMeta={"rack": "z"},
            SkipNodeUpdate=False,
            Datacenter="dc1",
            WriteRequest={"Token": ""},
        ),
    ),
    Endpoint(
        "/v1/catalog/register",
        ("PUT",),
        body=_register(
            Service={**_PROXY, "Service": "made-proxy"},
            Checks=[{**_CHECK, "ServiceID": ""}, {"Name": "second", "Status": "passing"}],
        ),
    ),
    Endpoint(
        "/v1/catalog/deregister",
        ("PUT",),
        body={"Node": "web2", "Datacenter": "dc1", "CheckID": "node", "ServiceID": "", "Namespace": ""},
    ),
    Endpoint("/v1/catalog/datacenters"),
    Endpoint("/v1/catalog/nodes", query=_PLACES, field="Meta.rack==a", blocking=True),
    Endpoint("/v1/catalog/services", query=_PLACES[:1], blocking=True, unordered=True),
    Endpoint(
        "/v1/catalog/service/",
        parts=("web", "consul", "none"),
        query=("tag=v1", "tag=v1&tag=eu", *_PLACES),
        field="ServicePort==80",
        blocking=True,
    ),
    Endpoint("/v1/catalog/connect/", parts=("web", "none"), query=_PLACES, field="ServicePort==80", blocking=True),
    Endpoint("/v1/catalog/node/", parts=("web1", "bare", "none"), field="Port==80", blocking=True),
    Endpoint("/v1/catalog/node-services/", parts=("web1", "bare", "none"), field="Port==80", blocking=True),
    Endpoint("/v1/health/node/", parts=("web1", "bare", "none"), field="Status==passing", blocking=True),
    Endpoint("/v1/health/checks/", parts=("web", "none"), query=_PLACES, field="Status==passing", blocking=True),
    Endpoint(
        "/v1/health/state/",
        parts=("any", "passing", "warning", "critical", "nonsense"),
        query=_PLACES,
        field="Status==passing",
        blocking=True,
    ),
    Endpoint(
        "/v1/health/service/",
        parts=("web", "consul", "none"),
        query=("passing", "passing=false", "tag=v1", *_PLACES),
        field="Service.Port==80",
        blocking=True,
    ),
    Endpoint("/v1/health/connect/", parts=("web", "none"), query=("passing",), field="Service.Port==80", blocking=True),
    Endpoint(_WHERE + "self", shape=True),
    Endpoint(_WHERE + "members", query=("wan=1", "wan", "segment=_all")),
    Endpoint(_WHERE + "join/", ("PUT",), query=("wan=1",), never=("PUT",)),
    Endpoint(_WHERE + "leave", ("PUT",), never=("PUT",)),
    Endpoint(_WHERE + "force-leave/", ("PUT",), ("nobody",), query=("prune",)),
    Endpoint(_WHERE + "reload", ("PUT",)),
    Endpoint(_WHERE + "monitor", query=("loglevel=loud",), never=("GET", "HEAD")),
    Endpoint(_WHERE + "services", field="Service==local", unordered=True),
    Endpoint(_WHERE + "checks", field="Status==passing", unordered=True),
    Endpoint(_WHERE + "service/", parts=("local-1", "local-2", "none"), query=("hash=0", "hash=0&wait=10ms")),
    Endpoint(_WHERE + "service/register", ("PUT",), query=("replace-existing-checks=true",), body=_LOCAL_SERVICE),
    Endpoint(_WHERE + "service/register", ("PUT",), body=_PROXY),
    Endpoint(_WHERE + "service/register", ("PUT",), body=_SIDECAR),
    Endpoint(_WHERE + "service/deregister/", ("PUT",), ("local-1", "none")),
    Endpoint(
        _WHERE + "service/maintenance/",
        ("PUT",),
        ("local-1", "none"),
        ("enable=true", "enable=false", "enable=true&reason=why"),
    ),
    Endpoint(_WHERE + "maintenance", ("PUT",), query=("enable=true", "enable=false", "enable=true&reason=why")),
    Endpoint(
        _WHERE + "health/service/id/", parts=("local-1", "local-2", "none"), query=("format=text",), unordered=True
    ),
    Endpoint(_WHERE + "health/service/name/", parts=("local", "none"), query=("format=text",), unordered=True),
    Endpoint(_WHERE + "check/register", ("PUT",), body=_LOCAL_CHECK),
    *(Endpoint(_WHERE + "check/register", ("PUT",), body=check) for check in _LOCAL_CHECKS),
    Endpoint(_WHERE + "check/deregister/", ("PUT",), ("local-ttl", "none")),
    Endpoint(_WHERE + "check/pass/", ("PUT",), ("local-ttl", "local-http", "none"), ("note=fine",)),
    Endpoint(_WHERE + "check/warn/", ("PUT",), ("local-ttl", "none"), ("note=so-so",)),
    Endpoint(_WHERE + "check/fail/", ("PUT",), ("local-ttl", "none"), ("note=bad",)),
    Endpoint(
        _WHERE + "check/update/",
        ("PUT",),
        ("local-ttl", "local-http", "none"),
        body={"Status": "passing", "Output": "all is well"},
    ),
    Endpoint("/v1/session/create", ("PUT",), body=_SESSION),
    Endpoint("/v1/session/destroy/", ("PUT",), ("$session", UNKNOWN)),
    Endpoint("/v1/session/renew/", ("PUT",), ("$session", UNKNOWN)),
    Endpoint("/v1/session/info/", parts=("$session", UNKNOWN), blocking=True),
    Endpoint("/v1/session/node/", parts=("node1", "none"), blocking=True, unordered=True),
    Endpoint("/v1/session/list", blocking=True, unordered=True),
    Endpoint("/v1/txn", ("PUT",), body=_TXN),
    Endpoint("/v1/txn", ("PUT",), body=_TXN[:2]),
    Endpoint("/v1/txn", ("PUT",), body=_TXN_VERBS),
    Endpoint("/v1/coordinate/datacenters"),
    Endpoint("/v1/coordinate/nodes", query=("segment=", "segment=x"), blocking=True),
    Endpoint("/v1/coordinate/node/", parts=("web1", "none"), query=("segment=",), blocking=True),
    Endpoint("/v1/coordinate/update", ("PUT",), body=_COORDINATE),
    Endpoint(
        "/v1/event/fire/",
        ("PUT",),
        ("deploy",),
        ("node=node1", "service=web", "tag=v1", "service=web&tag=v1"),
        b"payload",
    ),
    Endpoint("/v1/event/list", query=("name=deploy", "name=none", "node=node1", "service=web", "service=web&tag=v1")),
    Endpoint("/v1/query", ("GET", "POST"), body=_QUERY, blocking=True, unordered=True),
    Endpoint("/v1/query", ("POST",), body=_TEMPLATE, unordered=True),
    Endpoint("/v1/query/", ("GET", "PUT", "DELETE"), ("$query", UNKNOWN), body=_QUERY, blocking=True),
    Endpoint(
        "/v1/query/",
        ("GET",),
        ("$query/execute", "find-web/execute", "none/execute", UNKNOWN + "/execute"),
        ("limit=1", "limit=x", "near=_agent", "connect=true", "connect=x"),
    ),
    Endpoint("/v1/query/", ("GET",), ("$query/explain", "find-web/explain", "none/explain")),
    Endpoint("/v1/config", ("PUT",), query=("cas=0", "cas=1"), body=_DEFAULTS),
    Endpoint("/v1/config", ("PUT",), query=("cas=0",), body=_RESOLVER),
    *(Endpoint("/v1/config", ("PUT",), body=entry) for entry in _ENTRIES),
    Endpoint(
        "/v1/config/",
        ("GET", "DELETE"),
        ("service-defaults/web", "service-defaults", "proxy-defaults/global", "service-router/none", "nope/web"),
        blocking=True,
    ),
    Endpoint("/v1/snapshot", ("GET", "PUT"), query=("stale",), never=("GET", "HEAD"), body=b"no archive"),
    Endpoint("/v1/operator/raft/configuration", query=("stale",)),
)
