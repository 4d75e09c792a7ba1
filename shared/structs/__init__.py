"""Consul's records, declared once each; how they look on the wire, in JSON and in the store follows from it.

Every class is a `schema.Struct` (see there for to_wire, from_wire, to_json, from_json, replace, ...).

catalog     Node NodeService ServiceNode HealthCheck HealthCheckDefinition CheckServiceNode NodeInfo
            NodeServices NodeServiceList RegisterRequest DeregisterRequest, check states, service kinds
proxy       ConnectProxyConfig Upstream ExposeConfig ServiceConnect ServiceDefinition Weights ServiceAddress
kv          DirEntry KVSRequest TombstoneRequest, operation names
session     Session SessionRequest
coordinate  Coordinate Vivaldi CoordinateUpdateRequest
operator    AutopilotConfig AutopilotSetConfigRequest RaftServer RaftConfigurationResponse
txn         TxnRequest TxnOp TxnResult TxnResponse
query       QueryOptions QueryMeta QuerySource and the read requests
wire        pack(value) -> bytes, unpack(bytes) -> value, WireStream: Consul's msgpack
gojson      dumps(value) -> bytes, loads(bytes): JSON text as Go writes and reads it
gotime      times as Go writes them
errors      WireTypeError, JsonError, JsonTypeError

Import the module you need (`from shared.structs.catalog import Node`): this package imports nothing itself."""
