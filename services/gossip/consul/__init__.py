"""What Consul adds to Serf: the tags of its agents, and who may be in a pool with whom."""
