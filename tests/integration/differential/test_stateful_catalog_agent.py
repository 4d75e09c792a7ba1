"""Random sequences of registrations at the agent and in the catalog, mixed with operations on keys, sessions and
transactions, applied to the real agent and to ours: every answer, and after every step all that can be read, must be
the same.

As test_stateful_kv_sessions, whose operations take part here; what is registered at the agent is waited for in the
catalog before anything is compared, for it gets there by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents import Agent, RealConsul, wait_until
from tests.integration.differential import test_stateful_kv_sessions as kv_sessions
from tests.integration.differential.pairs import STILL
from tests.integration.differential.sequences import Operation, assert_same_course, examples
from tests.integration.differential.test_stateful_kv_sessions import NODES, STATUSES, Side

pytestmark = pytest.mark.real_consul

CONFIG = STILL | {"check_update_interval": "0s"}
"""Outputs of checks are not held back."""

SERVICES = ("web", "db")
INSTANCES = ("i0", "i1")
OWN_CHECKS = ("t0", "t1")
WORDS = ("pass", "warn", "fail")
TIMES = {"passing": "pass", "warning": "warn", "critical": "fail"}

services = st.sampled_from(SERVICES)
instances = st.sampled_from(INSTANCES)
statuses = st.sampled_from(STATUSES)
own_checks = st.sampled_from(OWN_CHECKS)
nodes = st.sampled_from(NODES)
tags = st.sampled_from([[], ["a"], ["b", "a"]])
ports = st.sampled_from([0, 80, 8080])
enabled = st.booleans()

at_the_agent = st.one_of(
    st.tuples(st.just("serve"), instances, services, tags, ports, st.lists(statuses, max_size=2)),
    st.tuples(st.just("serve"), instances, services, tags, ports, st.lists(statuses, max_size=2)),
    st.tuples(st.just("stop serving"), instances),
    st.tuples(st.just("check"), own_checks, st.sampled_from(["", *INSTANCES, "nothing"]), statuses),
    st.tuples(st.just("stop checking"), own_checks),
    st.tuples(st.just("report"), own_checks, st.sampled_from(WORDS), st.sampled_from(["", "a note"])),
    st.tuples(st.just("report"), own_checks, st.sampled_from(WORDS), st.sampled_from(["", "a note"])),
    st.tuples(st.just("report at length"), own_checks, st.sampled_from([*STATUSES, "odd"]), st.text(max_size=5)),
    st.tuples(st.just("maintain"), instances, enabled),
    st.tuples(st.just("maintain all"), enabled),
    st.tuples(st.just("bind a session"), own_checks, st.sampled_from(["release", "delete"])),
)
in_the_catalog = st.one_of(
    st.tuples(st.just("enter"), nodes, instances, services, tags, ports, statuses),
    st.tuples(st.just("enter"), nodes, instances, services, tags, ports, statuses),
    st.tuples(st.just("describe"), nodes, st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.sampled_from(["", "r1", "r2"])),
    st.tuples(st.just("remove"), nodes, instances),
    st.tuples(st.just("enter in a transaction"), nodes, instances, services, ports, statuses),
    st.tuples(st.just("remove in a transaction"), nodes, instances),
)
operations = st.one_of(at_the_agent, at_the_agent, in_the_catalog, kv_sessions.operations)

PROLOGUE: list[Operation] = [
    ("serve", "i0", "web", ["a"], 80, ["passing"]),
    ("check", "t0", "i0", "passing"),
    ("check", "t1", "", "warning"),
    ("enter", "m0", "i0", "web", ["a"], 80, "passing"),
    ("bind a session", "t0", "release"),
    ("acquire", "a", "v", 0),
]
"""So that there is something to lose from the first step on."""


class AgentSide(Side):
    """One agent, of which services and checks are registered, too."""

    def paths(self) -> list[str]:
        named = [
            path
            for service in SERVICES
            for path in (
                f"catalog/service/{self._node(service)}",
                f"health/service/{self._node(service)}",
                f"health/service/{self._node(service)}?passing",
                f"health/checks/{self._node(service)}",
                f"agent/health/service/name/{self._node(service)}",
            )
        ]
        return [
            *super().paths(),
            "agent/services",
            "agent/checks",
            "catalog/node/node1",
            "health/node/node1",
            "health/state/critical",
            "catalog/services",
            "catalog/nodes",
            f"catalog/node/{self._node('m1')}",
            *(f"agent/service/{self._node(instance)}" for instance in INSTANCES),
            *named,
        ]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, int, Any, str]:
        """Lists in the order of a map are sorted, and what is there by chance is taken out."""
        status, index, parsed, text = super().ask(method, path, body)
        if path == "catalog/services" and parsed is not None:
            parsed = {name: sorted(tags) for name, tags in parsed.items()}
        elif path.startswith("agent/health/") and isinstance(parsed, list):
            parsed.sort(key=lambda entry: entry["Service"]["ID"])
            for entry in parsed:
                entry["Checks"].sort(key=lambda check: check["CheckID"])
        if method == "GET" and not path.startswith("agent/"):
            parsed = _without_own_boot(parsed)
        return status, index, parsed, text

    def perform(self, operation: Operation) -> tuple[int, str]:
        answer = super().perform(operation)
        self._wait_synced()
        return answer

    def _wait_synced(self) -> None:
        def synced() -> bool:
            own_services, own_checks = (self.ask("GET", f"agent/{what}")[2] for what in ("services", "checks"))
            known = {each["ID"]: each for each in self.ask("GET", "catalog/node-services/node1")[2]["Services"]}
            found = {each["CheckID"]: each for each in self.ask("GET", "health/node/node1")[2]}
            return (
                set(own_services) == set(known) - {"consul"}
                and set(own_checks) == set(found) - {"serfHealth"}
                and all(_same(own_services[each], known[each], "Service", "Tags", "Port") for each in own_services)
                and all(_same(own_checks[each], found[each], "Status", "Output", "ServiceID") for each in own_checks)
            )

        wait_until(synced, what="the catalog to hold what is registered at the agent")

    def _request(self, what: str, *details: Any) -> tuple[str, str, Any]:
        match what, *details:
            case "serve", instance, service, given_tags, port, stated:
                checks = [
                    {"CheckID": self._node(f"{instance}-{number}"), "Name": "alive", "TTL": "1h", "Status": status}
                    for number, status in enumerate(stated)
                ]
                body = self._service(instance, service, given_tags, port)
                body["Name"] = body.pop("Service")
                return "PUT", "agent/service/register", body | {"Checks": checks}
            case "stop serving", instance:
                return "PUT", f"agent/service/deregister/{self._node(instance)}", None
            case "check", check, instance, status:
                fields = {"ID": self._node(check), "Name": check, "TTL": "1h", "Status": status}
                if instance:
                    fields["ServiceID"] = self._node(instance)
                return "PUT", "agent/check/register", fields
            case "stop checking", check:
                return "PUT", f"agent/check/deregister/{self._node(check)}", None
            case "report", check, word, note:
                return "PUT", f"agent/check/{word}/{self._node(check)}?note={note.replace(' ', '%20')}", None
            case "report at length", check, status, output:
                return "PUT", f"agent/check/update/{self._node(check)}", {"Status": status, "Output": output}
            case "maintain", instance, enable:
                path = f"agent/service/maintenance/{self._node(instance)}"
                return "PUT", f"{path}?enable={str(enable).lower()}&reason=why", None
            case "maintain all", enable:
                return "PUT", f"agent/maintenance?enable={str(enable).lower()}", None
            case "enter", node, instance, service, given_tags, port, status:
                entry = self._service(instance, service, given_tags, port)
                return "PUT", "catalog/register", self._entry(node, entry, status)
            case "describe", node, address, rack:
                fields = {"Node": self._node(node), "Address": address}
                return "PUT", "catalog/register", fields | ({"NodeMeta": {"rack": rack}} if rack else {})
            case "remove", node, instance:
                return "PUT", "catalog/deregister", {"Node": self._node(node), "ServiceID": self._node(instance)}
            case "enter in a transaction", node, instance, service, port, status:
                entry = self._entry(node, self._service(instance, service, [], port), status)
                steps = [
                    {"Node": {"Verb": "set", "Node": {"Node": entry["Node"], "Address": entry["Address"]}}},
                    {"Service": {"Verb": "set", "Node": entry["Node"], "Service": entry["Service"]}},
                    {"Check": {"Verb": "set", "Check": entry["Check"] | {"Node": entry["Node"]}}},
                ]
                return "PUT", "txn", steps
            case "remove in a transaction", node, instance:
                gone = {"Verb": "delete", "Node": self._node(node), "Service": {"ID": self._node(instance)}}
                return "PUT", "txn", [{"Service": gone}]
            case "bind a session", check, behavior:
                fields = {"NodeChecks": ["serfHealth", self._node(check)], "Behavior": behavior, "LockDelay": "0s"}
                return "PUT", "session/create", fields
        return super()._request(what, *details)

    def _service(self, instance: str, service: str, given_tags: list[str], port: int) -> dict[str, Any]:
        return {"ID": self._node(instance), "Service": self._node(service), "Tags": given_tags, "Port": port}

    def _entry(self, node: str, service: dict[str, Any], status: str) -> dict[str, Any]:
        check = {"CheckID": service["ID"], "Name": "entered", "Status": status, "ServiceID": service["ID"]}
        return {"Node": self._node(node), "Address": "10.0.0.1", "Service": service, "Check": check}

    def _note(self, path: str, parsed: Any) -> None:
        if path in super().paths():
            super()._note(path, parsed)

    def clear(self) -> None:
        """One after the other, each waited for: what goes by itself meanwhile would set indexes in another order."""
        self._clear("agent/maintenance?enable=false")
        for service in sorted(self.ask("GET", "agent/services")[2]):
            self._clear(f"agent/service/deregister/{service}")
        for check in sorted(self.ask("GET", "agent/checks")[2]):
            self._clear(f"agent/check/deregister/{check}")
        super().clear()

    def _clear(self, path: str) -> None:
        self.ask("PUT", path)
        self._wait_synced()


def _same(own: dict[str, Any], known: dict[str, Any], *names: str) -> bool:
    return all((own.get(name) or "") == (known.get(name) or "") for name in names)


def _without_own_boot(value: Any) -> Any:
    """Both agents are `node1`, but live at another address under another id, and entered themselves in any order."""
    if isinstance(value, list):
        return [_without_own_boot(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_own_boot(item) for key, item in value.items()}
    if kept.get("Node") == "node1" and "Address" in kept:
        kept |= {"Address": "", "ID": "", "TaggedAddresses": {}}
    own_node = kept.get("Node") == "node1" and "Datacenter" in kept and "ServiceID" not in kept
    if own_node or kept.get("CheckID") == "serfHealth" or kept.get("ID") == "consul":
        kept |= {name: 0 for name in ("CreateIndex", "ModifyIndex") if name in kept}  # of the boot, see Side.level
    return kept


@pytest.fixture(scope="module")
def sides(real_and_ours: tuple[RealConsul, Agent]) -> tuple[Side, Side]:
    real, ours = map(AgentSide, real_and_ours)
    for side in (real, ours):
        side.level()
    return real, ours


@examples(12)
@given(sequence=st.lists(operations, min_size=5, max_size=20))
def test_random_sequences(sides: tuple[Side, Side], sequence: list[Operation]) -> None:
    assert_same_course(sides, [*PROLOGUE, *sequence])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@examples(200)
@given(sequence=st.lists(operations, min_size=20, max_size=50))
def test_long_random_sequences(sides: tuple[Side, Side], sequence: list[Operation]) -> None:
    assert_same_course(sides, [*PROLOGUE, *sequence])
