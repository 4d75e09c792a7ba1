"""autopilot: how the servers of a cluster are looked after by their leader. What is not listed here is private.

autopilot.Autopilot   shell: looks at all servers every two seconds, promotes, removes; runs while this server leads
health                core: what the leader thinks of each server
promotion             core: which servers get a vote
succession            core: which server may lead next
removal               core: which servers have to go
protocol              core: the oldest Raft protocol that a living server speaks"""
