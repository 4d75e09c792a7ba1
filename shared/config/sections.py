"""Sections of the runtime configuration: one frozen record per block of Consul's config file.

Attribute names are the keys of the config file; durations are float seconds and end in `_s`.
The defaults are those of a Consul 1.8.7 agent that was given no config at all."""

from __future__ import annotations

from typing import Any

from shared.config.record import Record, made

MAX_FLOAT = 1.7976931348623157e308
"""Go's rate.Inf, which Consul shows as a number; a rate of this size means "no limit"."""

RATE_UNLIMITED = 1e300
"""A configured rate of at least this (or of zero and below) means "no limit"."""

RAFT_MAX_DATA_SIZE = 512 * 1024
"""Largest command hashicorp/raft recommends, bytes: the default of both KV and transaction limits."""


class Ports(Record):
    """Listening ports; -1 is "disabled". `*_min_port`/`*_max_port` are ranges handed out to proxies."""

    dns: int = 8600
    http: int = 8500
    https: int = -1
    grpc: int = -1
    serf_lan: int = 8301
    serf_wan: int = 8302
    server: int = 8300
    sidecar_min_port: int = 21000
    sidecar_max_port: int = 21255
    expose_min_port: int = 21500
    expose_max_port: int = 21755


class Addresses(Record):
    """Resolved listeners per protocol, each "ip:port", "[ip6]:port" or "unix:///path"."""

    dns: tuple[str, ...] = ()
    http: tuple[str, ...] = ()
    https: tuple[str, ...] = ()
    grpc: tuple[str, ...] = ()


class Soa(Record):
    """The SOA record of the domain: numbers in seconds, as they go on the wire."""

    refresh: int = 3600
    retry: int = 600
    expire: int = 86400
    min_ttl: int = 0


class DnsConfig(Record):
    """dns_config. A limit of 0 is "no limit" (a_record_limit) or "3 by default" (udp_answer_limit)."""

    allow_stale: bool = True
    a_record_limit: int = 0
    disable_compression: bool = False
    enable_truncate: bool = False
    max_stale_s: float = 87600 * 3600.0
    node_ttl_s: float = 0.0
    only_passing: bool = False
    recursor_timeout_s: float = 2.0
    service_ttl_s: dict[str, float] = made(dict)
    udp_answer_limit: int = 3
    enable_additional_node_meta_txt: bool = True
    soa: Soa = made(Soa)
    use_cache: bool = False
    cache_max_age_s: float = 0.0


class Limits(Record):
    """limits. rpc_rate is requests per second, -1 (any value <= 0) for no limit; sizes are bytes."""

    http_max_conns_per_client: int = 200
    https_handshake_timeout_s: float = 5.0
    rpc_handshake_timeout_s: float = 5.0
    rpc_max_burst: int = 1000
    rpc_max_conns_per_client: int = 100
    rpc_rate: float = -1.0
    kv_max_value_size: int = RAFT_MAX_DATA_SIZE
    txn_max_req_len: int = RAFT_MAX_DATA_SIZE

    @property
    def limits_calls(self) -> bool:
        """Whether rpc_rate is a limit."""
        return 0 < self.rpc_rate < RATE_UNLIMITED


class Performance(Record):
    leave_drain_time_s: float = 5.0
    raft_multiplier: int = 5
    rpc_hold_timeout_s: float = 7.0


class Raft(Record):
    """Timing of the consensus core, raft_multiplier already applied. Not user-settable one by one."""

    heartbeat_timeout_s: float = 5.0
    election_timeout_s: float = 5.0
    leader_lease_timeout_s: float = 2.5
    commit_timeout_s: float = 0.05
    max_append_entries: int = 64


class Gossip(Record):
    """gossip_lan or gossip_wan: the knobs of one memberlist pool that a config file can turn."""

    gossip_nodes: int = 3
    gossip_interval_s: float = 0.2
    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    suspicion_mult: int = 4
    retransmit_mult: int = 4


LAN_GOSSIP = Gossip()
WAN_GOSSIP = Gossip(gossip_interval_s=0.5, probe_interval_s=5.0, probe_timeout_s=3.0, suspicion_mult=6)
DEV_GOSSIP = Gossip(gossip_interval_s=0.1, probe_interval_s=0.1, probe_timeout_s=0.1, suspicion_mult=3)


