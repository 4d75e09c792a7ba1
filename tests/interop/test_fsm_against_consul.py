"""The FSM next to a real Consul: after the same writes at the same indexes both hold the same records, and every
read has the same index. Random writes; a failure prints the seed."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import random
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.raft_node.fsm.errors import CommandError
from services.raft_node.fsm.machine import Entry, Fsm
from shared.state.answer import Answer
from shared.state.queries import catalog, config_entry, health, internal, kv, prepared_query, session
from shared.state.snapshot import Snapshot
from shared.state.store import StateStore
from shared.structs import gojson, wire
from tests.interop.random_entries import KINDS as ENTRY_KINDS
from tests.interop.random_entries import NAMES as ENTRY_NAMES
from tests.interop.random_entries import Entries
from tests.interop.random_writes import KEYS, NODE_IDS, NODES, SERVICES, Write, Writes
from tests.loopback import LoopbackPool
from tests.seeds import seed_of

DEADLINE_S = 60
OWN_WRITES, OWN_WRITES_EVERY_S = 4, 20.0
"""So often the real Consul may write something by itself: late in its start, and then once in so many seconds. A leader
puts a barrier into its log every minute."""
CONFIG_ENTRY = 22


class RealConsul:
    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, 8500, timeout=DEADLINE_S)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, int]:
        """(status, body, X-Consul-Index)"""
        self._connection.request(method, path, body)
        response = self._connection.getresponse()
        return response.status, response.read(), int(response.headers.get("X-Consul-Index", "0"))

    def applied_index(self) -> int:
        return int(json.loads(self.ask("GET", "/v1/agent/self")[1])["Stats"]["raft"]["applied_index"])

    def state(self) -> tuple[int, bytes]:
        """All records, and the index they are at."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            before = self.applied_index()
            status, archive, _index = self.ask("GET", "/v1/snapshot")
            assert status == 200, archive
            if self.applied_index() == before:
                break
            assert time.monotonic() < deadline, "it goes on writing by itself"
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            found = members.extractfile("state.bin")
            assert found is not None
            return before, found.read()


