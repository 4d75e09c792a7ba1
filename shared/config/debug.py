"""DebugConfig and Config: the configuration as /v1/agent/self shows it, in Consul's names, secrets hidden."""

from __future__ import annotations

import socket
from typing import Any

from shared.config.debug_services import show_check, show_service
from shared.config.runtime import RuntimeConfig
from shared.config.sections import Gossip
from shared.gotext.durations import format_duration_s
from shared.version import CONSUL_REVISION

HIDDEN = "hidden"
_EXACT_FLOAT_MAX = 1e15
_CIRCONUS = (
    ("CirconusAPIApp", "circonus_api_app"),
    ("CirconusAPIToken", "circonus_api_token"),
    ("CirconusAPIURL", "circonus_api_url"),
    ("CirconusBrokerID", "circonus_broker_id"),
    ("CirconusBrokerSelectTag", "circonus_broker_select_tag"),
    ("CirconusCheckDisplayName", "circonus_check_display_name"),
    ("CirconusCheckForceMetricActivation", "circonus_check_force_metric_activation"),
    ("CirconusCheckID", "circonus_check_id"),
    ("CirconusCheckInstanceID", "circonus_check_instance_id"),
    ("CirconusCheckSearchTag", "circonus_check_search_tag"),
    ("CirconusCheckTags", "circonus_check_tags"),
    ("CirconusSubmissionInterval", "circonus_submission_interval"),
    ("CirconusSubmissionURL", "circonus_submission_url"),
)

Object = dict[str, Any]


def short_config(config: RuntimeConfig) -> Object:
    """The object `Config`: who the agent is."""
    return {
        "Datacenter": config.datacenter,
        "NodeName": config.node_name,
        "NodeID": config.node_id,
        "Revision": CONSUL_REVISION,
        "Server": config.server,
        "Version": config.version,
    }


def debug_config(config: RuntimeConfig) -> Object:
    """The object `DebugConfig`, its 206 fields sorted by name; ready for a JSON encoder."""
    fields: Object = {
        **_acl(config),
        **_addresses(config),
        **_agent(config),
        **_autopilot(config),
        **_checks_and_services(config),
        **_cluster(config),
        **_dns(config),
        **_gossip("LAN", config.gossip_lan),
        **_gossip("WAN", config.gossip_wan),
        **_http(config),
        **_raft_and_rpc(config),
        **_tls(config),
        "AutoConfig": _auto_config(config),
        "Logging": _logging(config),
        "Telemetry": _telemetry(config),
    }
    return {name: _sanitised(name, fields[name]) for name in sorted(fields)}


def is_secret(name: str) -> bool:
    """Whether the text of a field or map key of that name has to be hidden."""
    if name in ("TokenLocality", "IntroTokenFile"):
        return False
    return any(word in name.lower() for word in ("key", "token", "secret"))


