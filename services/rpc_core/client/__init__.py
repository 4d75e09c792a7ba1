"""Client mode: every call goes to a server. What is not listed here is private.

service.ClientRpcCore       the process
caller.Caller               calls of the agent itself, and those of local processes, on their way to a server
manager.ServerManager       which server that is: fed by gossip, shuffled every few minutes
server_list.ServerList      core: the order in which servers are used"""
