"""lane: HTTP/1.1 for many connections in one trio task, without a task, a queue or a stream per request.

Connection(remote, limits, dispatch)   sans-IO protocol of one connection: bytes in, requests out, answers in order
ChunkedBody                            decoder of chunked bodies
TimerWheel                             coarse deadlines for thousands of connections
Lane(...)                              the epoll loop that owns the sockets
"""
