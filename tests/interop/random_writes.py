"""Random writes, each as the HTTP request a real Consul takes and as the Raft command our FSM takes."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from shared.structs import wire
from shared.structs.catalog import DeregisterRequest, HealthCheck, Node, NodeService, RegisterRequest
from shared.structs.kv import DirEntry, KVSRequest
from shared.structs.proxy import Weights
from shared.structs.session import Session, SessionRequest
from shared.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnRequest, TxnServiceOp

KEYS = ["a", "a/b", "a/c", "b", "a/b/d", "x/1", "x/2"]
NODES = ["n1", "N1", "n2", "n3"]
SERVICES = ["web", "Web", "db", "cache"]
SERVICE_IDS = ["s1", "s2", "S1"]
NODE_IDS = [str(uuid.UUID(int=n + 1)) for n in range(3)]
VERBS = ["get", "set", "cas", "delete", "delete-cas"]
KV_VERBS = ["set", "cas", "delete", "delete-cas", "delete-tree", "get", "get-tree", "check-index"]
KV_VERBS += ["check-session", "check-not-exists", "lock", "unlock"]


class Write(NamedTuple):
    """command(answer) makes the command once the HTTP answer is known: a session's id comes from there."""

    method: str
    path: str
    body: bytes | None
    command: Callable[[bytes], bytes]


