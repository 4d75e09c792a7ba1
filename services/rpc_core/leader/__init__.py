"""leader: what only the Raft leader does besides replicating. What is not listed here is private.

duties.LeaderDuties      shell: barrier, establish, reconcile, reap; runs while this server leads
raft_membership          who is in the Raft configuration
reconcile.reconcile      core: gossip member + catalog -> commands for the catalog
tombstones.TombstoneTimer     core: when which tombstones may be forgotten
session_timers.SessionTimers  core: when a session's TTL has run out"""