class Coordinate(Record):
    """Network coordinates: how clients send them and how the leader batches them (period in seconds)."""

    update_batch_size: int = 128
    update_max_batches: int = 5
    update_period_s: float = 5.0
    sync_interval_min_s: float = 15.0
    sync_rate_target: float = 64.0


class Autopilot(Record):
    cleanup_dead_servers: bool = True
    last_contact_threshold_s: float = 0.2
    max_trailing_logs: int = 250
    min_quorum: int = 0
    server_stabilization_time_s: float = 10.0
    disable_upgrade_migration: bool = False
    redundancy_zone_tag: str = ""
    upgrade_version_tag: str = ""
    server_health_interval_s: float = 2.0


class AclTokens(Record):
    master: str = ""
    replication: str = ""
    agent_master: str = ""
    default: str = ""
    agent: str = ""


class Acl(Record):
    """acl, with the legacy acl_* keys folded in."""

    enabled: bool = False
    token_replication: bool = False
    policy_ttl_s: float = 30.0
    role_ttl_s: float = 0.0
    token_ttl_s: float = 30.0
    down_policy: str = "extend-cache"
    default_policy: str = "allow"
    enable_key_list_policy: bool = False
    enable_token_persistence: bool = False
    disabled_ttl_s: float = 120.0
    tokens: AclTokens = made(AclTokens)


class HttpConfig(Record):
    """http_config; allow_write_http_from holds networks in CIDR form."""

    block_endpoints: tuple[str, ...] = ()
    allow_write_http_from: tuple[str, ...] = ()
    response_headers: dict[str, str] = made(dict)
    use_cache: bool = True


class UnixSockets(Record):
    """Owner, group and octal mode given to Unix-socket listeners; "" leaves them alone."""

    user: str = ""
    group: str = ""
    mode: str = ""


class Telemetry(Record):
    """telemetry; prefix_filter is split into the prefixes that are let through and those held back."""

    circonus: dict[str, str] = made(dict)
    disable_hostname: bool = False
    dogstatsd_addr: str = ""
    dogstatsd_tags: tuple[str, ...] = ()
    filter_default: bool = True
    allowed_prefixes: tuple[str, ...] = ()
    blocked_prefixes: tuple[str, ...] = ()
    metrics_prefix: str = "consul"
    prometheus_retention_time_s: float = 0.0
    statsd_address: str = ""
    statsite_address: str = ""


class Cache(Record):
    """Agent cache: fetches per second and burst for one entry."""

    entry_fetch_max_burst: int = 2
    entry_fetch_rate: float = MAX_FLOAT


class Tls(Record):
    """Everything TLS beyond the three file names at the top level. tls_min_version: tls10 ... tls13."""

    ca_path: str = ""
    cipher_suites: tuple[int, ...] = ()
    min_version: str = "tls12"
    prefer_server_cipher_suites: bool = False
    server_name: str = ""
    verify_incoming: bool = False
    verify_incoming_https: bool = False
    verify_incoming_rpc: bool = False
    verify_outgoing: bool = False
    verify_server_hostname: bool = False
    enable_agent_tls_for_checks: bool = False


class AutoEncrypt(Record):
    tls: bool = False
    dns_san: tuple[str, ...] = ()
    ip_san: tuple[str, ...] = ()
    allow_tls: bool = False


class AutoConfig(Record):
    """auto_config; `static` keeps the authorizer's keys as the file has them (durations in seconds)."""

    enabled: bool = False
    intro_token: str = ""
    intro_token_file: str = ""
    server_addresses: tuple[str, ...] = ()
    dns_sans: tuple[str, ...] = ()
    ip_sans: tuple[str, ...] = ()
    authorization_enabled: bool = False
    static: dict[str, Any] = made(dict)


class Connect(Record):
    """connect; ca_config has Consul's internal spelling of its keys ("LeafCertTTL", ...)."""

    enabled: bool = False
    ca_provider: str = ""
    ca_config: dict[str, Any] = made(dict)
    enable_mesh_gateway_wan_federation: bool = False


class Log(Record):
    """Where log lines go besides the terminal. Rotation: bytes and seconds, 0 for the defaults."""

    file: str = ""
    rotate_bytes: int = 0
    rotate_duration_s: float = 0.0
    rotate_max_files: int = 0
    syslog: bool = False
    syslog_facility: str = "LOCAL0"
