"""server_rpc: calls to the RPC ports of servers, for every process that makes some.

pool.ServerPool               connections by address, made when they are needed
connection.ServerConnection   one of them: calls on streams of a yamux session (shared.wire)
outlet.Outlet                 how what a session has to send leaves
errors                        how a call can fail, and what may be tried again"""
