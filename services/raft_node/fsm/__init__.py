"""raft_node.fsm: committed log entries become replicated state. What is not listed here is private.

machine.Fsm(store)                      .apply_batch(entries, now_ns) -> Applied(results, change)
                                        .write_snapshot() -> pieces    .restore(pieces, index, term) -> change
machine.Entry(index, term, data, extensions)
errors.CommandError                     a result: the command failed, str() is what the client sees
errors.FatalCommandError                a committed entry cannot be applied: stop this server
errors.SnapshotError                    a stream cannot be restored; the state is as before

One module per command family: kv, sessions, nodes, services, checks, registration (messages 0 and 1),
settings (coordinates, tombstone reaping, autopilot), txn, families (kept but not served), chunks."""
