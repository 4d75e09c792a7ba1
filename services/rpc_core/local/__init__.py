"""local: what this agent knows about itself, kept equal to the catalog (anti-entropy).

schedule.SyncSchedule   core: when to compare everything, when to push changes
node_info               core: the node's own entry, and whether the catalog has it right
coordinates             the agent's network coordinate, sent now and then
sync.StateSyncer        shell: runs the schedule against the endpoints"""
