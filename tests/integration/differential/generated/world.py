"""What both agents hold while generated requests are sent, and the way back to it after writes.

World(agent).restore() removes everything else and puts this there; `values` then has the ids that only this agent
knows: {"session": ..., "query": ...}.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from tests.agents import Agent, RealConsul, Response, wait_until

WEB1: dict[str, Any] = {
    "Node": "web1",
    "Address": "10.9.0.1",
    "NodeMeta": {"rack": "a"},
    "Service": {"Service": "web", "Tags": ["v1", "eu"], "Port": 80, "Meta": {"k": "v"}},
    "Checks": [
        {"CheckID": "alive", "Name": "alive", "Status": "passing", "ServiceID": "web", "Output": "ok"},
        {"CheckID": "node", "Name": "node", "Status": "passing"},
    ],
}
WEB2: dict[str, Any] = {
    "Node": "web2",
    "Address": "10.9.0.2",
    "NodeMeta": {"rack": "b"},
    "Service": {"ID": "web-b", "Service": "web", "Address": "10.9.1.2", "Port": 8080},
    "Checks": [
        {"CheckID": "bad", "Name": "bad", "Status": "critical", "ServiceID": "web-b"},
        {"CheckID": "node", "Name": "node", "Status": "warning"},
    ],
}
BARE = {"Node": "bare", "Address": "10.9.0.3", "TaggedAddresses": {"lan": "10.9.0.3", "wan": "1.2.3.4"}}
NEVER = "100000h"
"""A check is tried for the first time after a random part of its interval: not while the agents live, or only one of
them would say why it has failed."""
LOCAL: tuple[dict[str, Any], ...] = (
    {
        "ID": "local-1",
        "Name": "local",
        "Tags": ["a"],
        "Port": 8080,
        "Checks": [
            {"CheckID": "local-ttl", "Name": "alive", "TTL": "1h", "Status": "passing"},
            {"CheckID": "local-http", "Name": "web", "HTTP": "http://127.0.0.1:1/", "Interval": NEVER},
        ],
    },
    {"ID": "local-2", "Name": "local", "Port": 8081, "Meta": {"version": "2"}},
)
KEYS = {"gen/a": b"a", "gen/b/c": b"c", "gen/%C3%A9": b"accent"}
KINDS = (
    "service-router",
    "service-splitter",
    "service-resolver",
    "ingress-gateway",
    "terminating-gateway",
    "service-defaults",
    "proxy-defaults",
)
"""Those that others depend on come last."""


class World:
    def __init__(self, agent: Agent | RealConsul) -> None:
        self._agent = agent
        self.values: dict[str, str] = {}

    def restore(self) -> None:
        """Raises AssertionError if the agent does not take it."""
        self._clear_local()
        self._clear_cluster()
        for registration in (WEB1, WEB2, BARE):
            self._must("PUT", "/v1/catalog/register", registration)
        for service in LOCAL:
            self._must("PUT", "/v1/agent/service/register", service)
        for key, value in KEYS.items():
            self._must("PUT", f"/v1/kv/{key}", value)
        self._must("PUT", "/v1/config", {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
        session = {"Node": self._agent.node_name, "Name": "gen", "LockDelay": "0s", "NodeChecks": []}
        self.values["session"] = self._must("PUT", "/v1/session/create", session).json()["ID"]
        query = {"Name": "find-web", "Service": {"Service": "web"}}
        self.values["query"] = self._must("POST", "/v1/query", query).json()["ID"]
        self.wait_synced()

    def wait_synced(self) -> None:
        """Waits until the catalog says of this node what the agent says."""
        name = self._agent.node_name

        def synced() -> bool:
            services = self._get("/v1/agent/services")
            checks = self._get("/v1/agent/checks")
            known = {each["ID"]: each for each in self._get(f"/v1/catalog/node-services/{name}")["Services"]}
            found = {each["CheckID"]: each for each in self._get(f"/v1/health/node/{name}")}
            return (
                set(services) == set(known) - {"consul"}
                and all(services[each]["Port"] == known[each]["Port"] for each in services)
                and set(checks) == set(found) - {"serfHealth"}
                and all(checks[each]["Status"] == found[each]["Status"] for each in checks)
            )

        wait_until(synced, what="the catalog to hold what the agent registered")

    def _clear_local(self) -> None:
        self._agent.http("PUT", "/v1/agent/maintenance?enable=false")
        for service_id in self._get("/v1/agent/services"):
            self._agent.http("PUT", "/v1/agent/service/deregister/" + _quote(service_id))
        for check_id in self._get("/v1/agent/checks"):
            self._agent.http("PUT", "/v1/agent/check/deregister/" + _quote(check_id))

    def _clear_cluster(self) -> None:
        self._must("DELETE", "/v1/kv/?recurse")
        for session in self._get("/v1/session/list"):
            self._must("PUT", f"/v1/session/destroy/{session['ID']}")
        for query in self._get("/v1/query"):
            self._must("DELETE", f"/v1/query/{query['ID']}")
        for kind in KINDS:
            for entry in self._get(f"/v1/config/{kind}") or ():
                self._must("DELETE", f"/v1/config/{kind}/{_quote(entry['Name'])}")
        for node in self._get("/v1/catalog/nodes"):
            if node["Node"] != self._agent.node_name:
                self._must("PUT", "/v1/catalog/deregister", {"Node": node["Node"]})

    def _must(self, method: str, path: str, body: Any = None) -> Response:
        answer = self._agent.http(method, path, body)
        assert answer.status == 200, f"{method} {path} {body}: {answer}"
        return answer

    def _get(self, path: str) -> Any:
        answer = self._agent.http("GET", path)
        with contextlib.suppress(json.JSONDecodeError):
            return answer.json()
        raise AssertionError(f"GET {path}: {answer}")


def _quote(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
