"""What survives a crash: the log, term and vote, snapshots. What is not listed here is private.

Wal.open(disk, directory)              segmented write-ahead log; .append(entries), .reset, .compact, and LogStorage
StableStore.open(disk, path)           term and vote; .state, .save(state)
FileSnapshots(disk, directory)         snapshots in Consul's layout; .create, .newest, .open
MemoryLog, MemoryStable, MemorySnapshots   the same for dev mode
DirectoryLock(directory)               one agent per data directory
OsDisk, Disk                           the file operations, so that a test can stand in for the disk
StorageError > AppendError, CorruptionError, LockedError"""

from services.raft_node.log.disk import Disk, OsDisk
from services.raft_node.log.errors import AppendError, CorruptionError, LockedError, StorageError
from services.raft_node.log.lock import DirectoryLock
from services.raft_node.log.memory import MemoryLog, MemoryStable
from services.raft_node.log.snapshots import FileSnapshots, MemorySnapshots, Snapshots
from services.raft_node.log.stable import StableStore
from services.raft_node.log.wal import Wal

__all__ = [
    "AppendError",
    "CorruptionError",
    "DirectoryLock",
    "Disk",
    "FileSnapshots",
    "LockedError",
    "MemoryLog",
    "MemorySnapshots",
    "MemoryStable",
    "OsDisk",
    "Snapshots",
    "StableStore",
    "StorageError",
    "Wal",
]
