"""local: the services and checks of this agent, kept equal to the catalog (anti-entropy).

state.LocalState        core: what is registered here, and how far the catalog knows of it
pushes.Pushes           core: the requests that bring the catalog up to date, and what their outcomes mean
schedule.SyncSchedule   core: when to compare everything, when to push changes
node_info               core: the node's own entry, and whether the catalog has it right
registry.Registry       adding and removing a service or check: state, runners and files together
local_agent.LocalAgent  shell: all of it as a whole - loaded, changed, reloaded, reaped, synced
sync.StateSyncer        shell: runs the schedule against the endpoints
methods.LocalMethods    the Agent.* methods that HTTP clients reach
checks                  what carries out health checks
programs                how programs are run, for checks, watches and remote execution
cache.AgentCache        values that clients asked for with ?cached, kept fresh
events.Events           user events: fired, received, the last ones kept
watches                 the watches of the configuration and their handlers
remote_exec.RemoteExec  this node's part of `exec`
coordinates             the agent's network coordinate, sent now and then"""