def _sanitised(name: str, value: Any) -> Any:
    """Texts with telling names hidden, tuples as lists, whole floats as integers (as Go's encoder does)."""
    if isinstance(value, str):
        return HIDDEN if is_secret(name) and not isinstance(value, _Plain) else str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT_MAX:
        return int(value)
    if isinstance(value, dict):
        return {key: _sanitised(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sanitised(name, inner) for inner in value]
    return value


def _clean_join(address: str) -> str:
    """Credentials in the settings of a cloud provider ("provider=aws secret_access_key=...") hidden."""
    return " ".join(f"{field.partition('=')[0]}={HIDDEN}" if is_secret(field) else field for field in address.split())


def _ip_bytes(ip: str) -> list[int]:
    """An address as Go's encoder shows a net.IP that nobody formats: 16 numbers."""
    if ":" in ip:
        return list(socket.inet_pton(socket.AF_INET6, ip))
    return [0] * 10 + [255, 255, *socket.inet_aton(ip)]


def _net_address(address: str | None, scheme: str = "tcp") -> str:
    if not address:
        return ""
    return address if address.startswith("unix://") else f"{scheme}://{address}"


def _acl(config: RuntimeConfig) -> Object:
    acl = config.acl
    return {
        "ACLAgentMasterToken": acl.tokens.agent_master,
        "ACLAgentToken": acl.tokens.agent,
        "ACLDatacenter": config.primary_datacenter,
        "ACLDefaultPolicy": acl.default_policy,
        "ACLDisabledTTL": format_duration_s(acl.disabled_ttl_s),
        "ACLDownPolicy": acl.down_policy,
        "ACLEnableKeyListPolicy": acl.enable_key_list_policy,
        "ACLEnableTokenPersistence": acl.enable_token_persistence,
        "ACLMasterToken": acl.tokens.master,
        "ACLPolicyTTL": format_duration_s(acl.policy_ttl_s),
        "ACLReplicationToken": acl.tokens.replication,
        "ACLRoleTTL": format_duration_s(acl.role_ttl_s),
        "ACLToken": acl.tokens.default,
        "ACLTokenReplication": acl.token_replication,
        "ACLTokenTTL": _Plain(format_duration_s(acl.token_ttl_s)),
        "ACLsEnabled": acl.enabled,
    }


class _Plain(str):
    """A text that is shown although its field's name sounds secret; Go knows it as a duration."""

    __slots__ = ()


def _addresses(config: RuntimeConfig) -> Object:
    listeners = config.addresses
    return {
        "AdvertiseAddrLAN": config.advertise_addr,
        "AdvertiseAddrWAN": config.advertise_addr_wan,
        "BindAddr": config.bind_addr,
        "ClientAddrs": config.client_addrs,
        "DNSAddrs": [_net_address(address, scheme) for scheme in ("tcp", "udp") for address in listeners.dns],
        "DNSPort": config.ports.dns,
        "GRPCAddrs": [_net_address(address) for address in listeners.grpc],
        "GRPCPort": config.ports.grpc,
        "HTTPAddrs": [_net_address(address) for address in listeners.http],
        "HTTPPort": config.ports.http,
        "HTTPSAddrs": [_net_address(address) for address in listeners.https],
        "HTTPSPort": config.ports.https,
        "RPCAdvertiseAddr": _net_address(config.rpc_advertise_addr),
        "RPCBindAddr": _net_address(config.rpc_bind_addr),
        "SerfAdvertiseAddrLAN": _net_address(config.serf_lan_advertise_addr),
        "SerfAdvertiseAddrWAN": _net_address(config.serf_wan_advertise_addr),
        "SerfAllowedCIDRsLAN": config.serf_lan_allowed_cidrs or (),
        "SerfAllowedCIDRsWAN": config.serf_wan_allowed_cidrs or (),
        "SerfBindAddrLAN": _net_address(config.serf_lan_bind_addr),
        "SerfBindAddrWAN": _net_address(config.serf_wan_bind_addr),
        "SerfPortLAN": config.ports.serf_lan,
        "SerfPortWAN": config.ports.serf_wan,
        "ServerPort": config.ports.server,
        "TaggedAddresses": config.tagged_addresses,
        "TranslateWANAddrs": config.translate_wan_addrs,
        "UnixSocketGroup": config.unix_sockets.group,
        "UnixSocketMode": config.unix_sockets.mode,
        "UnixSocketUser": config.unix_sockets.user,
    }


def _agent(config: RuntimeConfig) -> Object:
    return {
        "AEInterval": format_duration_s(config.ae_interval_s),
        "Cache": {
            "EntryFetchMaxBurst": config.cache.entry_fetch_max_burst,
            "EntryFetchRate": config.cache.entry_fetch_rate,
        },
        "DataDir": config.data_dir,
        "Datacenter": config.datacenter,
        "DefaultQueryTime": format_duration_s(config.default_query_time_s),
        "DevMode": config.dev_mode,
        "DisableAnonymousSignature": config.disable_anonymous_signature,
        "DisableHostNodeID": config.disable_host_node_id,
        "DisableRemoteExec": config.disable_remote_exec,
        "DisableUpdateCheck": config.disable_update_check,
        "DiscoveryMaxStale": format_duration_s(config.discovery_max_stale_s),
        "EnableDebug": config.enable_debug,
        "EnableUI": config.ui,
        "EnterpriseRuntimeConfig": {},
        "KVMaxValueSize": config.limits.kv_max_value_size,
        "LeaveDrainTime": format_duration_s(config.performance.leave_drain_time_s),
        "LeaveOnTerm": config.leave_on_terminate,
        "MaxQueryTime": format_duration_s(config.max_query_time_s),
        "NodeID": config.node_id,
        "NodeMeta": config.node_meta,
        "NodeName": config.node_name,
        "PidFile": config.pid_file,
        "Revision": CONSUL_REVISION,
        "SessionTTLMin": format_duration_s(_as_given(config, "session_ttl_min_s")),
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "TxnMaxReqLen": config.limits.txn_max_req_len,
        "UIContentPath": config.ui_content_path,
        "UIDir": config.ui_dir,
        "Version": config.version,
        "VersionPrerelease": "",
        # Consul takes the parameters out of a watch when it starts it, so that nothing of it is left to show.
        "Watches": [{} for _ in config.watches],
    }


def _as_given(config: RuntimeConfig, name: str) -> Any:
    """A setting for which Consul shows 0 where the user left it to the default."""
    return 0 if name in config.unset else getattr(config, name)


def _autopilot(config: RuntimeConfig) -> Object:
    autopilot = config.autopilot
    return {
        "AutopilotCleanupDeadServers": autopilot.cleanup_dead_servers,
        "AutopilotDisableUpgradeMigration": autopilot.disable_upgrade_migration,
        "AutopilotLastContactThreshold": format_duration_s(autopilot.last_contact_threshold_s),
        "AutopilotMaxTrailingLogs": autopilot.max_trailing_logs,
        "AutopilotMinQuorum": autopilot.min_quorum,
        "AutopilotRedundancyZoneTag": autopilot.redundancy_zone_tag,
        "AutopilotServerStabilizationTime": format_duration_s(autopilot.server_stabilization_time_s),
        "AutopilotUpgradeVersionTag": autopilot.upgrade_version_tag,
        "ConsulServerHealthInterval": format_duration_s(autopilot.server_health_interval_s),
    }


def _checks_and_services(config: RuntimeConfig) -> Object:
    connect = config.connect
    return {
        "CheckDeregisterIntervalMin": format_duration_s(config.check_deregister_interval_min_s),
        "CheckOutputMaxSize": config.check_output_max_size,
        "CheckReapInterval": format_duration_s(config.check_reap_interval_s),
        "CheckUpdateInterval": format_duration_s(config.check_update_interval_s),
        "Checks": [show_check(check) for check in config.checks],
        "ConfigEntryBootstrap": config.config_entries_bootstrap,
        "ConnectCAConfig": connect.ca_config,
        "ConnectCAProvider": connect.ca_provider,
        "ConnectEnabled": connect.enabled,
        "ConnectMeshGatewayWANFederationEnabled": connect.enable_mesh_gateway_wan_federation,
        "ConnectSidecarMaxPort": config.ports.sidecar_max_port,
        "ConnectSidecarMinPort": config.ports.sidecar_min_port,
        "ConnectTestCALeafRootChangeSpread": "0s",
        "DiscardCheckOutput": config.discard_check_output,
        "EnableAgentTLSForChecks": config.tls.enable_agent_tls_for_checks,
        "EnableCentralServiceConfig": config.enable_central_service_config,
        "EnableLocalScriptChecks": config.enable_local_script_checks,
        "EnableRemoteScriptChecks": config.enable_script_checks,
        "ExposeMaxPort": config.ports.expose_max_port,
        "ExposeMinPort": config.ports.expose_min_port,
        "Services": [show_service(service) for service in config.services],
    }


def _cluster(config: RuntimeConfig) -> Object:
    return {
        "Bootstrap": config.bootstrap,
        "BootstrapExpect": config.bootstrap_expect,
        "NonVotingServer": config.non_voting_server,
        "PrimaryDatacenter": config.primary_datacenter,
        "PrimaryGateways": config.primary_gateways,
        "PrimaryGatewaysInterval": format_duration_s(config.primary_gateways_interval_s),
        "ReconnectTimeoutLAN": format_duration_s(_as_given(config, "reconnect_timeout_s")),
        "ReconnectTimeoutWAN": format_duration_s(_as_given(config, "reconnect_timeout_wan_s")),
        "RejoinAfterLeave": config.rejoin_after_leave,
        "RetryJoinIntervalLAN": format_duration_s(config.retry_interval_s),
        "RetryJoinIntervalWAN": format_duration_s(config.retry_interval_wan_s),
        "RetryJoinLAN": [_clean_join(address) for address in config.retry_join],
        "RetryJoinMaxAttemptsLAN": config.retry_max,
        "RetryJoinMaxAttemptsWAN": config.retry_max_wan,
        "RetryJoinWAN": [_clean_join(address) for address in config.retry_join_wan],
        "SegmentLimit": 64,
        "SegmentName": config.segment,
        "SegmentNameLimit": 64,
        "Segments": [],
        "ServerMode": config.server,
        "StartJoinAddrsLAN": config.start_join,
        "StartJoinAddrsWAN": config.start_join_wan,
    }


def _dns(config: RuntimeConfig) -> Object:
    dns = config.dns_config
    return {
        "DNSARecordLimit": dns.a_record_limit,
        "DNSAllowStale": dns.allow_stale,
        "DNSAltDomain": config.alt_domain,
        "DNSCacheMaxAge": format_duration_s(dns.cache_max_age_s),
        "DNSDisableCompression": dns.disable_compression,
        "DNSDomain": config.domain,
        "DNSEnableTruncate": dns.enable_truncate,
        "DNSMaxStale": format_duration_s(dns.max_stale_s),
        "DNSNodeMetaTXT": dns.enable_additional_node_meta_txt,
        "DNSNodeTTL": format_duration_s(dns.node_ttl_s),
        "DNSOnlyPassing": dns.only_passing,
        "DNSRecursorTimeout": format_duration_s(dns.recursor_timeout_s),
        "DNSRecursors": config.recursors,
        "DNSSOA": {
            "Expire": dns.soa.expire,
            "Minttl": dns.soa.min_ttl,
            "Refresh": dns.soa.refresh,
            "Retry": dns.soa.retry,
        },
        "DNSServiceTTL": {name: format_duration_s(ttl) for name, ttl in dns.service_ttl_s.items()},
        "DNSUDPAnswerLimit": dns.udp_answer_limit,
        "DNSUseCache": dns.use_cache,
    }


def _gossip(pool: str, gossip: Gossip) -> Object:
    return {
        f"Gossip{pool}GossipInterval": format_duration_s(gossip.gossip_interval_s),
        f"Gossip{pool}GossipNodes": gossip.gossip_nodes,
        f"Gossip{pool}ProbeInterval": format_duration_s(gossip.probe_interval_s),
        f"Gossip{pool}ProbeTimeout": format_duration_s(gossip.probe_timeout_s),
        f"Gossip{pool}RetransmitMult": gossip.retransmit_mult,
        f"Gossip{pool}SuspicionMult": gossip.suspicion_mult,
    }


def _http(config: RuntimeConfig) -> Object:
    return {
        "AllowWriteHTTPFrom": config.http_config.allow_write_http_from,
        "DisableHTTPUnprintableCharFilter": config.disable_http_unprintable_char_filter,
        "HTTPBlockEndpoints": config.http_config.block_endpoints,
        "HTTPMaxConnsPerClient": config.limits.http_max_conns_per_client,
        "HTTPResponseHeaders": config.http_config.response_headers,
        "HTTPSHandshakeTimeout": format_duration_s(config.limits.https_handshake_timeout_s),
        "HTTPUseCache": config.http_config.use_cache,
    }


def _raft_and_rpc(config: RuntimeConfig) -> Object:
    return {
        "ConsulCoordinateUpdateBatchSize": config.coordinate.update_batch_size,
        "ConsulCoordinateUpdateMaxBatches": config.coordinate.update_max_batches,
        "ConsulCoordinateUpdatePeriod": format_duration_s(config.coordinate.update_period_s),
        "ConsulRaftElectionTimeout": format_duration_s(config.raft.election_timeout_s),
        "ConsulRaftHeartbeatTimeout": format_duration_s(config.raft.heartbeat_timeout_s),
        "ConsulRaftLeaderLeaseTimeout": format_duration_s(config.raft.leader_lease_timeout_s),
        "DisableCoordinates": config.disable_coordinates,
        "RPCHandshakeTimeout": format_duration_s(config.limits.rpc_handshake_timeout_s),
        "RPCHoldTimeout": format_duration_s(config.performance.rpc_hold_timeout_s),
        "RPCMaxBurst": config.limits.rpc_max_burst,
        "RPCMaxConnsPerClient": config.limits.rpc_max_conns_per_client,
        "RPCProtocol": config.protocol,
        "RPCRateLimit": config.limits.rpc_rate,
        "RaftProtocol": _as_given(config, "raft_protocol"),
        "RaftSnapshotInterval": format_duration_s(_as_given(config, "raft_snapshot_interval_s")),
        "RaftSnapshotThreshold": _as_given(config, "raft_snapshot_threshold"),
        "RaftTrailingLogs": _as_given(config, "raft_trailing_logs"),
        "SyncCoordinateIntervalMin": format_duration_s(config.coordinate.sync_interval_min_s),
        "SyncCoordinateRateTarget": config.coordinate.sync_rate_target,
    }


def _tls(config: RuntimeConfig) -> Object:
    tls, auto_encrypt = config.tls, config.auto_encrypt
    return {
        "AutoEncryptAllowTLS": auto_encrypt.allow_tls,
        "AutoEncryptDNSSAN": auto_encrypt.dns_san,
        "AutoEncryptIPSAN": [_ip_bytes(ip) for ip in auto_encrypt.ip_san],
        "AutoEncryptTLS": auto_encrypt.tls,
        "CAFile": config.ca_file,
        "CAPath": tls.ca_path,
        "CertFile": config.cert_file,
        "DisableKeyringFile": config.disable_keyring_file,
        "EncryptKey": config.encrypt,
        "EncryptVerifyIncoming": config.encrypt_verify_incoming,
        "EncryptVerifyOutgoing": config.encrypt_verify_outgoing,
        "KeyFile": config.key_file,
        "ServerName": tls.server_name,
        "TLSCipherSuites": tls.cipher_suites,
        "TLSMinVersion": tls.min_version,
        "TLSPreferServerCipherSuites": tls.prefer_server_cipher_suites,
        "VerifyIncoming": tls.verify_incoming,
        "VerifyIncomingHTTPS": tls.verify_incoming_https,
        "VerifyIncomingRPC": tls.verify_incoming_rpc,
        "VerifyOutgoing": tls.verify_outgoing,
        "VerifyServerHostname": tls.verify_server_hostname,
    }


def _auto_config(config: RuntimeConfig) -> Object:
    auto, static = config.auto_config, config.auto_config.static

    def nanoseconds(key: str) -> int:
        return round(float(static.get(key, 0)) * 1e9)

    return {
        "Authorizer": {
            "AllowReuse": static.get("allow_reuse", False),
            "AuthMethod": {
                "ACLAuthMethodEnterpriseFields": {},
                "Config": {
                    "BoundAudiences": static.get("bound_audiences"),
                    "BoundIssuer": static.get("bound_issuer", ""),
                    "ClaimMappings": static.get("claim_mappings"),
                    "ClockSkewLeeway": nanoseconds("clock_skew_leeway"),
                    "ExpirationLeeway": nanoseconds("expiration_leeway"),
                    "JWKSCACert": static.get("jwks_ca_cert", ""),
                    "JWKSURL": static.get("jwks_url", ""),
                    "JWTSupportedAlgs": static.get("jwt_supported_algs"),
                    "JWTValidationPubKeys": static.get("jwt_validation_pub_keys"),
                    "ListClaimMappings": static.get("list_claim_mappings"),
                    "NotBeforeLeeway": nanoseconds("not_before_leeway"),
                    "OIDCDiscoveryCACert": static.get("oidc_discovery_ca_cert", ""),
                    "OIDCDiscoveryURL": static.get("oidc_discovery_url", ""),
                },
                "Description": "",
                "DisplayName": "",
                "EnterpriseMeta": {},
                "MaxTokenTTL": _Plain("0s"),
                "Name": "Auto Config Authorizer",
                "RaftIndex": {"CreateIndex": 0, "ModifyIndex": 0},
                "TokenLocality": "",
                "Type": "jwt",
            },
            "ClaimAssertions": static.get("claim_assertions", ()),
            "Enabled": auto.authorization_enabled,
        },
        "DNSSANs": auto.dns_sans,
        "Enabled": auto.enabled,
        "IPSANs": [_ip_bytes(ip) for ip in auto.ip_sans],
        "IntroToken": auto.intro_token,
        "IntroTokenFile": auto.intro_token_file,
        "ServerAddresses": auto.server_addresses,
    }


def _logging(config: RuntimeConfig) -> Object:
    return {
        "EnableSyslog": config.log.syslog,
        "LogFilePath": config.log.file,
        "LogJSON": config.log_json,
        "LogLevel": config.log_level,
        "LogRotateBytes": config.log.rotate_bytes,
        "LogRotateDuration": format_duration_s(config.log.rotate_duration_s),
        "LogRotateMaxFiles": config.log.rotate_max_files,
        "Name": "",
        "SyslogFacility": config.log.syslog_facility,
    }


def _telemetry(config: RuntimeConfig) -> Object:
    telemetry = config.telemetry
    return {
        "AllowedPrefixes": telemetry.allowed_prefixes,
        "BlockedPrefixes": telemetry.blocked_prefixes,
        **{label: telemetry.circonus.get(key, "") for label, key in _CIRCONUS},
        "Disable": False,
        "DisableHostname": telemetry.disable_hostname,
        "DogstatsdAddr": telemetry.dogstatsd_addr,
        "DogstatsdTags": telemetry.dogstatsd_tags,
        "FilterDefault": telemetry.filter_default,
        "MetricsPrefix": telemetry.metrics_prefix,
        "PrometheusRetentionTime": format_duration_s(telemetry.prometheus_retention_time_s),
        "StatsdAddr": telemetry.statsd_address,
        "StatsiteAddr": telemetry.statsite_address,
    }
