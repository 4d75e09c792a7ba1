"""Queries over a snapshot. Each module is one family, each function returns an Answer with Consul's index."""
