"""Remote execution on a node: the way of a job, with a KV store of the test's own."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from services.rpc_core.errors import RpcError
from services.rpc_core.local import remote_exec
from services.rpc_core.local.remote_exec import OUTPUT_BYTES, OUTPUT_IDLE_S, RemoteExec, _pieces, _Run
from services.rpc_core.local.user_event import UserEvent
from shared.config.runtime import RuntimeConfig

SESSION = "11111111-2222-3333-4444-555555555555"
PLACE = f"_rexec/{SESSION}"


class Store:
    """Answers KVS.Get and KVS.Apply. `refuses`: the start of names that cannot be written (any more)."""

    def __init__(self, job: Any, *, late: bool = False) -> None:
        self.keys: dict[str, bytes | None] = {}
        self.reads: list[bool] = []
        self.refuses: tuple[str, ...] = ()
        self.fails = False
        self._late = late
        if job is not None:
            self.keys[f"{PLACE}/job"] = job if isinstance(job, bytes) else json.dumps(job).encode()

    async def __call__(self, method: str, body: Any) -> Any:
        if self.fails:
            raise RpcError("No cluster leader")
        if method == "KVS.Get":
            self.reads.append(body["AllowStale"])
            if body["Key"] not in self.keys or (self._late and body["AllowStale"]):
                return {"Entries": None}
            return {"Entries": [{"Key": body["Key"], "Value": self.keys[body["Key"]]}]}
        assert (method, body["Op"]) == ("KVS.Apply", "lock")
        entry = body["DirEnt"]
        assert entry["Session"] == SESSION
        name = entry["Key"].removeprefix(f"{PLACE}/n1/")
        if name.startswith(self.refuses or ("\0",)):
            return False
        self.keys[entry["Key"]] = entry["Value"]
        return True

    def of_node(self) -> dict[str, bytes | None]:
        prefix = f"{PLACE}/n1/"
        return {key.removeprefix(prefix): value for key, value in self.keys.items() if key.startswith(prefix)}

    def output(self) -> bytes:
        found = self.of_node()
        return b"".join(found[name] or b"" for name in sorted(found) if name.startswith("out/"))


async def _run(store: Store, tmp_path: Path, payload: bytes | None = None) -> dict[str, bytes | None]:
    event = json.dumps({"Prefix": "_rexec", "Session": SESSION}).encode() if payload is None else payload
    config = RuntimeConfig.dev(tmp_path, node_name="n1", bind_addr="127.0.0.1")
    with trio.fail_after(60):
        await _Run(config, store, UserEvent("id", "_rexec", event)).run()
    return store.of_node()


@pytest.mark.parametrize(
    ("job", "code", "output"),
    [
        ({"Command": "echo hello; echo oops >&2; exit 3", "Wait": 10**9}, b"3", b"hello\noops\n"),
        ({"Args": ["echo", "a  b"], "Wait": 10**9}, b"0", b"a  b\n"),
        ({"Script": base64.b64encode(b"echo script; exit 4").decode(), "Wait": 10**9}, b"4", b"script\n"),
        ({"Command": "kill -9 $$", "Wait": 10**9}, b"-1", b""),
        ({"Args": ["nope"], "Wait": 10**9}, b"255", b""),
        ({"Args": ["/nope"], "Wait": 10**9}, b"255", b""),
        ({"command": "seq 3000", "WAIT": 10**9, "Extra": 1}, b"0", b"".join(b"%d\n" % n for n in range(1, 3001))),
        ({"Command": "true"}, b"0", b""),
    ],
    ids=str,
)
async def test_a_job_is_acknowledged_run_and_told(
    tmp_path: Path, job: dict[str, Any], code: bytes, output: bytes
) -> None:
    store = Store(job)
    found = await _run(store, tmp_path)
    assert (found["ack"], found["exit"], store.output()) == (None, code, output)
    assert store.reads == [True]
    for name in found:
        assert name in ("ack", "exit") or name.startswith("out/0")


async def test_a_job_that_is_not_everywhere_yet_is_asked_of_the_leader(tmp_path: Path) -> None:
    store = Store({"Command": "echo found"}, late=True)
    assert (await _run(store, tmp_path))["exit"] == b"0"
    assert store.reads == [True, False]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"Prefix":5}'])
async def test_an_event_that_names_no_place_is_nothing(tmp_path: Path, payload: bytes) -> None:
    assert await _run(Store({"Command": "true"}), tmp_path, payload) == {}


@pytest.mark.parametrize("job", [None, b"{", b"[]", b'{"Script":"%%%"}', b'{"Wait":"2s"}'])
async def test_no_proper_job_is_not_acknowledged(tmp_path: Path, job: bytes | None) -> None:
    assert await _run(Store(job), tmp_path) == {}


async def test_without_servers_nothing_is_run(tmp_path: Path) -> None:
    store = Store({"Command": "true"})
    store.fails = True
    assert await _run(store, tmp_path) == {}


async def test_nothing_is_run_for_a_session_that_has_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    store = Store({"Command": f"touch {mark}"})
    store.refuses = ("ack",)
    assert await _run(store, tmp_path) == {}
    assert not mark.exists()


async def test_a_program_whose_output_nobody_takes_is_ended_with_all_it_started(tmp_path: Path) -> None:
    store = Store({"Command": "sleep 1000 & echo x; wait", "Wait": 10**9})
    store.refuses = ("out/",)
    assert await _run(store, tmp_path) == {"ack": None, "exit": b"255"}


async def test_no_more_jobs_than_that_run_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_exec, "JOBS_RUNNING_MAX", 2)
    store = Store({"Command": "true"})
    asked, answer = 0, trio.Event()

    async def ask(method: str, body: Any) -> Any:
        nonlocal asked
        asked += 1
        await answer.wait()
        return await store(method, body)

    core: Any = SimpleNamespace(config=RuntimeConfig.dev(tmp_path, node_name="n1", bind_addr="127.0.0.1"))
    jobs = RemoteExec(core, ask)
    payload = json.dumps({"Prefix": "_rexec", "Session": SESSION}).encode()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(jobs.run)
            for _ in range(5):
                jobs.received(UserEvent("id", "_rexec", payload))
            await trio.testing.wait_all_tasks_blocked()
            assert asked == 2
            answer.set()
            while store.reads != [True] * 5 or "exit" not in store.of_node():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def _collect(script: list[tuple[float, bytes]], heartbeat_s: float) -> list[tuple[float, bytes]]:
    """Pieces with their times for writes at given times (of a virtual clock); b"" is the end."""
    sender, receiver = trio.testing.memory_stream_one_way_pair()
    began = trio.current_time()
    found: list[tuple[float, bytes]] = []

    async def write() -> None:
        for at, data in script:
            await trio.sleep_until(began + at)
            if data:
                await sender.send_all(data)
            else:
                await sender.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        async for piece in _pieces(receiver, heartbeat_s):
            found.append((round(trio.current_time() - began, 3), piece))
    return found


async def test_pieces_are_full_or_follow_a_silence(autojump_clock: trio.testing.MockClock) -> None:
    script = [(0.0, b"a"), (0.3, b"b"), (2.0, b"c"), (2.1, b"")]
    assert await _collect(script, 10.0) == [(0.3 + OUTPUT_IDLE_S, b"ab"), (2.1, b"c")]
    long = b"x" * (OUTPUT_BYTES + 5)
    assert await _collect([(0.0, long), (0.1, b"")], 10.0) == [(0.0, long[:OUTPUT_BYTES]), (0.1, long[OUTPUT_BYTES:])]


async def test_a_silent_program_gives_signs_of_life(autojump_clock: trio.testing.MockClock) -> None:
    assert await _collect([(5.0, b"")], 2.0) == [(2.0, b""), (4.0, b"")]
    # One that says a little again and again is alive, too, though a piece is never full and never followed by silence.
    trickle = [(n * 0.4, b".") for n in range(10)]
    found = await _collect([*trickle, (3.9, b"")], 1.0)
    assert [at for at, piece in found if not piece] == [1.0, 2.0, 3.0]
    assert b"".join(piece for _, piece in found) == b"." * 10


async def test_what_nobody_expects_ends_one_job_alone(tmp_path: Path) -> None:
    class Broken(Store):
        async def __call__(self, method: str, body: Any) -> Any:
            raise LookupError("a bug")

    assert await _run(Broken({"Command": "true"}), tmp_path) == {}
