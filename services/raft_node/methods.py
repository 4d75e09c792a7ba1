"""The methods of raft.sock: what the other processes of this agent ask of consensus.

    Raft.Apply               FSM command (bytes) -> [index, result]
    Raft.ReadIndex           -> index; leadership was confirmed, and everything up to index is in the state store
    Raft.Barrier             -> index; everything before it is in the state store
    Raft.Configuration       -> {"index", "servers": [{"id", "address", "voter", "leader"}]}
    Raft.Stats               -> {name: text}, the raft section of `consul info`
    Raft.ChangeConfiguration {"command", "id", "address", "prev_index"} -> index; commands: core.configuration
    Raft.Bootstrap           [{"id", "address", "voter"}] -> index; only on a server without any state
    Raft.TransferLeadership  {"target": id or ""} -> None
    Raft.Snapshot            -> {"id", "index", "term"}; takes one now
    Raft.SaveSnapshot, Raft.RestoreSnapshot   see user_snapshots
    Raft.Addresses           (notification) {id: "ip:port"}: where gossip sees the servers
    Raft.Handoff             (notification with one descriptor) {"source": address, "door": bool}: a connection of
                             another server, or of another agent's gateway to the `door`
    Metrics.Dump

Failures: `rpc` with the text for the client, `not_leader` (data: {"leader": address, "door": whether it has one}),
`no_leader`, `bad_request`, `unavailable` when a command cannot be applied for want of space, `change_pending` for a
change of the configuration while the one before is not committed."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, Any

import trio

from services.raft_node import chunking
from services.raft_node.core import events as ev
from services.raft_node.core.configuration import (
    ADD_NON_VOTER,
    ADD_VOTER,
    DEMOTE_VOTER,
    REMOVE_SERVER,
)
from services.raft_node.core.leader import CHANGE_PENDING
from services.raft_node.core.state import NOT_LEADER, TRANSFER_IN_PROGRESS
from services.raft_node.core.types import BARRIER, NON_VOTER, VOTER, Configuration, Server
from services.raft_node.log.errors import StorageError
from services.raft_node.snapshotting import SnapshotRefusedError
from services.raft_node.stats import raft_stats
from services.raft_node.user_snapshots import UserSnapshots
from shared import metrics
from shared.ipc import RemoteError, Request, Together

if TYPE_CHECKING:
    from services.raft_node.shell import RaftNode

NO_LEADER = "No cluster leader"
_APPLY = "Raft.Apply"
_CHANGES = (ADD_VOTER, ADD_NON_VOTER, DEMOTE_VOTER, REMOVE_SERVER)


class Methods:
    """Registers the handlers of `node` on its server; proposals wait as the very Request that brought them."""

    def __init__(self, node: RaftNode) -> None:
        self._node = node
        self._replica = node.replica
        self.results = Together()
        server = node.server
        server.fast(_APPLY, self.apply)
        server.fast("Raft.ReadIndex", self.read_index)
        server.fast("Raft.Barrier", self._barrier)
        server.fast("Raft.Configuration", self._configuration)
        server.fast("Raft.Stats", self._stats)
        server.fast("Raft.ChangeConfiguration", self._change_configuration)
        server.fast("Raft.Bootstrap", self._bootstrap)
        server.fast("Raft.TransferLeadership", self._transfer)
        server.fast("Raft.Addresses", lambda request: node.addresses.update(request.payload))
        server.fast("Raft.Handoff", self._handoff)
        server.fast("Metrics.Dump", lambda request: request.reply(metrics.dump()))
        server.slow("Raft.Snapshot", self._snapshot)
        UserSnapshots(node).serve(server)

    # ---- proposals: collected here, flushed at the end of the batch of frames -----------------------------------

    def apply(self, request: Request) -> None:
        """Propose the command that `request` brings; it is answered when that was applied."""
        command = request.payload
        if type(command) is not bytes or not command:
            request.fail("bad_request", "a command is a message type and a msgpack value, as bytes")
        elif len(command) <= chunking.CHUNK_BYTES:
            self._replica.propose((request,), ((0, command, b""),))
        else:
            items = chunking.entries_of(command, lambda: secrets.randbits(64))
            self._replica.propose([*[None] * (len(items) - 1), request], items)

    def read_index(self, request: Request, voter: str = "", term: int = 0) -> None:
        """voter, term: of the server whose question it is, see core.events.ReadIndex."""
        metrics.incr("consul.raft.verify_leader")
        self._node.guarded(lambda: self._replica.read(request, voter, term))

    def _barrier(self, request: Request) -> None:
        metrics.incr("consul.raft.barrier")
        self._replica.propose((request,), ((BARRIER, b"", b""),))

    def result(self, request: Request, index: int, value: Any) -> None:
        """The proposal that `request` made was applied. Results of commands leave when `results` are flushed."""
        if isinstance(value, Exception):
            request.fail("rpc", str(value))
        elif request.method == _APPLY:
            request.reply_with(self.results, (index, value))
        else:
            request.reply(index)

    def refused(self, request: Request, error: str) -> None:
        """Nothing was done, because this server does not lead or cannot take more."""
        if error == NOT_LEADER:
            core = self._replica.core
            leader = core.state.leader_address
            if leader:
                door = core.state.configurations.latest.id_of(leader) in core.election.pre_voters
                request.fail("not_leader", error, {"leader": leader, "door": door})
            else:
                request.fail("no_leader", NO_LEADER, {"leader": None})
        elif error == TRANSFER_IN_PROGRESS and request.method == _APPLY:
            request.fail("no_leader", NO_LEADER, {"leader": None})  # in a moment another server takes it
        elif error == CHANGE_PENDING:
            request.fail("change_pending", error)
        elif error == self._replica.stall_reason:
            request.fail("unavailable", error)
        else:
            request.fail("rpc", error)

    # ---- the cluster -------------------------------------------------------------------------------------------

    def _configuration(self, request: Request) -> None:
        state = self._replica.core.state
        request.reply(
            {
                "index": state.configurations.latest_index,
                "servers": [
                    {
                        "id": server.id,
                        "address": server.address,
                        "voter": server.suffrage == VOTER,
                        "leader": server.address == state.leader_address,
                    }
                    for server in state.configurations.latest.servers
                ],
            }
        )

    def _stats(self, request: Request) -> None:
        request.reply(raft_stats(self._replica, trio.current_time()))

    def _change_configuration(self, request: Request) -> None:
        payload = request.payload
        command = payload.get("command") if isinstance(payload, dict) else None
        if command not in _CHANGES or not payload.get("id"):
            request.fail("bad_request", f"a change has an id and one of the commands {', '.join(_CHANGES)}")
            return
        address, prev_index = payload.get("address", ""), payload.get("prev_index", 0)
        self._node.guarded(
            lambda: self._replica.change_configuration(request, command, payload["id"], address, prev_index)
        )

    def _bootstrap(self, request: Request) -> None:
        try:
            servers = tuple(
                Server(item["id"], item["address"], VOTER if item["voter"] else NON_VOTER) for item in request.payload
            )
        except (TypeError, KeyError):
            request.fail("bad_request", "a list of {id, address, voter} is needed")
            return
        self._node.guarded(lambda: self._replica.bootstrap(request, Configuration(servers)))

    def _transfer(self, request: Request) -> None:
        target = request.payload.get("target", "") if isinstance(request.payload, dict) else ""
        # This ends the lease: the page has to say so before anybody else can be elected.
        self._node.feed(ev.TransferLeadership(request, target))

    async def _snapshot(self, request: Request) -> Any:
        try:
            meta = await self._node.take_snapshot()
        except (SnapshotRefusedError, StorageError) as error:
            raise RemoteError("rpc", str(error)) from error
        return {"id": meta.id, "index": meta.index, "term": meta.term}

    # ---- connections of other servers --------------------------------------------------------------------------

    def _handoff(self, request: Request) -> None:
        if len(request.fds) != 1:
            for fd in request.fds:
                os.close(fd)
            return
        told = request.payload if isinstance(request.payload, dict) else {}
        sock, source = socket.socket(fileno=request.fds[0]), str(told.get("source", ""))
        self._node.accept(sock, source, door=told.get("door") is True)