class Writes:
    """Makes writes. `modify_index(key)` and `last_index()` give numbers that are sometimes right.

    No node here has a check of the name serfHealth: once a minute a leader removes nodes that have one and that gossip
    does not know."""

    def __init__(self, rng: random.Random, modify_index: Callable[[str], int], last_index: Callable[[], int]) -> None:
        self._rng, self._modify_index, self._last_index = rng, modify_index, last_index
        self.sessions: list[str] = []

    def next(self) -> Write:
        pick = self._rng.random()
        if pick < 0.42:
            return self._kv()
        if pick < 0.55:
            return self._session()
        if pick < 0.82:
            return self._register()
        if pick < 0.88:
            return self._deregister()
        return self._txn()

    def _kv(self) -> Write:
        rng, key = self._rng, self._rng.choice(KEYS)
        value = rng.choice([b"", b"1", b"22"])
        op = rng.choice(["set", "set", "set", "cas", "cas", "delete", "delete-tree", "delete-cas", "lock", "unlock"])
        entry = DirEntry(key=key, value=value or None)
        method, query, body = "PUT", "", value
        if op == "set":
            entry.flags = rng.choice([0, 0, 7])
            query = f"?flags={entry.flags}"
        elif op in ("cas", "delete-cas"):
            entry.modify_index = rng.choice([1, self._modify_index(key), 0 if op == "cas" else 5])
            query = f"?cas={entry.modify_index}"
        elif op in ("lock", "unlock"):
            entry.session = rng.choice(self.sessions or [str(uuid.UUID(int=9))])
            query = f"?{'acquire' if op == 'lock' else 'release'}={entry.session}"
        if op.startswith("delete"):
            method, body, entry.value = "DELETE", b"", None
        if op == "delete-tree":
            entry.key, query = rng.choice(["a/", "x", "zz", "a"]), "?recurse"
        command = b"\x02" + wire.pack(KVSRequest("dc1", op, entry).to_wire())
        return Write(method, f"/v1/kv/{entry.key}{query}", body, lambda _answer: command)

    def _session(self) -> Write:
        rng = self._rng
        if self.sessions and rng.random() < 0.4:
            ended = rng.choice(self.sessions)
            command = b"\x03" + wire.pack(SessionRequest("dc1", "destroy", Session(id=ended)).to_wire())
            return Write("PUT", f"/v1/session/destroy/{ended}", b"", lambda _answer: command)
        session = Session(
            name="x",
            node=rng.choice(["n1", "n2", "n3", "real"]),
            behavior=rng.choice(["release", "delete"]),
            node_checks=rng.choice([[], [], ["c1"], ["c3"], ["serfHealth"]]),
        )
        body = session.to_json() | {"LockDelay": 0}

        def command_for(answer: bytes) -> bytes:
            # A refused session has taken a log entry too; its id is not known, and does not matter.
            made = str(uuid.UUID(int=rng.getrandbits(128)))
            if answer.startswith(b"{"):
                made = json.loads(answer)["ID"]
                self.sessions.append(made)
            request = SessionRequest("dc1", "create", session.replace(id=made))
            return b"\x03" + wire.pack(request.to_wire())

        return Write("PUT", "/v1/session/create", json.dumps(body).encode(), command_for)

    def _register(self) -> Write:
        rng = self._rng
        body: dict[str, Any] = {"Datacenter": "dc1", **self._node()}
        if rng.random() < 0.6:
            body["Service"] = self._service()
        if rng.random() < 0.5:
            body["Checks"] = [self._check(body["Node"]) for _ in range(rng.choice([1, 1, 2]))]
        if rng.random() < 0.2:
            body["SkipNodeUpdate"] = True
        command = b"\x00" + wire.pack(RegisterRequest.from_json(body).to_wire())
        return Write("PUT", "/v1/catalog/register", json.dumps(body).encode(), lambda _answer: command)

    def _maybe(self, **choices: list[Any]) -> dict[str, Any]:
        """Fields with a random value each; None leaves the field out."""
        chosen = {name: self._rng.choice(values) for name, values in choices.items()}
        return {name: value for name, value in chosen.items() if value is not None}

    def _node(self) -> dict[str, Any]:
        rng = self._rng
        return {"Node": rng.choice(NODES), "Address": rng.choice(["10.0.0.1", "10.0.0.2"])} | self._maybe(
            ID=[None, *NODE_IDS],
            NodeMeta=[None, {}, {"r": "1"}],
            TaggedAddresses=[None, {}, {"lan": "1.1.1.1"}],
        )

    def _service(self) -> dict[str, Any]:
        rng = self._rng
        body = {"ID": rng.choice(SERVICE_IDS), "Service": rng.choice(SERVICES)} | self._maybe(
            Tags=[None, [], ["a"], ["a", "B"]],
            Meta=[None, None, {}, {"k": "v"}, {"k": "v", "z": "y"}, {"bad key": "x"}],
            Port=[None, 80],
            Address=[None, "1.2.3.4"],
            Weights=[None, None, {"Passing": 1, "Warning": 1}, {"Passing": 3, "Warning": 0}],
            EnableTagOverride=[None, True],
        )
        kind = rng.random()
        if kind < 0.2:
            body |= {"Kind": "connect-proxy", "Port": 1, "Proxy": {"DestinationServiceName": rng.choice(SERVICES)}}
        elif kind < 0.4:
            body["Connect"] = {"Native": True}
        return body

    def _check(self, node: str) -> dict[str, Any]:
        rng = self._rng
        return {
            "Node": node,
            "CheckID": rng.choice(["c1", "c2", "C1", "c3"]),
            "Name": "check",
            "Status": rng.choice(["passing", "warning", "critical"]),
            "Output": rng.choice(["", "out"]),
        } | self._maybe(ServiceID=[None, *SERVICE_IDS])

    def _deregister(self) -> Write:
        body = {"Datacenter": "dc1", "Node": self._rng.choice(NODES)}
        pick = self._rng.random()
        if pick < 0.45:
            body["ServiceID"] = self._rng.choice(SERVICE_IDS)
        elif pick < 0.85:
            body["CheckID"] = self._rng.choice(["c1", "c2", "c3"])
        command = b"\x01" + wire.pack(DeregisterRequest.from_json(body).to_wire())
        return Write("PUT", "/v1/catalog/deregister", json.dumps(body).encode(), lambda _answer: command)

    def _txn(self) -> Write:
        made = [self._operation() for _ in range(self._rng.choice([1, 2, 3]))]
        command = b"\x08" + wire.pack(TxnRequest("dc1", [operation for _body, operation in made]).to_wire())
        body = json.dumps([body for body, _operation in made]).encode()
        return Write("PUT", "/v1/txn", body, lambda _answer: command)

    def _operation(self) -> tuple[dict[str, Any], TxnOp]:
        rng, pick = self._rng, self._rng.random()
        verb, index = rng.choice(VERBS), rng.choice([0, self._last_index()])
        if pick < 0.5:
            return self._kv_operation(index)
        if pick < 0.65:
            fields = self._node()
            node = Node(fields.get("ID", ""), fields["Node"], fields["Address"], "dc1", None, {"a": "b"}, 0, index)
            return {"Node": {"Verb": verb, "Node": node.to_json()}}, TxnOp(node=TxnNodeOp(verb, node))
        if pick < 0.8:
            service = NodeService(id=rng.choice(SERVICE_IDS), service=rng.choice(SERVICES), modify_index=index)
            service.port, service.weights = rng.choice([1, 2]), Weights(1, 1)
            on = rng.choice(NODES)
            sent = {name: service.to_json()[name] for name in ("ID", "Service", "Port", "Weights", "ModifyIndex")}
            return (
                {"Service": {"Verb": verb, "Node": on, "Service": sent}},
                TxnOp(service=TxnServiceOp(verb, on, service)),
            )
        fields = self._check(rng.choice(NODES)) | {"ModifyIndex": index}
        return {"Check": {"Verb": verb, "Check": fields}}, TxnOp(check=TxnCheckOp(verb, HealthCheck.from_json(fields)))

    def _kv_operation(self, index: int) -> tuple[dict[str, Any], TxnOp]:
        rng = self._rng
        verb, entry = rng.choice(KV_VERBS), DirEntry(key=rng.choice(KEYS))
        body: dict[str, Any] = {"Verb": verb, "Key": entry.key}
        if verb in ("set", "cas", "lock", "unlock"):
            entry.value = rng.choice([b"1", b"2"])
            body["Value"] = base64.b64encode(entry.value).decode()
        if verb in ("cas", "delete-cas", "check-index"):
            body["Index"] = entry.modify_index = index
        if verb in ("lock", "unlock", "check-session"):
            body["Session"] = entry.session = rng.choice(self.sessions or [str(uuid.UUID(int=9))])
        return {"KV": body}, TxnOp(kv=TxnKVOp(verb, entry))
