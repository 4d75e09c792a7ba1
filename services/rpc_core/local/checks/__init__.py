"""checks: health checks and what carries them out. What is not listed here is private.

definition   validate, is_script, is_alias, is_empty, check_type_from_config,
             definition_from_config
runner       make_runner(check, notify, rng=, agent=) -> Runner; Runner.run is a task that ends when cancelled;
             Notify and Aliased are what the local state offers; CheckAgent
ttl          TtlRunner.set_status(status, output): what /v1/agent/check/update and pass, warn, fail do"""
