"""Random filter expressions, right and wrong ones, and random records to filter. The same seed gives the same."""

from __future__ import annotations

import json
import random
from typing import Any

NESTING_MAX = 3
"""The real Consul takes time and memory that grow exponentially with nested parentheses."""

_COMMON = ["Node", "Address", "Datacenter", "ID", "Meta.rack", "TaggedAddresses.lan", "CreateIndex", "Nope", "node"]
_NODE_SERVICE = [
    "Service", "ID", "Tags", "Port", "Address", "Meta", "Meta.v", 'Meta["odd-key"]', "Weights.Passing",
    "EnableTagOverride", "TaggedAddresses.wan.Address", "TaggedAddresses.wan.Port", "Kind", "Connect.Native",
    "Proxy.DestinationServiceName", "Proxy.Upstreams", "Proxy.Upstreams.DestinationName", "Proxy.Config",
    "Proxy.MeshGateway.Mode", "Proxy.Expose.Checks", "Proxy.Expose.Paths.Path", "Weights", "ModifyIndex",
]  # fmt: skip
_CHECK = ["Node", "CheckID", "Name", "Status", "Notes", "Output", "ServiceID", "ServiceName", "ServiceTags", "Type",
          "Definition", "Definition.HTTP", "Namespace"]  # fmt: skip
SELECTORS: dict[str, list[str]] = {
    "/v1/catalog/nodes": ["Node", "Datacenter", "Meta.rack", "CreateIndex", "Nope", "node", "Meta", "TaggedAddresses"],
    "/v1/catalog/service/web": [
        *_COMMON, "ServiceName", "ServiceID", "ServiceTags", "ServicePort", "ServiceAddress", "ServiceMeta",
        "ServiceMeta.v", "NodeMeta.rack", "ServiceWeights.Passing", "ServiceEnableTagOverride", "ServiceKind",
        "ServiceTaggedAddresses.wan.Port", "ServiceProxy.Upstreams.LocalBindPort", "ServiceConnect.Native",
    ],
    "/v1/catalog/node/filter1": _NODE_SERVICE,
    "/v1/catalog/node-services/filter2": _NODE_SERVICE,
    "/v1/health/node/filter1": _CHECK,
    "/v1/health/checks/web": _CHECK,
    "/v1/health/state/any": _CHECK,
    "/v1/health/service/web": [
        *(f"Node.{each}" for each in _COMMON), *(f"Service.{each}" for each in _NODE_SERVICE),
        *(f"Checks.{each}" for each in _CHECK), "Checks", "Node", "Service",
    ],
    "/v1/catalog/connect/web": ["ServiceName", "Node"],
    # The real one ends a connection without an answer when a filter looks into a proxy that is not there.
    "/v1/agent/services": [
        *(each for each in _NODE_SERVICE if not each.startswith(("Proxy.", "Connect."))),
        "ContentHash", "Datacenter", "SocketPath", "CreateIndex", "Namespace", "Proxy.Nope",
    ],
    "/v1/agent/checks": _CHECK,
    "/v1/catalog/services": ["ServiceName"],
    "/v1/session/list": ["Name"],
}  # fmt: skip
"""Endpoints with what may be selected there; the last two know no filter. All nodes are shown with those of the agents
themselves, whose addresses and ids differ."""

_TEXTS = ["web", "filter1", "a", "v1", "", "80", "10.46.0.1", "passing", "true", "dc1", "r1", "wan", "rack", "\\", "é"]
_PATTERNS = ["^w", "1$", "a|b", "[0-9]+", "(", "*", "[", "\\d", "(?i)WEB", ".", "", "\\Q.\\E", "a{2", "\\p{L}", "x**"]
_BARE = ["web", "80", "0", "-1", "1.5", "007", "true", "passing", "a.b", "1a", "18446744073709551616", "_x", "é"]


