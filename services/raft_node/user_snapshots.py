"""Snapshots for users: the state into an archive, and an archive's state into the cluster.

    Raft.SaveSnapshot    {"path"} -> {"index"}; writes an archive (shared.snapshot_archive) into the file at `path`
    Raft.RestoreSnapshot {"path", "size", "index", "version"} -> index; `path`: the state stream that an archive
                         held, the rest: from its metadata. Answers once a quorum of the cluster has the state.

The long parts (compressing, checksums, building the new state beside the old one) are done by threads, while the
server goes on. The exchange itself is done in one turn of the loop, in which nothing can come in between."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from services.raft_node.core.types import NOOP, SnapshotMeta
from services.raft_node.log.errors import StorageError
from services.raft_node.log.snapshots import Snapshots, SnapshotWriter, meta_json
from services.raft_node.machine import StateMachine, UnusableStateError
from services.raft_node.snapshotting import SnapshotRefusedError
from shared.ipc import RemoteError, Request, Server
from shared.log import get_logger

if TYPE_CHECKING:
    from services.raft_node.shell import RaftNode

_log = get_logger("agent.server.raft")

SNAPSHOT_VERSION: Final = 1
_RESTORING: Final = "Raft error when restoring snapshot: "
_BLOCK_BYTES: Final = 256 << 10
_TURN_S: Final = 0.001
"""How long a thread keeps the interpreter while the loop wants it: less than usual, since the thread has much to do
and the loop's work is short."""


class UserSnapshots:
    """The two methods of `node`."""

    def __init__(self, node: RaftNode) -> None:
        self._node = node

    def serve(self, server: Server) -> None:
        server.slow("Raft.SaveSnapshot", self._save)
        server.slow("Raft.RestoreSnapshot", self._restore)

    # ---- save --------------------------------------------------------------------------------------------------

    async def _save(self, request: Request) -> dict[str, Any]:
        try:
            meta = await self._node.take_snapshot()
        except (SnapshotRefusedError, StorageError) as error:
            raise RemoteError("rpc", f"Raft error when taking snapshot: {error}") from None
        try:
            await trio.to_thread.run_sync(
                _write_archive, self._node.replica.snapshots, meta, request.payload["path"], int(time.time())
            )
        except StorageError as error:
            raise RemoteError("rpc", f"failed to open snapshot: {error}:") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise RemoteError("rpc", f"failed to write snapshot file: {reason}") from None
        return {"index": meta.index}

    # ---- restore -----------------------------------------------------------------------------------------------

    async def _restore(self, request: Request) -> int:
        payload = request.payload
        version = payload["version"]
        if version != SNAPSHOT_VERSION:
            step = "" if version else "failed to create snapshot: "  # 0 is known, but not written any more
            raise _refusal(f"{step}unsupported snapshot version {version}")
        node = self._node
        async with node.taking:
            self._check()
            started = trio.current_time()
            writer = self._writer(payload["index"])
            machine, prepared = node.replica.machine, None
            try:
                prepared = machine.prepare()
                await trio.to_thread.run_sync(_load, payload, writer, machine, prepared)
                self._check()
                meta = writer.finish(self._meta(payload["index"]))
            except BaseException as error:
                writer.cancel()
                if prepared is not None:
                    with trio.CancelScope(shield=True):  # to free what a large file takes may last a while
                        await trio.to_thread.run_sync(machine.discard, prepared)
                raise _explained(error) from None
            _log.info("copied to local snapshot", bytes=meta.size)
            waiter = _Waiter()
            node.count("raft.restore")
            node.guarded(lambda: node.replica.restore(meta, prepared))
            node.replica.propose((waiter,), ((NOOP, b"", b""),))
            node.guarded(node.replica.flush)
            node.sample("raft.restoreUserSnapshot", (trio.current_time() - started) * 1000)
        return await waiter.outcome()

    def _check(self) -> None:
        problem = self._node.replica.core.restore_problem()
        if problem:
            raise _refusal(problem)

    def _meta(self, least_index: int) -> SnapshotMeta:
        """The snapshot as if it were taken now: with our configuration, and an index that nothing else has."""
        core = self._node.replica.core
        configurations = core.state.configurations
        index = max(least_index, core.log.last_index) + 1
        now_ms = time.time_ns() // 1_000_000
        name = f"{core.term}-{index}-{now_ms}"
        return SnapshotMeta(name, index, core.term, configurations.latest, configurations.latest_index)

    def _writer(self, least_index: int) -> SnapshotWriter:
        meta = self._meta(least_index)
        try:
            return self._node.replica.snapshots.create(
                meta.index, meta.term, meta.configuration, meta.configuration_index, time.time_ns() // 1_000_000
            )
        except StorageError as error:
            raise _refusal(f"failed to create snapshot: {error}") from None


class _Waiter:
    """Waits for a proposal in place of a Request."""

    method = "Raft.RestoreSnapshot"

    def __init__(self) -> None:
        self._done = trio.Event()
        self._value: Any = None
        self._error: RemoteError | None = None

    def reply(self, value: Any = None) -> None:
        self._value = value
        self._done.set()

    def fail(self, code: str, message: str, data: Any = None) -> None:
        self._error = RemoteError(code, message, data)
        self._done.set()

    async def outcome(self) -> int:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return int(self._value)


def _refusal(text: str) -> RemoteError:
    return RemoteError("rpc", _RESTORING + text)


def _explained(error: BaseException) -> BaseException:
    if isinstance(error, UnusableStateError):
        return _refusal(f"failed to restore snapshot: {error}")
    if isinstance(error, StorageError):
        return _refusal(f"failed to write snapshot: {error}")
    if isinstance(error, OSError):
        return _refusal(f"failed to write snapshot: {error.strerror or error}")
    return error


def _write_archive(snapshots: Snapshots, meta: SnapshotMeta, path: str, now_s: int) -> None:
    """In a thread."""
    from shared import snapshot_archive  # with its compressors, for the few who take backups

    reader = snapshots.open(meta)
    try:
        with open(path, "r+b") as out:
            snapshot_archive.write(out, meta_json(meta), reader, now_s)
            out.flush()
            os.fdatasync(out.fileno())
    finally:
        reader.close()


def _load(payload: dict[str, Any], writer: SnapshotWriter, machine: StateMachine, prepared: Any) -> None:
    """In a thread: the stream into the snapshot store, and into a state beside the current one."""
    with open(payload["path"], "rb") as source, _short_turns():
        copied = 0
        while block := source.read(_BLOCK_BYTES):
            copied += writer.write(block)
        if copied != payload["size"]:
            text = f"failed to write snapshot, size didn't match ({copied} != {payload['size']})"
            raise _refusal(text)
        writer.sync()
        source.seek(0)
        machine.fill(prepared, source)


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
