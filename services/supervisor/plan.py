"""Stages: the order in which the components of an agent start, as Consul's Agent.Start has it."""

from __future__ import annotations

DELEGATE_SERVER = ("raft_node", "gossip", "rpc_core")
DELEGATE_CLIENT = ("gossip", "rpc_core")
ENDPOINTS = ("dns_frontend", "http_gateway")
COMPONENTS = (*DELEGATE_SERVER, *ENDPOINTS)

_REPORT_ORDER = ("rpc_core", "raft_node", "gossip", *ENDPOINTS)


def stages(server: bool) -> tuple[tuple[str, ...], ...]:
    """Components by stage. A stage may start when every component of the stage before is READY."""
    delegate = DELEGATE_SERVER if server else DELEGATE_CLIENT
    return (delegate, *((endpoint,) for endpoint in ENDPOINTS))


def stop_order(server: bool) -> tuple[str, ...]:
    """The reverse of the start: nobody loses a neighbour that it still serves requests with."""
    return tuple(name for stage in reversed(stages(server)) for name in reversed(stage))


def first_to_report(failures: dict[str, str]) -> str:
    """Which of several failures of one stage to show: the one a Consul agent would have met first.

    Two agents on one address collide on every port; the RPC port is the first that Consul binds."""
    return min(failures, key=_REPORT_ORDER.index)
