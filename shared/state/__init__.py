"""shared.state: the replicated state of one server agent, written by raft_node, read by every process.

Reading (any process)
  reader.StateReader(directory)            one per process
      .snapshot() -> Snapshot              with reader.snapshot() as snap: ...; StateUnavailableError while
                                           no store exists. Keep it short: close before the next await.
  snapshot.Snapshot                        what queries take; also
      .versions(watch) -> tuple            equal tuples = equal answer: the check of a response cache
      .applied() -> (index, term)          .generation changes when the state is replaced
  queries.kv        get  tree  keys  lock_delay_until
  queries.catalog   nodes  node  services  service_list  service_nodes  service_address_nodes
                    node_services  node_service_list
  queries.health    node_checks  service_checks  checks_in_state  service_nodes
  queries.session   get  all_sessions  node_sessions
  queries.internal  node_info  node_dump  service_dump
  queries.coordinate  nodes  node          queries.operator  autopilot_config
      Each is f(snap, ...) -> answer.Answer(index, value, watch).
  queries.txn       read(snap, ops) -> TxnResponse
  watch.WatchHub    register(watch, callback) -> Registration (.cancel()), notify(topics), wake_all()
      feed it with the topics of every change record [index, topics] of raft.sock's `changes`
  leadership.LeadershipPage.open(path).read() -> Leadership

Writing (raft_node only)
  store.StateStore.open(directory)         .trusted .applied_index .applied_term .write() .rebuild() .reset()
                                           .snapshot() .close()
  leadership.LeadershipPage.create(path).write(Leadership(...))

Errors: errors.StateUnavailableError, StateFullError (retry when there is room), StateBrokenError (rebuild).

A waiter does: with reader.snapshot() as snap: answer = query(snap); if answer.index > min_index: reply; else
registration = hub.register(answer.watch, wake) in the same step, without an await; on wake: the same again.

This package imports nothing itself: import the module you need."""
