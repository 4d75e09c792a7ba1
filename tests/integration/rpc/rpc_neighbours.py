"""Neighbours of rpc_core for its tests: a Raft of one server over the real FSM and store, and a gossip of one.

Both speak the real IPC on real sockets; what they leave out is the log and the network."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from services.raft_node.fsm.errors import CommandError
from services.raft_node.fsm.machine import Entry, Fsm
from services.rpc_core.service import RpcCore
from shared.config.runtime import RuntimeConfig
from shared.ipc import Link, Request, Server
from shared.state.leadership import FILE, FOLLOWER, LEADER, Leadership, LeadershipPage
from shared.state.store import StateStore
from shared.wire import rpc
from tests.agents import PATIENCE_S
from tests.loopback import LoopbackPool

TAGS = {
    "acls": "0", "build": "1.8.7:", "dc": "dc1", "ft_fs": "1", "raft_vsn": "3", "role": "consul",
    "segment": "", "vsn": "2", "vsn_max": "3", "vsn_min": "2", "wan_join_port": "8302",
}  # fmt: skip


class OneServerRaft:
    """raft.sock of a server that is its own quorum."""

    def __init__(self, config: RuntimeConfig) -> None:
        os.makedirs(config.state_dir, exist_ok=True)
        self.config = config
        self.store = StateStore.open(config.state_dir)
        self.store.reset()
        self.fsm = Fsm(self.store)
        self.page = LeadershipPage.create(os.path.join(config.state_dir, FILE))
        self.index, self.term = 2, 2
        own = {"id": config.node_id, "address": config.rpc_advertise_addr, "voter": True, "leader": True}
        self.servers = [own]
        self.commands: list[bytes] = []
        self.handed_over: list[int] = []
        self.refusing = False
        self.refusals = 0
        """Writes that were refused because it was `refusing`."""
        self.changes: list[tuple[str, str, str]] = []
        """Changes of the configuration that were made: command, id, address."""
        self.refused_changes: dict[str, list[str]] = {}
        """By server id: the error codes with which the next changes are refused."""
        self.server = Server(config.socket_path("raft"), name="raft_node", on_batch_end=self._commit)
        self._pending: list[Request] = []
        for name, handler in (
            ("Raft.Apply", lambda request: self._pending.append(request)),
            ("Raft.Barrier", self._barrier),
            ("Raft.ReadIndex", lambda request: request.reply(self.index)),
            ("Raft.Configuration", self._configuration),
            ("Raft.Stats", self._stats),
            ("Raft.ChangeConfiguration", self._change),
            ("Raft.Handoff", lambda request: self.handed_over.extend(request.fds)),
        ):
            self.server.fast(name, handler)

    def lead(self) -> None:
        self._write_page(LEADER, time.monotonic_ns() + 3600 * 10**9, self.config.rpc_advertise_addr)

    def follow(self, leader: str = "") -> None:
        self._write_page(FOLLOWER, 0, leader)

    def _write_page(self, role: str, lease_end_ns: int, leader: str) -> None:
        node_id = self.config.node_id if leader else ""
        self.page.write(
            Leadership(
                role, self.term, node_id, leader, lease_end_ns, time.monotonic_ns(), self.index, self.index, True
            )
        )
        self.server.publish("leadership", {"role": role, "term": self.term})

    def _commit(self) -> None:
        """Everything one read brought is one batch."""
        requests, self._pending = self._pending, []
        if not requests:
            return
        if self.refusing:
            self.refusals += len(requests)
            for request in requests:
                request.fail("not_leader", "node is not the leader", {"leader": None})
            return
        entries = []
        for request in requests:
            self.index += 1
            self.commands.append(request.payload)
            entries.append(Entry(self.index, self.term, request.payload))
        applied = self.fsm.apply_batch(entries, time.monotonic_ns())
        self.server.publish("changes", applied.change)
        for request, entry, result in zip(requests, entries, applied.results, strict=True):
            if isinstance(result, CommandError):
                request.fail("rpc", str(result))
            else:
                request.reply([entry.index, result])

    def _barrier(self, request: Request) -> None:
        self.index += 1
        request.reply(self.index)

    def _configuration(self, request: Request) -> None:
        request.reply({"index": 1, "servers": self.servers})

    def _change(self, request: Request) -> None:
        change = request.payload
        if refusals := self.refused_changes.get(change["id"]):
            request.fail(refusals.pop(0), "refused")
            return
        self.changes.append((change["command"], change["id"], change["address"]))
        self.servers = [one for one in self.servers if one["id"] != change["id"]]
        if change["command"] in ("AddNonvoter", "AddStaging"):
            voter = change["command"] == "AddStaging"
            added = {"id": change["id"], "address": change["address"], "voter": voter, "leader": False}
            self.servers.append(added)
        request.reply(self.index)

    def _stats(self, request: Request) -> None:
        request.reply({"last_contact": "0", "last_log_index": str(self.index), "last_log_term": str(self.term)})


class SameProcessReader:
    """LMDB lets a process open a store only once: here writer and reader share it."""

    def __init__(self, store: StateStore) -> None:
        self.snapshot = store.snapshot

    def available(self) -> bool:
        return True


class LonelyGossip:
    """gossip.sock of a pool of one, to which tests may add members."""

    def __init__(self, config: RuntimeConfig) -> None:
        self.config = config
        self.calls: list[tuple[str, Any]] = []
        self.members = {"lan": [self.member(config.node_name)], "wan": [self.member(f"{config.node_name}.dc1")]}
        self.server = Server(config.socket_path("gossip"), name="gossip")
        answers: dict[str, Callable[[Any], Any]] = {
            "Gossip.Members": lambda payload: self.members[payload["pool"]],
            "Gossip.Join": lambda payload: len(payload["addresses"]),
            "Gossip.Leave": lambda payload: None,
            "Gossip.ForceLeave": lambda payload: None,
            "Gossip.UserEvent": self._user_event,
            "Gossip.Stats": lambda payload: {"members": str(len(self.members[payload["pool"]]))},
            "Gossip.Coordinate": lambda payload: {"Vec": [0.0] * 8, "Error": 1.5, "Adjustment": 0.0, "Height": 1e-5},
        }
        for name, answer in answers.items():
            self.server.fast(name, self._recording(name, answer))

    def member(self, name: str, status: int = 1, **changes: Any) -> dict[str, Any]:
        config = self.config
        tags = {**TAGS, "id": config.node_id, "port": str(config.ports.server)}
        return {
            "Name": name, "Addr": config.advertise_addr, "Port": 8301, "Tags": tags, "Status": status,
            "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
            "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4, **changes,
        }  # fmt: skip

    def event(self, event: str, member: dict[str, Any]) -> None:
        """A LAN member changed."""
        others = [one for one in self.members["lan"] if one["Name"] != member["Name"]]
        self.members["lan"] = others if event == "reap" else [*others, member]
        self.server.publish("members", {"pool": "lan", "event": event, "members": [member]})

    def _user_event(self, payload: Any) -> None:
        self.server.publish("events", {"name": payload["name"], "payload": payload["payload"], "ltime": 1})

    def _recording(self, name: str, answer: Callable[[Any], Any]) -> Callable[[Request], None]:
        def handle(request: Request) -> None:
            self.calls.append((name, request.payload))
            request.reply(answer(request.payload))

        return handle


@dataclass
class Rig:
    """A whole rpc_core between its neighbours."""

    config: RuntimeConfig
    raft: OneServerRaft
    gossip: LonelyGossip
    core: RpcCore
    link: Link
    _seq: int = field(default=0)

    async def call(self, method: str, payload: Any = None, timeout_s: float = 30.0) -> Any:
        """A call through rpc.sock."""
        return await self.link.call(method, payload, timeout_s=timeout_s)

    async def wire(self, method: str, body: Any) -> rpc.Response:
        """A call over a plain connection to the RPC port."""
        host, _, port = self.config.rpc_bind_addr.rpartition(":")
        self._seq += 1
        stream = await trio.open_tcp_stream(host, int(port))
        async with stream:
            await stream.send_all(b"\x00" + rpc.encode_request(self._seq, method, body))
            decoder = rpc.ResponseDecoder()
            while data := await stream.receive_some(65536):
                for answer in decoder.feed(bytes(data)):
                    return answer
        raise AssertionError(f"no answer to {method}")


async def until(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Waits for a state that gives no event."""
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(0.005)


fresh_address = LoopbackPool()
"""fresh_address() -> "127.x.y.z", every port of it free."""


@asynccontextmanager
async def running(directory: Path, lead: bool = True, **changes: Any) -> AsyncIterator[Rig]:
    """rpc_core as the leader (or a follower) of a datacenter of one."""
    config = RuntimeConfig.dev(directory, node_name="n1", bind_addr=fresh_address(), **changes)
    raft, gossip = OneServerRaft(config), LonelyGossip(config)
    link = Link(config.socket_path("rpc"), name="test")
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            await nursery.start(raft.server.run)
            await nursery.start(gossip.server.run)
            if lead:
                raft.lead()
            else:
                raft.follow()
            core = RpcCore(config)
            core.core.reader = SameProcessReader(raft.store)  # type: ignore[assignment]
            await nursery.start(core.run)
            core.start_sync()
            await nursery.start(link.run)
            yield Rig(config, raft, gossip, core, link)
            nursery.cancel_scope.cancel()
    raft.store.close()
