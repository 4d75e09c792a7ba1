"""What kind of check a definition describes, as the catalog shows it."""

from __future__ import annotations

from shared.structs.catalog import HealthCheckDefinition
from shared.structs.proxy import CheckType


def check_kind(check: CheckType | HealthCheckDefinition) -> str:
    """The name of the kind, "" for a check that no agent could run."""
    if check.grpc and check.interval > 0:
        return "grpc"
    if check.http and check.interval > 0:
        return "http"
    if check.ttl > 0:
        return "ttl"
    if check.tcp and check.interval > 0:
        return "tcp"
    if check.alias_node or check.alias_service:
        return "alias"
    if check.script_args:
        return "docker" if check.docker_container_id and check.interval > 0 else "script"
    return ""
