"""Random config entries and prepared queries, each as the HTTP request a real Consul takes and as the Raft command our
FSM takes. Many do not fit together and are refused when they are applied."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from typing import Any

from shared.structs import wire
from shared.structs.config_entry_rules import decode_entry, normalize
from shared.structs.config_entry_wire import DELETE, UPSERT, UPSERT_CAS, ConfigEntryRequest
from shared.structs.prepared_query import PreparedQuery, PreparedQueryRequest
from shared.structs.session import Session, SessionRequest
from shared.structs.weak_decode import json_numbers
from tests.interop.random_writes import Write

NAMES = ["web", "Web", "api", "db"]
KINDS = ["service-defaults", "proxy-defaults", "service-router", "service-splitter", "service-resolver"]
KINDS += ["ingress-gateway", "terminating-gateway"]
QUERY_NAMES = ["q", "Q", "geo-", "geo-db-", "", "other"]


class Entries:
    """Makes writes. `last_index()` gives a number that is sometimes an entry's."""

    def __init__(self, rng: random.Random, last_index: Callable[[], int]) -> None:
        self._rng, self._last_index = rng, last_index
        self.sessions: list[str] = []
        self.queries: list[str] = []

    def next(self) -> Write:
        pick = self._rng.random()
        if pick < 0.6:
            return self._entry()
        return self._query() if pick < 0.9 else self._session()

    # -- config entries -------------------------------------------------------------------------

    def _entry(self) -> Write:
        rng = self._rng
        kind = rng.choice(KINDS)
        fields = {"Kind": kind, "Name": rng.choice(NAMES), **self._fields(kind)}
        entry = decode_entry(json_numbers(fields))
        normalize(entry)
        if rng.random() < 0.25:
            command = ConfigEntryRequest(DELETE, entry, "dc1").to_command()
            return Write("DELETE", f"/v1/config/{kind}/{fields['Name']}", b"", lambda _answer: command)
        operation, query = UPSERT, ""
        if rng.random() < 0.2:
            operation, entry.modify_index = UPSERT_CAS, rng.choice([0, self._last_index()])
            query = f"?cas={entry.modify_index}"
        command = ConfigEntryRequest(operation, entry, "dc1").to_command()
        return Write("PUT", f"/v1/config{query}", json.dumps(fields).encode(), lambda _answer: command)

    def _fields(self, kind: str) -> dict[str, Any]:
        rng = self._rng
        made: dict[str, Any] = {}
        if rng.random() < 0.2:
            made["Meta"] = rng.choice([{}, {"a": "b", "c": ""}])
        if kind in ("service-defaults", "proxy-defaults"):
            protocol = rng.choice(["http", "http", "http", "tcp", "grpc", ""])
            made["MeshGateway"] = {"Mode": rng.choice(["", "local"])}
            if rng.random() < 0.3:
                made["Expose"] = {"Checks": True, "Paths": [{"Path": "/m", "ListenerPort": 1, "LocalPathPort": 2}]}
            if kind == "service-defaults":
                return made | {"Protocol": protocol, "ExternalSNI": rng.choice(["", "", "", "sni"])}
            return made | {"Config": rng.choice([None, {}, {"protocol": protocol, "n": 7, "deep": {"f": [0.5, "x"]}}])}
        if kind == "service-router":
            return made | {"Routes": [self._route() for _ in range(rng.choice([0, 1, 2]))]}
        if kind == "service-splitter":
            weights = rng.choice([[100], [33.33, 66.67], [0.01, 99.99], [50, 50]])
            return made | {"Splits": [{"Weight": weight} | self._target() for weight in weights]}
        if kind == "service-resolver":
            return made | self._resolver()
        if kind == "ingress-gateway":
            service = {"Name": rng.choice(NAMES)} | rng.choice([{}, {"Hosts": ["a.example"]}])
            protocol = rng.choice(["http", "tcp", "grpc"])
            return made | {"Listeners": [{"Port": 8080, "Protocol": protocol, "Services": [service]}]}
        linked = {"Name": rng.choice(NAMES)} | rng.choice([{}, {"CAFile": "ca", "SNI": "sni"}])
        return made | {"Services": rng.choice([None, [], [linked]])}

    def _target(self) -> dict[str, Any]:
        return {"Service": self._rng.choice(["", *NAMES]), "ServiceSubset": self._rng.choice(["", "", "", "v1"])}

    def _route(self) -> dict[str, Any]:
        match = {"HTTP": {"PathPrefix": "/x", "Header": [{"Name": "h", "Present": True}], "Methods": ["get"]}}
        destination = {"RequestTimeout": "3s", "NumRetries": 2, "RetryOnStatusCodes": [500], **self._target()}
        return self._rng.choice([{}, {"Match": match}, {"Destination": destination}])

    def _resolver(self) -> dict[str, Any]:
        rng, subsets = self._rng, {"v1": {"Filter": "a == b", "OnlyPassing": True}, "v2": {}}
        return rng.choice(
            [
                {},
                {"Subsets": subsets, "DefaultSubset": rng.choice(["", "v1"]), "ConnectTimeout": "1m30s"},
                {"Redirect": {"Service": rng.choice(NAMES)}},
                {"Redirect": {"Datacenter": "dc2"}},
                {"Subsets": subsets, "Failover": {"*": {"Datacenters": ["dc2"]}, "v1": {"Service": rng.choice(NAMES)}}},
            ]
        )

    # -- prepared queries -----------------------------------------------------------------------

    def _query(self) -> Write:
        rng = self._rng
        known = rng.choice(self.queries or [""])
        if known and rng.random() < 0.2:
            request = PreparedQueryRequest("dc1", "delete", PreparedQuery(id=known))
            return Write("DELETE", f"/v1/query/{known}", b"", lambda _answer: _packed(request))
        body = self._definition()
        query = PreparedQuery.from_json(body)
        if known and rng.random() < 0.4:
            query.id = known
            request = PreparedQueryRequest("dc1", "update", query)
            return Write("PUT", f"/v1/query/{known}", json.dumps(body).encode(), lambda _answer: _packed(request))

        def command_for(answer: bytes) -> bytes:
            query.id = str(uuid.UUID(int=rng.getrandbits(128)))
            if answer.lstrip().startswith(b"{"):
                query.id = json.loads(answer)["ID"]
                self.queries.append(query.id)
            return _packed(PreparedQueryRequest("dc1", "create", query))

        return Write("POST", "/v1/query", json.dumps(body).encode(), command_for)

    def _definition(self) -> dict[str, Any]:
        rng = self._rng
        body: dict[str, Any] = {"Name": rng.choice([*QUERY_NAMES, *self.queries[:1]])}
        if rng.random() < 0.3:
            body["Session"] = rng.choice([*self.sessions, str(uuid.UUID(int=9))])
        if rng.random() < 0.4:
            body["Template"] = {"Type": "name_prefix_match", "Regexp": rng.choice(["", "^geo-(.*)$", "("])}
        service = rng.choice(["web", "${name.suffix}", "${match(1)}", "${nope}", "${"])
        body["Service"] = {"Service": service} | rng.choice(
            [
                {},
                {"Tags": ["a", "!b"], "NodeMeta": {"r": "1"}, "OnlyPassing": True, "IgnoreCheckIDs": ["c"]},
                {"Failover": {"NearestN": 2, "Datacenters": ["dc2"]}, "Near": "_agent", "ServiceMeta": {}},
            ]
        )
        return body | rng.choice([{}, {"DNS": {"TTL": "10s"}}, {"Token": "t"}])

    # -- sessions -------------------------------------------------------------------------------

    def _session(self) -> Write:
        rng = self._rng
        if self.sessions and rng.random() < 0.5:
            ended = self.sessions.pop(rng.randrange(len(self.sessions)))
            command = b"\x03" + wire.pack(SessionRequest("dc1", "destroy", Session(id=ended)).to_wire())
            return Write("PUT", f"/v1/session/destroy/{ended}", b"", lambda _answer: command)
        session = Session(name="x", node="real", behavior="release", node_checks=[])
        body = session.to_json() | {"LockDelay": 0}

        def command_for(answer: bytes) -> bytes:
            made: str = json.loads(answer)["ID"]
            self.sessions.append(made)
            request = SessionRequest("dc1", "create", session.replace(id=made))
            return b"\x03" + wire.pack(request.to_wire())

        return Write("PUT", "/v1/session/create", json.dumps(body).encode(), command_for)


def _packed(request: PreparedQueryRequest) -> bytes:
    packed: bytes = wire.pack(request.to_wire())
    return b"\x07" + packed
