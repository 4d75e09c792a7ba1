"""gossip: who is in the cluster. memberlist (SWIM with Lifeguard) and Serf, byte-compatible with Consul 1.8.7.

codec/        wire formats: packets, streams, Serf messages; decoders raise PacketError for anything malformed
swim/         core: member list, failure detection, gossip, state exchange
serf/         core: tags, intents, user events, queries, snapshot; Serf(...) is one pool
coordinate/   Vivaldi network coordinates
consul/       Consul's tags and merge rules
pool.py       shell around one pool: UDP, TCP, timers, files
api.py        the methods and topics of gossip.sock
main.py       main(ctx): the service"""
