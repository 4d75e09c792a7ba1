"""Session records and requests."""

from __future__ import annotations

from shared.structs.schema import DURATION_ANY, STR, STRS, UINT, Kind, Struct, attr, list_of, struct

RELEASE, DELETE = "release", "delete"
CREATE, DESTROY = "create", "destroy"

_SMALL_LOCK_DELAY = 1000
"""JSON lock delays below this are seconds, others nanoseconds."""


class ServiceCheck(Struct):
    id: str = attr("ID", STR)
    namespace: str = attr("Namespace", STR)


class Session(Struct):
    """A lock holder. lock_delay is nanoseconds; in a JSON body numbers below 1000 count as seconds."""

    json_strict = False
    json_decoder = "struct { LockDelay interface {}; *structs.Alias }"

    id: str = attr("ID", STR)
    name: str = attr("Name", STR)
    node: str = attr("Node", STR)
    lock_delay: int = attr("LockDelay", DURATION_ANY)
    behavior: str = attr("Behavior", STR, go_type="structs.SessionBehavior")
    ttl: str = attr("TTL", STR)
    node_checks: list[str] | None = attr("NodeChecks", STRS)
    service_checks: list[ServiceCheck] | None = attr(
        "ServiceChecks", list_of(struct(lambda: ServiceCheck, "structs.ServiceCheck"))
    )
    checks: list[str] | None = attr("Checks", list_of(Kind("str", "types.CheckID")), omitempty=True)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    def after_json(self) -> None:
        if self.lock_delay < _SMALL_LOCK_DELAY:
            seconds_ns = self.lock_delay * 1_000_000_000
            self.lock_delay = (seconds_ns + (1 << 63)) % (1 << 64) - (1 << 63)  # Go's product wraps

    def check_ids(self) -> list[str]:
        """Every check this session depends on, node checks, service checks and old-style ones together."""
        linked = list(self.checks or ())
        linked += self.node_checks or ()
        linked += [check.id for check in self.service_checks or ()]
        return linked


class SessionRequest(Struct):
    """Session.Apply and FSM message 3."""

    datacenter: str = attr("Datacenter", STR)
    op: str = attr("Op", STR)
    session: Session = attr("Session", struct(lambda: Session))
    token: str = attr("Token", STR)
