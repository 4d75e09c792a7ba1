"""A health check that stands alone: the body of /v1/agent/check/register, or an entry of `checks` in a config file.

Durations are nanoseconds."""

from __future__ import annotations

from shared.structs.catalog import CRITICAL, HealthCheck
from shared.structs.proxy import CheckType
from shared.structs.schema import BOOL, DURATION_ANY, INT, STR, STRS, Struct, attr, map_of


class CheckDefinition(Struct):
    """A check of the node or of a service that is registered already.

    id: "" stands for the name. service_id: "" makes it a check of the node. status: the first status, "" is
    critical. token: for the catalog. Everything else as in CheckType."""

    json_decoder = (
        "struct { Interval interface {}; Timeout interface {}; TTL interface {}; "
        "DeregisterCriticalServiceAfter interface {}; "
        'Args []string "json:\\"args\\""; ScriptArgsSnake []string "json:\\"script_args\\""; '
        'DeregisterCriticalServiceAfterSnake interface {} "json:\\"deregister_critical_service_after\\""; '
        'DockerContainerIDSnake string "json:\\"docker_container_id\\""; '
        'TLSSkipVerifySnake bool "json:\\"tls_skip_verify\\""; '
        'ServiceIDSnake string "json:\\"service_id\\""; '
        "*structs.Alias }"
    )

    id: str = attr("ID", STR, go_type="types.CheckID")
    name: str = attr("Name", STR)
    notes: str = attr("Notes", STR)
    service_id: str = attr("ServiceID", STR, aliases=("service_id",))
    token: str = attr("Token", STR)
    status: str = attr("Status", STR)
    script_args: list[str] | None = attr("ScriptArgs", STRS, aliases=("args", "script_args"))
    http: str = attr("HTTP", STR)
    header: dict[str, list[str]] | None = attr("Header", map_of(STRS))
    method: str = attr("Method", STR)
    body: str = attr("Body", STR)
    tcp: str = attr("TCP", STR)
    interval: int = attr("Interval", DURATION_ANY)
    docker_container_id: str = attr("DockerContainerID", STR, aliases=("docker_container_id",))
    shell: str = attr("Shell", STR)
    grpc: str = attr("GRPC", STR)
    grpc_use_tls: bool = attr("GRPCUseTLS", BOOL)
    tls_skip_verify: bool = attr("TLSSkipVerify", BOOL, aliases=("tls_skip_verify",))
    alias_node: str = attr("AliasNode", STR)
    alias_service: str = attr("AliasService", STR)
    timeout: int = attr("Timeout", DURATION_ANY)
    ttl: int = attr("TTL", DURATION_ANY)
    success_before_passing: int = attr("SuccessBeforePassing", INT)
    failures_before_critical: int = attr("FailuresBeforeCritical", INT)
    deregister_critical_service_after: int = attr(
        "DeregisterCriticalServiceAfter", DURATION_ANY, aliases=("deregister_critical_service_after",)
    )
    output_max_size: int = attr("OutputMaxSize", INT)

    def check_type(self) -> CheckType:
        """How the check is carried out. Its check_id is ours, "" where we have none."""
        shared = {a.name: getattr(self, a.name) for a in CheckType.attrs if a.name in _OWN_NAMES}
        return CheckType(check_id=self.id, **shared)

    def health_check(self, node: str) -> HealthCheck:
        """The row that `node` shows for this check before it ran for the first time."""
        return HealthCheck(
            node=node,
            check_id=self.id or self.name,
            name=self.name,
            status=self.status or CRITICAL,
            notes=self.notes,
            service_id=self.service_id,
        )


_OWN_NAMES = frozenset(a.name for a in CheckDefinition.attrs) - {"service_id"}  # a CheckType belongs to no service
