"""peers.json: an operator's word for who is in the Raft configuration, after an outage that left no quorum.

It is read at start only if peers.info is there, which the first start writes; one that is found without it is a relic
of old versions and is removed. Both files are in the raft directory, and formats and errors are Consul's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from services.raft_node.core.configuration import ConfigurationError, check
from services.raft_node.core.types import COMMAND, NON_VOTER, VOTER, Configuration, Entry, Server
from services.raft_node.log import Snapshots, StorageError
from services.raft_node.log.wal import Wal
from services.raft_node.machine import StateMachine
from services.raft_node.recovery import Recovered
from shared.config.runtime import IDS_FROM_RAFT_PROTOCOL

PEERS: Final = "peers.json"
INFO: Final = "peers.info"
_BATCH_BYTES: Final = 1 << 20
_CONFIGURATION_INDEX: Final = 1
_GO_TYPES: Final = {"id": ("raft.ServerID", str), "address": ("raft.ServerAddress", str), "non_voter": ("bool", bool)}

INFO_TEXT: Final = """\
peers.json in this directory is for emergencies: it tells this server who the members of its cluster are when too few
of them are left to elect a leader. Usually there is no such file.

How to recover a cluster:

1. Stop all of its servers.
2. Write the same peers.json on each server that is to go on, with all of these servers in it.
3. Start them. Each takes the file as the new Raft configuration, removes it, and an election follows.

A server that speaks Raft protocol 3 or later (raft_protocol in its configuration; 3 is the default) expects the id,
the address with the server port, and optionally whether it has no vote, of every server:

[
  {"id": "3b0f4e6a-7f2c-4c58-9a3e-0d1f5a7c2b91", "address": "10.1.0.1:8300", "non_voter": false},
  {"id": "c5a1d0f2-1e7b-4f0d-8b63-6a9e4d2c7f10", "address": "10.1.0.2:8300", "non_voter": false},
  {"id": "e94b7d38-52a6-4b1e-a0c9-f3d2187e6c45", "address": "10.1.0.3:8300", "non_voter": false}
]

The id of a server is in the file node-id in its data directory, and in its log when it starts.

One that speaks Raft protocol 2 or earlier expects the addresses only:

["10.1.0.1:8300", "10.1.0.2:8300", "10.1.0.3:8300"]

This file, peers.info, is written when a server starts for the first time. As long as it is not there, a peers.json is
taken for a relic of an old version, and removed without being read.
"""


class PeersFileError(ValueError):
    """The content of peers.json is no configuration. The text is hashicorp/raft's."""


def found(directory: str, say: Callable[[str], None]) -> str | None:
    """The path of a peers.json that is to be used. Writes peers.info where it is missing. Raises StorageError."""
    peers, info = os.path.join(directory, PEERS), os.path.join(directory, INFO)
    if os.path.exists(info):
        return peers if os.path.exists(peers) else None
    try:
        with open(os.open(info, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w", encoding="ascii") as file:
            file.write(INFO_TEXT)
    except OSError as error:
        raise StorageError(f"failed to write peers.info file: {error}") from error
    if os.path.exists(peers):
        _remove(peers, "failed")
        say("deleted peers.json file (see peers.info for details)")
    return None


def recover_from(
    path: str,
    raft_protocol: int,
    log: Wal,
    snapshots: Snapshots,
    machine: StateMachine,
    recovered: Recovered,
    now_ms: int,
) -> None:
    """Makes the configuration in the file at `path` this server's own, and removes the file. All there is in the log
    counts as committed, and becomes a snapshot with the new configuration. Raises StorageError.

    A crash on the way leaves the file, and the next start does it all again."""
    try:
        with open(path, "rb") as file:
            configuration = parse(file.read(), raft_protocol)
    except (OSError, PeersFileError) as error:
        raise StorageError(f"recovery failed to parse peers.json: {error}") from error
    snapshot = recovered.snapshot
    index, term = (snapshot.index, snapshot.term) if snapshot else (0, 0)
    if log.last_index > index:
        index, term = log.last_index, log.term_at(log.last_index)
    if not index:
        raise StorageError(
            "recovery failed: refused to recover cluster with no initial state, this is probably an operator error"
        )
    for entries in _batches(log, recovered.applied_index + 1):
        machine.apply_batch(entries)
    writer = snapshots.create(index, term, configuration, _CONFIGURATION_INDEX, now_ms)
    try:
        for piece in machine.stream():
            writer.write(piece)
        writer.finish()
    except BaseException:
        writer.cancel()
        raise
    log.reset(index + 1)
    _remove(path, "recovery failed")


def _remove(path: str, what: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        raise StorageError(
            f"{what} to delete peers.json, please delete manually (see peers.info for details): {error}"
        ) from error


def _batches(log: Wal, first_index: int) -> Iterator[list[Entry]]:
    """The commands in the log from `first_index` on."""
    start = max(first_index, log.first_index)
    while start <= log.last_index:
        entries = log.read(start, log.last_index, _BATCH_BYTES)
        commands = [entry for entry in entries if entry.type == COMMAND]
        if commands:
            yield commands
        start = entries[-1].index + 1


# The file --------------------------------------------------------------------------------------------------


def parse(data: bytes, raft_protocol: int) -> Configuration:
    """Raises PeersFileError."""
    import json

    from shared.gotext.json_syntax import JsonSyntaxError, end_of_first

    try:
        value = json.loads(data[: end_of_first(data)])
    except JsonSyntaxError as error:
        raise PeersFileError(str(error)) from None
    entry_type = "string" if raft_protocol < IDS_FROM_RAFT_PROTOCOL else "raft.configEntry"
    if value is not None and not isinstance(value, list):
        raise _mismatch(value, f"Go value of type []{entry_type}")
    server = _address_only if raft_protocol < IDS_FROM_RAFT_PROTOCOL else _entry
    configuration = Configuration(tuple(server(item) for item in value or ()))
    try:
        check(configuration)
    except ConfigurationError as error:
        raise PeersFileError(str(error)) from None
    return configuration


def _address_only(item: Any) -> Server:
    if item is not None and not isinstance(item, str):
        raise _mismatch(item, "Go value of type string")
    return Server(item or "", item or "", VOTER)


def _entry(item: Any) -> Server:
    if item is not None and not isinstance(item, dict):
        raise _mismatch(item, "Go value of type raft.configEntry")
    fields: dict[str, Any] = {"id": "", "address": "", "non_voter": False}
    for name, value in (item or {}).items():
        known = _GO_TYPES.get(name.lower())
        if known is None or value is None:
            continue
        go_type, kind = known
        if type(value) is not kind:
            raise _mismatch(value, f"Go struct field configEntry.{name.lower()} of type {go_type}")
        fields[name.lower()] = value
    return Server(fields["id"], fields["address"], NON_VOTER if fields["non_voter"] else VOTER)


def _mismatch(value: Any, wanted: str) -> PeersFileError:
    from shared.structs.json_decode import json_kind

    return PeersFileError(f"json: cannot unmarshal {json_kind(value)} into {wanted}")
