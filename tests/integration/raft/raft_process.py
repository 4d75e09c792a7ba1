"""A raft_node as a process of its own, with a link to its socket. Only the log goes to a file."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import trio

from shared.config import runtime
from shared.config.sections import Ports, Raft
from shared.ipc import ConnectionLostError, IpcError, Link, RemoteError
from shared.state.queries import kv
from shared.state.reader import StateReader
from tests.loopback import LoopbackPool

CHECKOUT = Path(__file__).parents[3]
CALM = Raft(heartbeat_timeout_s=3.0, election_timeout_s=3.0, leader_lease_timeout_s=2.5)
"""For several servers: one that gets no processor for two seconds does not lose its leadership."""
START_LIMIT_S = 40.0


def kv_set(key: str, value: bytes) -> bytes:
    """An FSM command as Consul encodes it."""
    entry = {"Flags": 0, "Key": key, "LockIndex": 0, "ModifyIndex": 0, "Session": "", "Value": value}
    request = {"Datacenter": "dc1", "DirEnt": entry, "Op": "set", "Token": ""}
    packed: bytes = msgpack.packb(request, use_bin_type=False)
    return b"\x02" + packed


class RaftProcess:
    """`config` may be replaced before `start`."""

    def __init__(self, directory: Path, address: str, *, dev: bool = False, **changes: Any) -> None:
        self.directory = directory
        self.run_dir = directory / "run"
        self.data_dir = directory / "data"
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        where: dict[str, Any] = {}
        if not dev:
            where = {"data_dir": str(self.data_dir), "dev_mode": False, "bootstrap": True}
            where["state_dir"] = str(self.data_dir / "state")
        timing = Raft(heartbeat_timeout_s=0.5, election_timeout_s=0.5, leader_lease_timeout_s=0.25)
        self.config = runtime.RuntimeConfig.dev(
            self.run_dir,
            node_name=directory.name,
            bind_addr=address,
            ports=Ports(server=8300),
            **{"raft": timing, **where, **changes},
        )
        self.log_path = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.run_dir / runtime.CONFIG_FILE_NAME
        runtime.dump(self.config, path)
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.raft_node", "--config", str(path)],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={key: value for key, value in os.environ.items() if not key.startswith("PROCONSUL_")},
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def wait_exit(self) -> int:
        assert self._process is not None
        return self._process.wait(START_LIMIT_S)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def log_lines(self) -> list[str]:
        """Lines without their timestamps."""
        return [re.sub(r"^\S+ ", "", line) for line in self.log.splitlines()]

    def link(self) -> Link:
        return Link(self.config.socket_path("raft"), name="test")


Make = Callable[..., RaftProcess]
"""make("name", ...): a process that is ended with the test."""


def three(tmp_path: Path, loopback: LoopbackPool, **changes: Any) -> Iterator[list[RaftProcess]]:
    """Servers for `start_cluster`, for a fixture to yield from: ended with the test."""
    settings = {"bootstrap": False, "raft": CALM, **changes}
    made = [RaftProcess(tmp_path / f"n{number}", loopback(), **settings) for number in range(3)]
    yield made
    for process in made:
        process.end()


async def call(link: Link, method: str, payload: Any = None, timeout_s: float = 30.0) -> Any:
    return await link.call(method, payload, timeout_s=timeout_s, retry_safe=True)


async def apply(link: Link, key: str, value: bytes, timeout_s: float = START_LIMIT_S) -> int:
    """Sets a key, however often that takes. Returns the index."""
    return await apply_by_leader([link], key, value, timeout_s)


async def apply_by_leader(links: list[Link], key: str, value: bytes, timeout_s: float = START_LIMIT_S) -> int:
    """`apply` at whichever of the servers leads; the first is asked first."""
    with trio.fail_after(timeout_s):
        for link in itertools.cycle(links):
            try:
                index, _ = await link.call("Raft.Apply", kv_set(key, value), timeout_s=timeout_s)
            except ConnectionLostError:
                await trio.sleep(0.02)
            except RemoteError as error:
                if error.code not in ("no_leader", "not_leader"):
                    raise
                await trio.sleep(0.02)
            else:
                return int(index)
    raise AssertionError("no server to ask")


async def wait_leader(link: Link) -> dict[str, str]:
    """The stats of a server that leads and has applied all it has committed."""
    with trio.fail_after(START_LIMIT_S):
        while True:
            try:
                await link.call("Raft.ReadIndex", None, timeout_s=5.0, retry_safe=True)
                stats: dict[str, str] = await link.call("Raft.Stats", None, timeout_s=5.0, retry_safe=True)
            except IpcError:
                await trio.sleep(0.02)
            else:
                return stats


def configuration_of(*processes: RaftProcess) -> list[dict[str, Any]]:
    """Payload of Raft.Bootstrap."""
    return [{"id": p.config.node_id, "address": p.config.rpc_advertise_addr, "voter": True} for p in processes]


async def hand_over_connections(process: RaftProcess, link: Link) -> None:
    """What rpc_core does: accepts on the server port, reads the first byte, passes Raft connections on."""
    host, _, port = process.config.rpc_advertise_addr.rpartition(":")

    async def serve(stream: trio.SocketStream) -> None:
        if await stream.receive_some(1) == b"\x01":
            link.send_fds("Raft.Handoff", {"source": "peer"}, [stream.socket.fileno()])

    await trio.serve_tcp(serve, int(port), host=host)


async def start_cluster(nursery: trio.Nursery, processes: list[RaftProcess]) -> tuple[list[Link], int]:
    """Starts servers without a configuration as one cluster: links to all, and which one leads."""
    links = []
    for process in processes:
        process.start()
        link = process.link()
        await nursery.start(link.run)
        nursery.start_soon(hand_over_connections, process, link)
        links.append(link)
    await call(links[0], "Raft.Bootstrap", configuration_of(*processes))
    return links, await leader_of(links)


async def leader_of(links: list[Link], among: list[int] | None = None) -> int:
    """Which of the processes leads and has committed all it has; only those `among` are asked."""
    with trio.fail_after(START_LIMIT_S):
        while True:
            for number in among if among is not None else range(len(links)):
                stats = await call(links[number], "Raft.Stats")
                if stats["state"] == "Leader" and stats["commit_index"] == stats["last_log_index"]:
                    return number
            await trio.sleep(0.02)


def stored(process: RaftProcess) -> dict[str, bytes]:
    """Keys and values in the state store."""
    with StateReader(process.config.state_dir).snapshot() as snap:
        return {str(entry.key): bytes(entry.value or b"") for entry in kv.tree(snap, "").value}


async def wait_applied(links: list[Link], index: int) -> None:
    """Until each of the servers has applied `index`: a majority is enough for the leader to answer."""
    with trio.fail_after(START_LIMIT_S):
        for link in links:
            while int((await call(link, "Raft.Stats"))["applied_index"]) < index:
                await trio.sleep(0.02)
