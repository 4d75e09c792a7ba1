"""Service definitions of configuration files, as bodies for the agent's HTTP API."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Definition = dict[str, Any]

SERVICE_FIELDS = {
    "kind": "Kind",
    "id": "ID",
    "name": "Name",
    "tags": "Tags",
    "port": "Port",
    "address": "Address",
    "tagged_addresses": "TaggedAddresses",
    "enable_tag_override": "EnableTagOverride",
    "meta": "Meta",
    "weights": "Weights",
    "checks": "Checks",
    "proxy": "Proxy",
    "connect": "Connect",
    "token": "Token",
}
ACRONYMS = {"id": "ID", "http": "HTTP", "tcp": "TCP", "ttl": "TTL", "tls": "TLS", "grpc": "GRPC", "tls_skip_verify":
            "TLSSkipVerify", "grpc_use_tls": "GRPCUseTLS", "alias_node": "AliasNode", "check_id": "CheckID",
            "service_id": "ServiceID", "docker_container_id": "DockerContainerID"}  # fmt: skip
DURATIONS = frozenset({"interval", "timeout", "ttl", "deregister_critical_service_after"})
USER_KEYED = frozenset({"meta", "tagged_addresses", "header", "config"})
"""Objects whose keys are the user's own and stay as they are."""
ONLY_IN_AGENT = frozenset({"output_max_size"})
"""Defaults that the file's reader filled in; the agent fills them in itself."""


class DefinitionError(Exception):
    """The files are no valid configuration; the message is the configuration reader's."""


def from_files(paths: list[str]) -> list[Definition]:
    """The services of configuration files or directories, in the API's spelling. Raises DefinitionError."""
    from shared.config.builder import build
    from shared.config.options import ConfigError, Options

    try:
        config = build(Options(config_files=tuple(paths), dev_mode=True))
    except ConfigError as error:
        raise DefinitionError(str(error)) from None
    return [to_api(service) for service in config.services]


def to_api(service: Definition) -> Definition:
    return {
        SERVICE_FIELDS[key]: _translate(key, value)
        for key, value in service.items()
        if key in SERVICE_FIELDS and value not in ("", None, {}, [], ())
    }


def _translate(key: str, value: Any) -> Any:
    if key in DURATIONS and isinstance(value, int | float):
        from shared.gotext.durations import format_duration_s

        return format_duration_s(value)
    if isinstance(value, dict):
        keep = key in USER_KEYED
        return {
            (name if keep else _spell(name)): _translate("" if keep else name, item)
            for name, item in value.items()
            if name not in ONLY_IN_AGENT
        }
    if isinstance(value, list | tuple):
        return [_translate(key, item) for item in value]
    return value


def _spell(key: str) -> str:
    return ACRONYMS.get(key) or "".join(ACRONYMS.get(word, word.capitalize()) for word in key.split("_"))
