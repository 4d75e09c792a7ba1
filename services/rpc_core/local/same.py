"""Whether the catalog says of a service or a check what the agent says of it.

Empty and absent are the same here: they look alike after a journey through the log."""

from __future__ import annotations

from typing import Any

from shared.structs.catalog import HealthCheck, NodeService
from shared.structs.schema import Struct

_SERVICE = (
    "id", "service", "address", "port", "enable_tag_override", "kind",
    "tags", "tagged_addresses", "weights", "meta", "proxy",
)  # fmt: skip
_CHECK = (
    "node", "check_id", "name", "status", "notes", "service_id", "service_name", "service_tags", "definition",
)  # fmt: skip


def same_service(ours: NodeService, theirs: NodeService) -> bool:
    return ours.connect.native == theirs.connect.native and all(
        _same(getattr(ours, name), getattr(theirs, name)) for name in _SERVICE
    )


def same_check(ours: HealthCheck, theirs: HealthCheck, *, with_output: bool = True) -> bool:
    """with_output: False while our newest output waits for its time to be sent."""
    if with_output and ours.output != theirs.output:
        return False
    return all(_same(getattr(ours, name), getattr(theirs, name)) for name in _CHECK)


def _same(ours: Any, theirs: Any) -> bool:
    return bool(ours == theirs or _bare(ours) == _bare(theirs))


def _bare(value: Any) -> Any:
    """The value as plain data without anything empty in it, None if nothing is left."""
    if isinstance(value, Struct):
        value = value.to_wire()
    if isinstance(value, dict):
        value = {key: bare for key, item in value.items() if (bare := _bare(item)) is not None}
    elif isinstance(value, list | tuple):
        value = [_bare(item) for item in value]
    elif isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return None if value in ("", [], {}) else value
