"""What a caller is told when raft_node could not do its part: the texts that Consul's own Raft has for it."""

from __future__ import annotations

import pytest

from services.rpc_core.errors import from_neighbour
from shared.ipc import BusyError, ConnectionLostError, DeadlineError, IpcError, RemoteError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RemoteError("not_leader", "node is not the leader"), "no_leader", "No cluster leader"),
        (RemoteError("no_leader", "No cluster leader"), "no_leader", "No cluster leader"),
        (RemoteError("rpc", "invalid session"), "rpc", "invalid session"),
        (ConnectionLostError("raft", "Raft.Apply"), "rpc", "leadership lost while committing log"),
        (DeadlineError("raft", "Raft.Apply", sent=True), "rpc", "timed out enqueuing operation"),
        (BusyError("raft", "Raft.Apply"), "rpc", "timed out enqueuing operation"),
    ],
)
def test_failures_of_raft_have_consuls_texts(error: IpcError, code: str, text: str) -> None:
    told = from_neighbour(error)
    assert (told.code, str(told)) == (code, text)
