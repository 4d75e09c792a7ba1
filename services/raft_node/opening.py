"""Opening: from the agent's configuration to everything a replica is made of, checked and recovered."""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple

from services.raft_node import peers_file
from services.raft_node.core.types import Configuration, HardState, Server, Settings, SnapshotMeta
from services.raft_node.log import (
    DirectoryLock,
    FileSnapshots,
    MemoryLog,
    MemorySnapshots,
    MemoryStable,
    OsDisk,
    Snapshots,
    StableStore,
    StorageError,
    Wal,
)
from services.raft_node.page import take_back
from services.raft_node.recovery import Recovered, bootstrap, has_state, recover
from services.raft_node.store_machine import StoreMachine
from shared.config.runtime import RuntimeConfig
from shared.log import get_logger
from shared.state.leadership import FILE as PAGE_FILE
from shared.state.leadership import Leadership, LeadershipPage
from shared.state.store import StateStore

_log = get_logger("agent.server.raft")
_server_log = get_logger("agent.server")

_FOREIGN_LOG: Final = "raft.db"


class Storage(NamedTuple):
    """Everything that is open. found_leadership: what the page said before this process wrote to it.

    resumed: the state store was as the process before had left it; same_agent: and that process ran below the
    same supervisor, so that only this component was restarted."""

    settings: Settings
    log: Wal | MemoryLog
    stable: StableStore | MemoryStable
    snapshots: Snapshots
    machine: StoreMachine
    page: LeadershipPage
    found_leadership: Leadership
    recovered: Recovered
    resumed: bool
    same_agent: bool
    lock: DirectoryLock

    def close(self) -> None:
        """Leaves everything as it should be found; the lock is let go last."""
        self.log.close()
        self.stable.close()
        self.machine.close()
        self.page.close()
        self.lock.release()


def open_storage(config: RuntimeConfig) -> Storage:
    """Raises StorageError, StateError or OSError, with what to change."""
    settings = Settings(
        config.raft_id,
        config.rpc_advertise_addr,
        config.raft.heartbeat_timeout_s,
        config.raft.election_timeout_s,
        config.raft.leader_lease_timeout_s,
        config.raft.commit_timeout_s,
        config.raft.max_append_entries,
        trailing_logs=config.raft_trailing_logs,
    )
    in_memory = not config.data_dir
    if in_memory:
        _make_directory(config.state_dir, "-run-dir")
        lock = DirectoryLock(config.state_dir, "-run-dir")
    else:
        lock = DirectoryLock(_raft_directory(config))
        _make_directory(config.state_dir, "-data-dir")
    page = LeadershipPage.create(os.path.join(config.state_dir, PAGE_FILE))
    found = take_back(page)
    store = StateStore.open(config.state_dir)
    resumed = store.trusted
    if not resumed:  # it is built again, from something older at first
        take_back(page, alone=True)
    same_agent = _same_agent(os.path.join(config.state_dir, "agent"))
    machine = StoreMachine(store)
    opened: tuple[Wal | MemoryLog, StableStore | MemoryStable, Snapshots, Recovered]
    if in_memory:
        opened = _open_memory(config, settings, machine, found.term)
    else:
        opened = _open_files(config, settings, machine)
    log, stable, snapshots, recovered = opened
    return Storage(settings, log, stable, snapshots, machine, page, found, recovered, resumed, same_agent, lock)


def _same_agent(path: str) -> bool:
    """Whether the process that wrote `path` last had the same parent process; then writes ours."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/stat", encoding="ascii", errors="replace") as file:
            started = file.read().rpartition(")")[2].split()[19]
        mine = f"{parent} {started}"
        found = ""
        if os.path.exists(path):
            with open(path, encoding="ascii", errors="replace") as file:
                found = file.read()
        with open(path, "w", encoding="ascii") as file:
            file.write(mine)
    except (OSError, IndexError):
        return False
    return found == mine


def _make_directory(directory: str, option: str) -> None:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot create {directory}: {error.strerror}; give the agent a {option} that it owns"
        ) from error


def _raft_directory(config: RuntimeConfig) -> str:
    directory = os.path.join(config.data_dir, "raft")
    _make_directory(directory, "-data-dir")
    if os.path.exists(os.path.join(directory, _FOREIGN_LOG)) and not os.path.exists(os.path.join(directory, "wal")):
        raise StorageError(
            f"{directory} holds the log of another Consul implementation ({_FOREIGN_LOG}), which this one cannot "
            "read: start with an empty -data-dir and let the server join its cluster, or restore a snapshot"
        )
    return directory


def _open_files(
    config: RuntimeConfig, settings: Settings, machine: StoreMachine
) -> tuple[Wal, StableStore, FileSnapshots, Recovered]:
    directory = _raft_directory(config)
    disk = OsDisk()
    log = Wal.open(disk, os.path.join(directory, "wal"))
    if log.torn_bytes:
        _log.warn("cut off an unfinished write at the end of the log", bytes=log.torn_bytes)
    stable = StableStore.open(disk, os.path.join(directory, "stable"))
    snapshots = FileSnapshots(disk, os.path.join(directory, "snapshots"))
    peers = peers_file.found(directory, _server_log.info)
    if peers is not None:
        _server_log.info("found peers.json file, recovering Raft configuration...")
        recovered = recover(log, snapshots, machine, _log.warn)
        now_ms = time.time_ns() // 1_000_000
        peers_file.recover_from(peers, config.raft_protocol, log, snapshots, machine, recovered, now_ms)
        _server_log.info("deleted peers.json file after successful recovery")
    if _may_bootstrap(config) and not has_state(log, stable, snapshots):
        bootstrap(log, stable, _only(settings))
    recovered = recover(log, snapshots, machine, _log.warn)
    for problem in snapshots.unreadable:
        _log.warn("failed to read metadata", error=problem)
    if recovered.restored and recovered.snapshot:
        _log.info("restored from snapshot", id=recovered.snapshot.id)
    return log, stable, snapshots, recovered


def _may_bootstrap(config: RuntimeConfig) -> bool:
    return config.bootstrap or config.dev_mode or config.bootstrap_expect == 1


def _only(settings: Settings) -> Configuration:
    return Configuration((Server(settings.node_id, settings.address),))


def _open_memory(
    config: RuntimeConfig, settings: Settings, machine: StoreMachine, page_term: int
) -> tuple[MemoryLog, MemoryStable, MemorySnapshots, Recovered]:
    """Dev mode. If the process before was killed, the state store still has all that was acknowledged: it is the
    snapshot with which the log of this process begins."""
    if machine.applied_index == 0:
        log, stable, snapshots = MemoryLog(), MemoryStable(), MemorySnapshots()
        if _may_bootstrap(config):
            bootstrap(log, stable, _only(settings))
        if page_term > stable.state.term:
            # Something threw the state away. The next leader must be a new one for those who watch the page:
            # it is in a new term that they fill the empty state again.
            stable.save(HardState(term=page_term))
        return log, stable, snapshots, recover(log, snapshots, machine)
    index, term = machine.applied_index, machine.applied_term
    base = SnapshotMeta("", index, term, _only(settings), 1)
    stable = MemoryStable(HardState(term=max(term, page_term)))
    return MemoryLog(index + 1), stable, MemorySnapshots(), Recovered(base, [], index, False)
