"""dns_frontend: Consul's DNS interface. What is not listed here is private.

message     queries and answers on the wire        question   what a name asks for
answers     Resolver: the answer to one query      records    records of nodes and service instances
truncation  how many records fit                   cache      answers as bytes, valid until the state moves
sources     the catalog behind the answers         recursors  names outside our domain
lane        the loop that serves sockets           listeners  the sockets"""
