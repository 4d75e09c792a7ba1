"""Built-in sources: what holds before any file or flag, and what no file or flag can change."""

from __future__ import annotations

from typing import Any

from shared.version import CONSUL_REVISION, CONSUL_VERSION

_LAN = {
    "gossip_interval": "200ms",
    "gossip_nodes": 3,
    "retransmit_mult": 4,
    "probe_interval": "1s",
    "probe_timeout": "500ms",
    "suspicion_mult": 4,
}

DEFAULT: dict[str, Any] = {
    "acl_default_policy": "allow",
    "acl_down_policy": "extend-cache",
    "acl_ttl": "30s",
    "acl": {"policy_ttl": "30s"},
    "bind_addr": "0.0.0.0",
    "bootstrap": False,
    "bootstrap_expect": 0,
    "check_output_max_size": 4096,
    "check_update_interval": "5m",
    "client_addr": "127.0.0.1",
    "datacenter": "dc1",
    "default_query_time": "300s",
    "disable_coordinates": False,
    "disable_host_node_id": True,
    "disable_remote_exec": True,
    "domain": "consul.",
    "encrypt_verify_incoming": True,
    "encrypt_verify_outgoing": True,
    "log_level": "INFO",
    "max_query_time": "600s",
    "primary_gateways_interval": "30s",
    "protocol": 2,
    "retry_interval": "30s",
    "retry_interval_wan": "30s",
    "server": False,
    "syslog_facility": "LOCAL0",
    "tls_min_version": "tls12",
    "autopilot": {
        "cleanup_dead_servers": True,
        "last_contact_threshold": "200ms",
        "max_trailing_logs": 250,
        "server_stabilization_time": "10s",
    },
    "gossip_lan": _LAN,
    "gossip_wan": {
        **_LAN,
        "gossip_interval": "500ms",
        "probe_interval": "5s",
        "probe_timeout": "3s",
        "suspicion_mult": 6,
    },
    "dns_config": {
        "allow_stale": True,
        "a_record_limit": 0,
        "udp_answer_limit": 3,
        "max_stale": "87600h",
        "recursor_timeout": "2s",
    },
    "limits": {
        "http_max_conns_per_client": 200,
        "https_handshake_timeout": "5s",
        "rpc_handshake_timeout": "5s",
        "rpc_rate": -1.0,
        "rpc_max_burst": 1000,
        "rpc_max_conns_per_client": 100,
        "kv_max_value_size": 512 * 1024,
        "txn_max_req_len": 512 * 1024,
    },
    "performance": {"leave_drain_time": "5s", "raft_multiplier": 5, "rpc_hold_timeout": "7s"},
    "ports": {
        "dns": 8600,
        "http": 8500,
        "https": -1,
        "grpc": -1,
        "serf_lan": 8301,
        "serf_wan": 8302,
        "server": 8300,
        "proxy_min_port": 20000,
        "proxy_max_port": 20255,
        "sidecar_min_port": 21000,
        "sidecar_max_port": 21255,
        "expose_min_port": 21500,
        "expose_max_port": 21755,
    },
    "telemetry": {"metrics_prefix": "consul", "filter_default": True},
}

_FAST_GOSSIP = {
    "gossip_interval": "100ms",
    "probe_interval": "100ms",
    "probe_timeout": "100ms",
    "suspicion_mult": 3,
}

DEV: dict[str, Any] = {
    "bind_addr": "127.0.0.1",
    "disable_anonymous_signature": True,
    "disable_keyring_file": True,
    "enable_debug": True,
    "ui": True,
    "log_level": "DEBUG",
    "server": True,
    "gossip_lan": _FAST_GOSSIP,
    "gossip_wan": _FAST_GOSSIP,
    "connect": {"enabled": True},
    "performance": {"raft_multiplier": 1},
    "ports": {"grpc": 8502},
}
"""Over DEFAULT, with -dev."""

NON_USER: dict[str, Any] = {
    "acl": {"disabled_ttl": "120s"},
    "check_deregister_interval_min": "1m",
    "check_reap_interval": "30s",
    "ae_interval": "1m",
    "sync_coordinate_rate_target": 64.0,
    "sync_coordinate_interval_min": "15s",
    "segment_limit": 64,
    "segment_name_limit": 64,
    "connect": {"test_ca_leaf_root_change_spread": "0s"},
    "consul": {
        "coordinate": {"update_batch_size": 128, "update_max_batches": 5, "update_period": "5s"},
        "raft": {"election_timeout": "1s", "heartbeat_timeout": "1s", "leader_lease_timeout": "500ms"},
        "server": {"health_interval": "2s"},
    },
    "revision": CONSUL_REVISION,
    "version": CONSUL_VERSION,
    "version_prerelease": "",
}
"""Over everything a user can write."""

DEV_NON_USER: dict[str, Any] = {
    "consul": {
        "coordinate": {"update_period": "100ms"},
        "raft": {"election_timeout": "52ms", "heartbeat_timeout": "35ms", "leader_lease_timeout": "20ms"},
        "server": {"health_interval": "10ms"},
    },
}
"""Over NON_USER, with -dev."""
