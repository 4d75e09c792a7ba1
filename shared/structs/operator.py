"""Operator records: autopilot configuration and the requests around Raft membership."""

from __future__ import annotations

from typing import Any, Self

from shared.gotext.durations import format_duration_ns
from shared.structs.gotime import time_from_unix_ns, time_to_unix_ns
from shared.structs.schema import (
    BOOL,
    DURATION,
    DURATION_READABLE,
    INT,
    STR,
    TIME,
    UINT,
    Struct,
    attr,
    list_of,
    struct,
)


class AutopilotConfig(Struct):
    go_name = "Config"

    cleanup_dead_servers: bool = attr("CleanupDeadServers", BOOL)
    last_contact_threshold: int = attr("LastContactThreshold", DURATION)
    max_trailing_logs: int = attr("MaxTrailingLogs", UINT)
    min_quorum: int = attr("MinQuorum", UINT)
    server_stabilization_time: int = attr("ServerStabilizationTime", DURATION)
    redundancy_zone_tag: str = attr("RedundancyZoneTag", STR)
    disable_upgrade_migration: bool = attr("DisableUpgradeMigration", BOOL)
    upgrade_version_tag: str = attr("UpgradeVersionTag", STR)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)


class AutopilotSettings(Struct):
    """An AutopilotConfig as the HTTP API shows and takes it: durations as text."""

    go_name = "AutopilotConfiguration"
    go_package = "api"

    cleanup_dead_servers: bool = attr("CleanupDeadServers", BOOL)
    last_contact_threshold: int = attr("LastContactThreshold", DURATION_READABLE)
    max_trailing_logs: int = attr("MaxTrailingLogs", UINT)
    min_quorum: int = attr("MinQuorum", UINT, go_type="uint")
    server_stabilization_time: int = attr("ServerStabilizationTime", DURATION_READABLE)
    redundancy_zone_tag: str = attr("RedundancyZoneTag", STR)
    disable_upgrade_migration: bool = attr("DisableUpgradeMigration", BOOL)
    upgrade_version_tag: str = attr("UpgradeVersionTag", STR)
    create_index: int = attr("CreateIndex", UINT)
    modify_index: int = attr("ModifyIndex", UINT)

    @classmethod
    def of(cls, config: AutopilotConfig) -> Self:
        return cls(**{field.name: getattr(config, field.name) for field in cls.attrs})

    def shown(self) -> dict[str, Any]:
        """As JSON; unlike `to_json` with the durations as text."""
        shown = self.to_json()
        for name in ("LastContactThreshold", "ServerStabilizationTime"):
            shown[name] = format_duration_ns(shown[name])
        return shown

    def to_config(self) -> AutopilotConfig:
        """The settings without indexes, which only the store sets."""
        config = AutopilotConfig(**{field.name: getattr(self, field.name) for field in self.attrs})
        config.create_index = config.modify_index = 0
        return config


class AutopilotSetConfigRequest(Struct):
    """Operator.AutopilotSetConfiguration and FSM message 9."""

    datacenter: str = attr("Datacenter", STR)
    config: AutopilotConfig = attr("Config", struct(lambda: AutopilotConfig))
    cas: bool = attr("CAS", BOOL)
    token: str = attr("Token", STR)


class RaftServer(Struct):
    id: str = attr("ID", STR)
    node: str = attr("Node", STR)
    address: str = attr("Address", STR)
    leader: bool = attr("Leader", BOOL)
    protocol_version: str = attr("ProtocolVersion", STR)
    voter: bool = attr("Voter", BOOL)


class RaftConfigurationResponse(Struct):
    servers: list[RaftServer] | None = attr("Servers", list_of(struct(lambda: RaftServer)))
    index: int = attr("Index", UINT)


class RaftRemovePeerRequest(Struct):
    datacenter: str = attr("Datacenter", STR)
    address: str = attr("Address", STR)
    id: str = attr("ID", STR)
    token: str = attr("Token", STR)


class RaftTransferLeaderRequest(Struct):
    """Operator.RaftTransferLeader, which Consul 1.8 does not have. id: the server that is to lead, "" for any."""

    datacenter: str = attr("Datacenter", STR)
    id: str = attr("ID", STR)
    token: str = attr("Token", STR)


SERF_STATUS_NAMES = ("none", "alive", "leaving", "left", "failed")


class ServerHealth(Struct):
    """One server as its leader sees it. last_contact: nanoseconds since it heard of the leader, -1 if unknown."""

    id: str = attr("ID", STR)
    name: str = attr("Name", STR)
    address: str = attr("Address", STR)
    serf_status: int = attr("SerfStatus", INT)
    version: str = attr("Version", STR)
    leader: bool = attr("Leader", BOOL)
    last_contact: int = attr("LastContact", DURATION)
    last_term: int = attr("LastTerm", UINT)
    last_index: int = attr("LastIndex", UINT)
    healthy: bool = attr("Healthy", BOOL)
    voter: bool = attr("Voter", BOOL)
    stable_since: bytes = attr("StableSince", TIME)

    def shown(self) -> dict[str, Any]:
        """As the HTTP API shows it: words for numbers, whole seconds."""
        rounded = (time_to_unix_ns(self.stable_since) + _HALF_SECOND_NS) // _SECOND_NS * _SECOND_NS
        shown = self.replace(stable_since=time_from_unix_ns(rounded)).to_json()
        known = 0 <= self.serf_status < len(SERF_STATUS_NAMES)
        shown["SerfStatus"] = SERF_STATUS_NAMES[self.serf_status if known else 0]
        shown["LastContact"] = format_duration_ns(self.last_contact)
        return shown


_SECOND_NS = 1_000_000_000
_HALF_SECOND_NS = _SECOND_NS // 2


class OperatorHealthReply(Struct):
    """The whole cluster. failure_tolerance: healthy voters that can be lost before there is no quorum."""

    healthy: bool = attr("Healthy", BOOL)
    failure_tolerance: int = attr("FailureTolerance", INT)
    servers: list[ServerHealth] | None = attr("Servers", list_of(struct(lambda: ServerHealth)))

    def shown(self) -> dict[str, Any]:
        servers = None if self.servers is None else [server.shown() for server in self.servers]
        return {"Healthy": self.healthy, "FailureTolerance": self.failure_tolerance, "Servers": servers}
