"""The gossip wire format: memberlist packets and streams, Serf messages. Everything here is plain bytes work.

decode_packet(data, keyring)     -> Packet(messages, problems); raises PacketError if nothing can be read
encode_packet(messages, ...)     -> bytes of one datagram
StreamDecoder(keyring).feed(b)   -> StreamMessage once it is complete; raises StreamError
encode_stream(message, ...)      -> bytes of one stream message
decode_serf(payload)             -> a Serf message; raises PacketError
encode_message(m), encode_serf(m), Keyring, limits: see the modules."""
