"""raft_node: consensus, log, snapshots, the FSM; the only writer of the state store. One process per server agent.

core         the Raft protocol as a plain object: events in, effects out
log          write-ahead log, term and vote, snapshots on disk
fsm          Consul's commands and snapshot stream over the state store
replica      performs the core's effects on log and state machine; snapshotting, recovery: the same, longer
wire         hashicorp/raft's RPCs as bytes; inbound, peers: connections from and to other servers
methods      what raft.sock serves; shell: the trio program around it all; opening: from config to files

Who may be asked what is in `methods`. Nothing here is imported by other services."""
