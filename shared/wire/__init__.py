"""wire: what goes over port 8300, without I/O. Bytes and the time go in, events and bytes come out.

yamux.Session        many streams over one connection: flow control, keepalive, go away
rpc.RequestDecoder   the calls in a byte stream (server side of msgpack-rpc)
rpc.ResponseDecoder  the answers in a byte stream (client side)
rpc.encode_request / encode_response / encode_error
demux.ConnectionKind what the first byte of a connection announces"""
