"""Bounds on what one peer can make us allocate. Real agents stay far below all of them.

Sizes are bytes. Where memberlist has a limit of its own, it is the same here; the others exist so that no packet or
stream can cost more than a known amount of memory, whatever it claims about its own size."""

UDP_RECEIVE = 65536  # largest datagram, as memberlist's receive buffer
PACKET_BUDGET = 1400  # what we put into one datagram before compression
RUMOUR = 1366  # of it, what is left for a single part in an encrypted compound
PACKET_INFLATED = 128 * 1024  # all layers of one datagram together, after decompression
PACKET_PARTS = 1024  # messages in one datagram, over all compounds
PACKET_DEPTH = 6  # compound and compress layers inside each other
COMPOUND_PARTS_SENT = 127  # Consul 1.8's parser loses all parts of a larger compound

STREAM_WIRE = 20 * 1024 * 1024  # one stream message as received (memberlist: maxPushStateBytes)
STREAM_INFLATED = 40 * 1024 * 1024  # the same after decompression
STREAM_USER_STATE = 20 * 1024 * 1024  # Serf's part of a push/pull, or a user message
STREAM_NODES = 65536  # nodes in one push/pull
STREAM_COMPRESS_UP_TO = 64 * 1024  # larger states go out uncompressed: every receiver takes both forms

TEXT = 65536  # a name, tag value or error text: real agents pass on what fits a datagram
NAME = 512  # name of a member that is let in, UTF-8
META = 512  # Meta of a member that is let in, and of this one: memberlist's MetaMaxSize
PACKET_ARRAY = 1024  # elements of one msgpack array outside Serf's push/pull state
STREAM_ARRAY = 65536  # elements of one array in that state: names of nodes that left
STREAM_MAP = 131072  # entries of one msgpack map: status times of all nodes

USER_EVENT = 512  # name + payload, and the encoded message
EVENT_RING = 4 * 1024 * 1024  # names and payloads of all remembered events; 4000 of the largest honest ones
COUNTED_NAMES = 100  # different names under which events are counted, and as many for queries
COUNTED_NAME = 128  # characters of such a name
QUERY = 1024  # encoded query
QUERY_RESPONSE = 1024  # encoded answer, also when wrapped for a relay
KEY_RESPONSE = 8192  # answer to a key query that is looked at; members of Consul keep to 1024
