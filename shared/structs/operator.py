"""Operator records: autopilot configuration and the requests around Raft membership."""

from __future__ import annotations

from typing import Any, Self

from shared.gotext.durations import format_duration_ns
from shared.structs.schema import BOOL, DURATION, DURATION_READABLE, STR, UINT, Struct, attr, list_of, struct


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

    cleanup_dead_servers: bool = attr("CleanupDeadServers", BOOL)
    last_contact_threshold: int = attr("LastContactThreshold", DURATION_READABLE)
    max_trailing_logs: int = attr("MaxTrailingLogs", UINT)
    min_quorum: int = attr("MinQuorum", UINT)
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