@contextmanager
def running_consul(binary: Path, address: str, directory: Path) -> Iterator[RealConsul]:
    """A dev agent that hardly writes anything by itself once it has started (no coordinates, no Connect)."""
    config = {
        "disable_coordinates": True,
        "bind_addr": address,
        "client_addr": address,
        "node_name": "real",
        "connect": {"enabled": False},
    }
    (directory / "agent.json").write_text(json.dumps(config))
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [str(binary), "agent", "-dev", "-config-dir", str(directory)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield _when_settled(address, directory / "log")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _when_settled(address: str, log: Path) -> RealConsul:
    """Waits until the agent has registered itself, the leader has written its federation state, and the index stands
    still."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        assert time.monotonic() < deadline, "the real Consul did not come up"
        try:
            consul = RealConsul(address)
            if "federation state anti-entropy synced" in log.read_text() and _registered(consul):
                before = consul.applied_index()
                consul.ask("GET", "/v1/catalog/services?index=100000&wait=1s")  # a second in which nothing happens
                if consul.applied_index() == before:
                    return consul
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            pass
        time.sleep(0.05)


def _registered(consul: RealConsul) -> bool:
    """Whether the leader has registered it, and the agent has completed its entry after that or before."""
    checks = json.loads(consul.ask("GET", "/v1/health/node/real")[1])
    node = json.loads(consul.ask("GET", "/v1/catalog/node/real")[1])
    return bool(checks and node and "consul" in node["Services"] and node["Node"]["TaggedAddresses"])


def records(stream: bytes) -> list[Any]:
    reader = wire.WireStream([stream])
    found = [reader.value()]
    while (kind := reader.byte()) is not None:
        value = reader.value()
        found.append((kind, unwrapped(value) if kind == CONFIG_ENTRY else value))
    return found


def unwrapped(raw: str) -> Any:
    """The values in a config entry's raw: Go writes free-form maps in any order. Floats of 32 bits show as such."""
    kind, fields = wire.WireStream([raw.encode("utf-8", "surrogateescape")]).values()
    if isinstance(fields["Entry"], str):
        fields["Entry"] = ("raw", wire.unpack(fields["Entry"].encode("utf-8", "surrogateescape")))
    return kind, fields


class Pair:
    """A real Consul and our FSM, kept at the same index.

    What the real one writes by itself is not seen as a command: ours then takes its state over, a few times at most.
    `spelled_alike`: until then. How a node's name was spelled for each of its services is not in a snapshot."""

    def __init__(self, consul: RealConsul, directory: Path) -> None:
        self.consul = consul
        self.store = StateStore.open(str(directory))
        self.fsm = Fsm(self.store)
        self.index = 0
        self.spelled_alike = True
        self._taken_over, self._began = 0, time.monotonic()
        self._restore()

    def modify_index(self, key: str) -> int:
        with self.store.snapshot() as snap:
            entry = kv.get(snap, key).value
        return entry.modify_index if entry else 0

    def write(self, write: Write) -> None:
        before = self.consul.applied_index()
        if before != self.index:
            self.take_over()
            before = self.index
        status, answer, _index = self.consul.ask(*write[:3])
        after = self.consul.applied_index()
        if after == before:
            return  # refused before it reached the log
        if after > before + 1:  # which of the entries is the write's nobody says
            if status == 200:
                write.command(answer)  # remembers what later writes can refer to
            self.take_over()
            return
        (result,) = self.fsm.apply_batch([Entry(after, 2, write.command(answer))], 0).results
        self.index = after
        try:
            compare_result(write, status, answer, result)
        except (AssertionError, ValueError):
            if not self._refused_before_the_log(write, status):
                raise
            self.take_over()

    def _refused_before_the_log(self, write: Write, status: int) -> bool:
        """Whether the one new entry was the real Consul's own: what does not get there now did not before."""
        if status == 200:
            return False
        before = self.consul.applied_index()
        again, _answer, _index = self.consul.ask(*write[:3])
        return again == status and self.consul.applied_index() == before

    def take_over(self) -> None:
        """The state of the real Consul, which has written something by itself."""
        self._taken_over += 1
        allowed = OWN_WRITES + (time.monotonic() - self._began) / OWN_WRITES_EVERY_S
        assert self._taken_over <= allowed, "the real Consul writes by itself all the time, or other writes than meant"
        self.spelled_alike = False
        self._restore()

    def _restore(self) -> None:
        self.index, state = self.consul.state()
        self.fsm.restore([state], self.index, 2)

    def write_and_compare(
        self, writes: Writes | Entries, steps: int, reads: dict[str, Callable[[Snapshot], Answer[Any]]] | None = None
    ) -> None:
        for step in range(steps):
            self.write(writes.next())
            if step % 25 == 24:
                self.compare(reads or READS)

    def compare(self, reads: dict[str, Callable[[Snapshot], Answer[Any]]]) -> None:
        """States and reads at one index: once more if the real Consul has written something by itself meanwhile."""
        while True:
            try:
                self._compare_states()
                self._compare_reads(reads)
                return
            except AssertionError:
                if self.consul.applied_index() == self.index:
                    raise
            self.take_over()

    def _compare_states(self) -> None:
        index, theirs = self.consul.state()
        assert index == self.index
        assert records(b"".join(self.fsm.write_snapshot())) == records(theirs)

    def _compare_reads(self, reads: dict[str, Callable[[Snapshot], Answer[Any]]]) -> None:
        for path, query in reads.items():
            status, body, index = self.consul.ask("GET", path)
            with self.store.snapshot() as snap:
                answer = query(snap)
            if index:
                assert (path, answer.index) == (path, index)
            if status == 404 or body.strip() == b"null":
                assert not answer.value, path
                continue
            ours = json.loads(gojson.dumps(as_json(answer.value)))
            if path.startswith("/v1/kv/") and "?" not in path:
                ours = [ours]
            assert self._shown(ours) == self._shown(json.loads(body)), path

    def _shown(self, value: Any) -> Any:
        shown = without_nil(value)
        return shown if self.spelled_alike else with_folded_node(shown)


@contextmanager
def running_pair(binary: Path, address: str, directory: Path) -> Iterator[tuple[Pair, random.Random]]:
    """The pair, and the source of what is written to it."""
    seed = int(os.environ.get("FSM_SEED") or seed_of("fsm"))
    print(f"replay: FSM_SEED={seed}")
    (directory / "consul").mkdir()
    with running_consul(binary, address, directory / "consul") as consul:
        pair = Pair(consul, directory / "state")
        with contextlib.closing(pair.store):
            yield pair, random.Random(seed)


def compare_result(write: Write, status: int, answer: bytes, result: Any) -> None:
    text = answer.decode()
    if isinstance(result, CommandError):
        assert status != 200
        assert any_chain(str(result)) in any_chain(text)
        return
    assert status == 200 or write.path == "/v1/txn", text
    if write.path.startswith("/v1/config") and write.method == "PUT":
        assert json.loads(text) == result
    elif write.path.startswith("/v1/kv/"):
        assert json.loads(text) == (True if result is None else result)
    elif write.path == "/v1/txn":
        found = json.loads(text)
        assert (found.get("Errors") or []) == (result["Errors"] or [])
        assert len(found.get("Results") or []) == len(result["Results"] or [])


def any_chain(text: str) -> str:
    """Of several chains that a change would break Consul names any: it goes through a Go map."""
    text = re.sub(r"circular resolver redirect: \[.*\]", "circular resolver redirect", text)
    text = re.sub(r"detected circular reference: \[.*\]", "detected circular reference", text)
    if "discovery chain" in text or "circular" in text or "external SNI" in text or "subset named" in text:
        return "a chain that does not compile"
    return text


def as_json(value: Any) -> Any:
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value.to_json() if hasattr(value, "to_json") else value


def without_nil(value: Any) -> Any:
    """The HTTP layer shows some nil lists as empty ones, and tags in any order."""
    if isinstance(value, dict):
        return {key: without_nil(item) for key, item in value.items()}
    if isinstance(value, list):
        cleaned = [without_nil(item) for item in value]
        return sorted(cleaned) if all(isinstance(item, str) for item in cleaned) else cleaned
    return [] if value is None else value


def with_folded_node(value: Any) -> Any:
    """Names of nodes in lower case."""
    if isinstance(value, dict):
        return {
            key: item.lower() if key == "Node" and isinstance(item, str) else with_folded_node(item)
            for key, item in value.items()
        }
    return [with_folded_node(item) for item in value] if isinstance(value, list) else value


READS: dict[str, Callable[[Snapshot], Answer[Any]]] = {
    "/v1/catalog/nodes": catalog.nodes,
    "/v1/catalog/nodes?node-meta=r:1": lambda s: catalog.nodes(s, {"r": "1"}),
    "/v1/catalog/services": catalog.services,
    "/v1/catalog/services?node-meta=r:1": lambda s: catalog.services(s, {"r": "1"}),
    "/v1/session/list": session.all_sessions,
    "/v1/session/node/n1": lambda s: session.node_sessions(s, "n1"),
    "/v1/internal/ui/nodes": internal.node_dump,
    "/v1/health/state/any": lambda s: health.checks_in_state(s, "any"),
    "/v1/health/state/critical": lambda s: health.checks_in_state(s, "critical"),
    "/v1/health/state/passing?node-meta=r:1": lambda s: health.checks_in_state(s, "passing", {"r": "1"}),
}
for name in [*SERVICES, "nope"]:
    READS |= {
        f"/v1/catalog/service/{name}": lambda s, n=name: catalog.service_nodes(s, n),
        f"/v1/catalog/service/{name}?tag=A&tag=b": lambda s, n=name: catalog.service_nodes(s, n, ["A", "b"]),
        f"/v1/catalog/connect/{name}": lambda s, n=name: catalog.service_nodes(s, n, connect=True),
        f"/v1/health/service/{name}": lambda s, n=name: health.service_nodes(s, n),
        f"/v1/health/service/{name}?tag=a": lambda s, n=name: health.service_nodes(s, n, ["a"]),
        f"/v1/health/connect/{name}": lambda s, n=name: health.service_nodes(s, n, connect=True),
        f"/v1/health/checks/{name}": lambda s, n=name: health.service_checks(s, n),
        f"/v1/health/checks/{name}?node-meta=r:1": lambda s, n=name: health.service_checks(s, n, {"r": "1"}),
    }
for name in [*NODES, "nope", "00000000", NODE_IDS[0], "0", "zz"]:
    READS[f"/v1/catalog/node/{name}"] = lambda s, n=name: catalog.node_services(s, n)
for name in [*NODES, "nope"]:
    READS[f"/v1/health/node/{name}"] = lambda s, n=name: health.node_checks(s, n)
for name in [*KEYS, "nope"]:
    READS[f"/v1/kv/{name}"] = lambda s, n=name: kv.get(s, n)
for name in ["", "a", "a/", "x", "nope"]:
    READS |= {
        f"/v1/kv/{name}?recurse": lambda s, n=name: kv.tree(s, n),
        f"/v1/kv/{name}?keys": lambda s, n=name: kv.keys(s, n),
        f"/v1/kv/{name}?keys&separator=/": lambda s, n=name: kv.keys(s, n, "/"),
    }


@pytest.mark.real_consul
@pytest.mark.parametrize("steps", [150, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_random_writes_lead_to_the_same_state(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path, steps: int
) -> None:
    with running_pair(real_consul, loopback(), tmp_path) as (pair, rng):
        pair.compare({})
        pair.write_and_compare(Writes(rng, pair.modify_index, pair.consul.applied_index), steps)


ENTRY_READS: dict[str, Callable[[Snapshot], Answer[Any]]] = {
    "/v1/query": prepared_query.queries,
    "/v1/session/list": session.all_sessions,
    **{f"/v1/config/{kind}": lambda s, k=kind: config_entry.entries(s, k) for kind in ENTRY_KINDS},
    **{
        f"/v1/config/{kind}/{name}": lambda s, k=kind, n=name: config_entry.get(s, k, n)
        for kind in ENTRY_KINDS
        for name in (*ENTRY_NAMES, "global")
    },
}


@pytest.mark.real_consul
@pytest.mark.parametrize("steps", [200, pytest.param(3000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_random_entries_and_queries_lead_to_the_same_state(
    real_consul: Path, loopback: LoopbackPool, tmp_path: Path, steps: int
) -> None:
    """The state of either system, taken over by ours, is the same state again."""
    with running_pair(real_consul, loopback(), tmp_path) as (pair, rng):
        pair.write_and_compare(Entries(rng, pair.consul.applied_index), steps, ENTRY_READS)
        index, theirs = pair.consul.state()
        with contextlib.closing(StateStore.open(str(tmp_path / "restored"))) as store:
            restored = Fsm(store)
            restored.restore([theirs], index, 2)
            assert records(b"".join(restored.write_snapshot())) == records(theirs)
