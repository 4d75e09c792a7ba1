"""watches: what the configuration wants to hear about; run against this agent's own HTTP API.

plans.compile_plans(config) -> [Plan]   raises WatchError with Consul's text
runner.Watches                          shell: runs the plans; `configure` replaces them
handlers                                a program or an HTTP request per change
client                                  one request to this agent's API"""
