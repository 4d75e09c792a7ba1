"""supervisor: starts the components of one agent in order, keeps them running, ends them in reverse.

Supervisor(config, ...)      shell: .run() -> exit code of the agent
plan, backoff, departure     cores: stages of the start, delays between restarts, what a signal means
hub, console, logfile        where the log records of all components come together and go out"""
