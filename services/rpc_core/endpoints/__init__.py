"""endpoints: Consul's RPC methods, one module per family, served alike to local processes and on port 8300.

table.EndpointTable   finds the method, decodes, answers; knows both doors
METHODS               in each family's module: method name -> coroutine(core, body) -> reply in wire form

A body is the decoded msgpack map of Consul's request struct, a reply what goes on the wire."""