class Filters:
    """Source of expressions and records."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def expression(self, endpoint: str, depth: int = 0) -> str:
        rng = self._rng
        draw = rng.random()
        if depth < NESTING_MAX and draw < 0.12:
            return f"({self._space()}{self.expression(endpoint, depth + 1)}{self._space()})"
        if depth < NESTING_MAX and draw < 0.22:
            return "not " + self.expression(endpoint, depth + 1)
        if depth < NESTING_MAX and draw < 0.42:
            left, right = (self.expression(endpoint, depth + 1) for _ in range(2))
            return f"{left} {rng.choice(['and', 'or'])} {right}"
        match = self._match(rng.choice(SELECTORS[endpoint]))
        return self._damaged(match) if rng.random() < 0.06 else match

    def _match(self, selector: str) -> str:
        rng = self._rng
        kind = rng.randrange(5)
        if kind == 0:
            return f"{selector}{self._gap()}{rng.choice(['==', '!='])}{self._gap()}{self._literal()}"
        if kind == 1:
            return f"{selector} is {rng.choice(['', 'not '])}empty"
        if kind == 2:
            return f"{self._literal()} {rng.choice(['', 'not '])}in {selector}"
        if kind == 3:
            return f"{selector} {rng.choice(['', 'not '])}contains {self._literal()}"
        return f"{selector} {rng.choice(['', 'not '])}matches {_quoted(rng.choice(_PATTERNS), rng)}"

    def _literal(self) -> str:
        rng = self._rng
        return rng.choice(_BARE) if rng.random() < 0.4 else _quoted(rng.choice(_TEXTS), rng)

    def _gap(self) -> str:
        return self._rng.choice(["", " ", " ", "  ", "\t"])

    def _space(self) -> str:
        return self._rng.choice(["", "", " ", "\n"])

    def _damaged(self, text: str) -> str:
        rng = self._rng
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice(["", '"', ")", "[", ".", " ", "=", "\\", "\x7f"]) + text[at + rng.randrange(3) :]

    def local_services(self) -> list[dict[str, Any]]:
        """Bodies for /v1/agent/service/register."""
        services = [self._registration(1, instance)["Service"] for instance in range(3)]
        check = {"TTL": "1h", "Status": "passing"}
        return [{"Name": each.pop("Service"), **each, "Check": check} for each in services]

    def registrations(self, nodes: int) -> list[dict[str, Any]]:
        """Bodies for /v1/catalog/register: nodes filter1, filter2 ... each with instances of web and their checks."""
        return [self._registration(number, instance) for number in range(1, nodes + 1) for instance in range(3)]

    def _registration(self, number: int, instance: int) -> dict[str, Any]:
        rng = self._rng
        service: dict[str, Any] = {
            "ID": f"web-{instance}",
            "Service": "web",
            "Tags": rng.choice([None, [], ["v1"], ["a", "v1"], ["é x"]]),
            "Port": rng.choice([0, 80, 8080]),
            "Address": rng.choice(["", "10.46.1.1", "web.example.com"]),
            "Meta": rng.choice([None, {}, {"v": "1"}, {"v": "", "odd-key": "a"}]),
            "EnableTagOverride": rng.random() < 0.5,
        }
        if rng.random() < 0.5:
            service["Weights"] = {"Passing": rng.randrange(1, 4), "Warning": 1}
        if rng.random() < 0.5:
            service["TaggedAddresses"] = {"wan": {"Address": "1.2.3.4", "Port": 80}}
        if rng.random() < 0.4:
            service["Connect"] = {"Native": True}
        elif rng.random() < 0.4:
            service |= {"Kind": "connect-proxy", "Port": 90, "Proxy": {
                "DestinationServiceName": "web", "Config": {"a": 1},
                "Upstreams": [{"DestinationName": "db", "LocalBindPort": rng.choice([80, 1234])}],
                "Expose": {"Checks": True, "Paths": [{"Path": "/a", "ListenerPort": 80, "LocalPathPort": 81}]},
            }}  # fmt: skip
        status = rng.choice(["passing", "warning", "critical"])
        return {
            "Node": f"filter{number}",
            "Address": f"10.46.0.{number}",
            "NodeMeta": {"rack": f"r{number % 2}"},
            "TaggedAddresses": {"lan": f"10.46.0.{number}"},
            "Service": service,
            "Checks": [
                {"CheckID": f"c{instance}", "Name": "a check", "Status": status, "ServiceID": f"web-{instance}"},
                {"CheckID": "node", "Name": "node", "Status": "passing", "Output": "80 é x"},
            ],
        }


def _quoted(text: str, rng: random.Random) -> str:
    return f"`{text}`" if rng.random() < 0.3 and "`" not in text else json.dumps(text, ensure_ascii=False)
