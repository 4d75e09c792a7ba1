"""rpc_core: the server's RPC. Endpoints for local processes (rpc.sock) and the network (8300), leader duties,
and the agent's own entry in the catalog. What is not listed here is private.

main.main                       the process
service.RpcCore                 a server's
client.service.ClientRpcCore    a client's: every call goes to a server
endpoints.table.EndpointTable   every method by its Consul name
encoded_writes                  key/value and catalog writes that come encoded: on without a task
listener.RpcListener            port 8300: first byte, limits, hand-over
wire                            yamux and msgpack-rpc without I/O
leader, local                   what the leader does; what the agent does for itself"""
