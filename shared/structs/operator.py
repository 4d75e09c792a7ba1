"""Operator records: autopilot configuration and the requests around Raft membership."""

from __future__ import annotations

from shared.structs.schema import BOOL, DURATION, STR, UINT, Struct, attr, list_of, struct


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
