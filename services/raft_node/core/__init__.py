"""The Raft protocol as a plain object: no trio, no sockets, no disk, no clock. What is not listed here is private.

RaftCore(settings, storage, hard_state, ...)  one server; .start(now), .step(event, now) -> list[Effect], .deadline
    .take_committed()                         entries to apply; .role .term .commit_index .lease_end to look at
events (core.events)                          Tick, Propose, ReadIndex, Durable, RpcRequest, RpcReply, ...
effects (core.events)                         SaveHardState, AppendLog, Commit, Send, Answer, ...: in this order
messages (core.messages)                      the four RPCs of hashicorp/raft 1.1.2, and pre-vote
types (core.types)                            Entry, Server, Configuration, HardState, SnapshotMeta, Settings
bootstrap_entry(configuration)                entry 1 of a new cluster"""

from services.raft_node.core.node import RaftCore, bootstrap_entry

__all__ = ["RaftCore", "bootstrap_entry"]
