"""Schema of Consul's config file: every key with its type, in the order of Consul's own declaration.

The order shows: it is the order of warnings about Enterprise keys. Keys are matched without regard to case."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Type:
    """A kind of value. `name` is what Go calls it, for error messages."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class ListOf(Type):
    __slots__ = ("element",)

    def __init__(self, element: Type) -> None:
        super().__init__(f"[]{element.name}")
        self.element = element


class MapOf(Type):
    __slots__ = ("element",)

    def __init__(self, element: Type) -> None:
        super().__init__(f"map[string]{element.name}")
        self.element = element


class Struct(Type):
    """Named fields. `whole`: a later source replaces the struct instead of setting fields of it.

    `aliases` are older spellings of keys, taken only where the new one is absent."""

    __slots__ = ("aliases", "fields", "whole")

    def __init__(
        self, fields: Mapping[str, Type], *, whole: bool = False, aliases: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("struct")
        self.fields = fields
        self.whole = whole
        self.aliases = aliases or {}


STRING, BOOL, INT, FLOAT = Type("string"), Type("bool"), Type("int"), Type("float64")
UINT, UINT32, UINT64 = Type("uint"), Type("uint32"), Type("uint64")
UNSIGNED = (UINT, UINT32, UINT64)
ANY = Type("interface {}")
STRINGS, STRING_MAP = ListOf(STRING), MapOf(STRING)
ANY_MAP = MapOf(ANY)
ANY_MAPS = ListOf(ANY_MAP)


def _fields(kind: Type, names: str) -> dict[str, Type]:
    return dict.fromkeys(names.split(), kind)


CHECK = Struct(
    {
        **_fields(STRING, "id name notes service_id token status"),
        "args": STRINGS,
        "http": STRING,
        "header": MapOf(STRINGS),
        "method": STRING,
        "body": STRING,
        "output_max_size": INT,
        **_fields(STRING, "tcp interval docker_container_id shell grpc"),
        **_fields(BOOL, "grpc_use_tls tls_skip_verify"),
        **_fields(STRING, "alias_node alias_service timeout ttl"),
        **_fields(INT, "success_before_passing failures_before_critical"),
        "deregister_critical_service_after": STRING,
    },
    whole=True,
    aliases={
        "serviceid": "service_id",
        "scriptargs": "args",
        "dockercontainerid": "docker_container_id",
        "tlsskipverify": "tls_skip_verify",
        "deregistercriticalserviceafter": "deregister_critical_service_after",
    },
)
_MESH_GATEWAY = Struct({"mode": STRING})
_UPSTREAM = Struct(
    {
        **_fields(STRING, "destination_type destination_namespace destination_name datacenter"),
        "local_bind_address": STRING,
        "local_bind_port": INT,
        "config": ANY_MAP,
        "mesh_gateway": _MESH_GATEWAY,
    }
)
_EXPOSE_PATH = Struct({"listener_port": INT, "path": STRING, "protocol": STRING, "local_path_port": INT})
_PROXY = Struct(
    {
        **_fields(STRING, "destination_service_name destination_service_id local_service_address"),
        "local_service_port": INT,
        "config": ANY_MAP,
        "upstreams": ListOf(_UPSTREAM),
        "mesh_gateway": _MESH_GATEWAY,
        "expose": Struct({"checks": BOOL, "port": INT, "paths": ListOf(_EXPOSE_PATH)}),
    }
)
_SERVICE_FIELDS: dict[str, Type] = {
    **_fields(STRING, "kind id name"),
    "tags": STRINGS,
    "address": STRING,
    "tagged_addresses": MapOf(Struct({"address": STRING, "port": INT})),
    "meta": STRING_MAP,
    "port": INT,
    "check": CHECK,
    "checks": ListOf(CHECK),
    "token": STRING,
    "weights": Struct(_fields(INT, "passing warning")),
    "enable_tag_override": BOOL,
    "proxy": _PROXY,
}
SERVICE = Struct(_SERVICE_FIELDS, whole=True)
_SERVICE_FIELDS["connect"] = Struct({"native": BOOL, "sidecar_service": SERVICE})

_GOSSIP = Struct(
    {
        "gossip_nodes": INT,
        **_fields(STRING, "gossip_interval probe_interval probe_timeout"),
        **_fields(INT, "suspicion_mult retransmit_mult"),
    }
)
_ACL = Struct(
    {
        **_fields(BOOL, "enabled enable_token_replication"),
        **_fields(STRING, "policy_ttl role_ttl token_ttl down_policy default_policy"),
        "enable_key_list_policy": BOOL,
        "tokens": Struct(
            {
                **_fields(STRING, "master replication agent_master default agent"),
                "managed_service_provider": ListOf(Struct(_fields(STRING, "accessor_id secret_id"))),
            }
        ),
        "disabled_ttl": STRING,
        **_fields(BOOL, "enable_token_persistence msp_disable_bootstrap"),
    }
)
_AUTO_CONFIG_STATIC = Struct(
    {
        "claim_assertions": STRINGS,
        "allow_reuse": BOOL,
        **_fields(STRINGS, "jwt_supported_algs bound_audiences"),
        **_fields(STRING_MAP, "claim_mappings list_claim_mappings"),
        **_fields(STRING, "oidc_discovery_url oidc_discovery_ca_cert jwks_url jwks_ca_cert"),
        "jwt_validation_pub_keys": STRINGS,
        **_fields(STRING, "bound_issuer expiration_leeway not_before_leeway clock_skew_leeway"),
    }
)
_AUTO_CONFIG = Struct(
    {
        "enabled": BOOL,
        **_fields(STRING, "intro_token intro_token_file"),
        **_fields(STRINGS, "server_addresses dns_sans ip_sans"),
        "authorization": Struct({"enabled": BOOL, "static": _AUTO_CONFIG_STATIC}),
    }
)
_DNS = Struct(
    {
        "allow_stale": BOOL,
        "a_record_limit": INT,
        **_fields(BOOL, "disable_compression enable_truncate"),
        **_fields(STRING, "max_stale node_ttl"),
        "only_passing": BOOL,
        "recursor_timeout": STRING,
        "service_ttl": STRING_MAP,
        "udp_answer_limit": INT,
        "enable_additional_node_meta_txt": BOOL,
        "soa": Struct(_fields(UINT32, "refresh retry expire min_ttl"), whole=True),
        "use_cache": BOOL,
        "cache_max_age": STRING,
        "prefer_namespace": BOOL,
    }
)
_TELEMETRY = Struct(
    {
        **_fields(
            STRING,
            "circonus_api_app circonus_api_token circonus_api_url circonus_broker_id circonus_broker_select_tag"
            " circonus_check_display_name circonus_check_force_metric_activation circonus_check_id"
            " circonus_check_instance_id circonus_check_search_tag circonus_check_tags"
            " circonus_submission_interval circonus_submission_url",
        ),
        "disable_hostname": BOOL,
        "dogstatsd_addr": STRING,
        "dogstatsd_tags": STRINGS,
        "filter_default": BOOL,
        "prefix_filter": STRINGS,
        **_fields(STRING, "metrics_prefix prometheus_retention_time statsd_address statsite_address"),
    }
)
_AUDIT = Struct(
    {
        "enabled": BOOL,
        "sink": MapOf(
            Struct(
                {
                    **_fields(STRING, "name type format path delivery_guarantee"),
                    "rotate_bytes": INT,
                    "rotate_duration": STRING,
                    "rotate_max_files": INT,
                }
            )
        ),
    },
    whole=True,
)
_CONSUL = Struct(
    {
        "coordinate": Struct({**_fields(INT, "update_batch_size update_max_batches"), "update_period": STRING}),
        "raft": Struct(_fields(STRING, "election_timeout heartbeat_timeout leader_lease_timeout")),
        "server": Struct(_fields(STRING, "health_interval")),
    }
)
_PORTS = Struct(
    _fields(
        INT,
        "dns http https serf_lan serf_wan server grpc proxy_min_port proxy_max_port sidecar_min_port"
        " sidecar_max_port expose_min_port expose_max_port",
    )
)
_LIMITS = Struct(
    {
        "http_max_conns_per_client": INT,
        **_fields(STRING, "https_handshake_timeout rpc_handshake_timeout"),
        **_fields(INT, "rpc_max_burst rpc_max_conns_per_client"),
        "rpc_rate": FLOAT,
        **_fields(UINT64, "kv_max_value_size txn_max_req_len"),
    }
)
_AUTOPILOT = Struct(
    {
        "cleanup_dead_servers": BOOL,
        "last_contact_threshold": STRING,
        "max_trailing_logs": INT,
        "min_quorum": UINT,
        "server_stabilization_time": STRING,
        "disable_upgrade_migration": BOOL,
        **_fields(STRING, "redundancy_zone_tag upgrade_version_tag"),
    }
)
_CONNECT = Struct(
    {
        "enabled": BOOL,
        "ca_provider": STRING,
        "ca_config": ANY_MAP,
        "enable_mesh_gateway_wan_federation": BOOL,
        "test_ca_leaf_root_change_spread": STRING,
    }
)
_SEGMENT = Struct({**_fields(STRING, "advertise bind name"), "port": INT, "rpc_listener": BOOL})

CONFIG = Struct(
    {
        **_fields(STRING, "acl_agent_master_token acl_agent_token acl_datacenter acl_default_policy"),
        "acl_down_policy": STRING,
        "acl_enable_key_list_policy": BOOL,
        **_fields(STRING, "acl_master_token acl_replication_token acl_ttl acl_token"),
        "acl": _ACL,
        "addresses": Struct(_fields(STRING, "dns http https grpc")),
        **_fields(STRING, "advertise_addr advertise_addr_ipv4 advertise_addr_ipv6"),
        **_fields(STRING, "advertise_addr_wan advertise_addr_wan_ipv4 advertise_addr_wan_ipv6"),
        "auto_config": _AUTO_CONFIG,
        "autopilot": _AUTOPILOT,
        "bind_addr": STRING,
        "bootstrap": BOOL,
        "bootstrap_expect": INT,
        "cache": Struct({"entry_fetch_max_burst": INT, "entry_fetch_rate": FLOAT}),
        **_fields(STRING, "ca_file ca_path cert_file"),
        "check": CHECK,
        "check_output_max_size": INT,
        "check_update_interval": STRING,
        "checks": ListOf(CHECK),
        "client_addr": STRING,
        "config_entries": Struct({"bootstrap": ANY_MAPS}),
        "auto_encrypt": Struct({"tls": BOOL, **_fields(STRINGS, "dns_san ip_san"), "allow_tls": BOOL}),
        "connect": _CONNECT,
        "dns_config": _DNS,
        **_fields(STRING, "domain alt_domain"),
        "recursors": STRINGS,
        **_fields(STRING, "data_dir datacenter default_query_time"),
        **_fields(BOOL, "disable_anonymous_signature disable_coordinates disable_host_node_id"),
        **_fields(BOOL, "disable_http_unprintable_char_filter disable_keyring_file disable_remote_exec"),
        **_fields(BOOL, "disable_update_check discard_check_output"),
        "discovery_max_stale": STRING,
        **_fields(BOOL, "enable_acl_replication enable_agent_tls_for_checks enable_central_service_config"),
        **_fields(BOOL, "enable_debug enable_script_checks enable_local_script_checks enable_syslog"),
        "encrypt": STRING,
        **_fields(BOOL, "encrypt_verify_incoming encrypt_verify_outgoing"),
        "gossip_lan": _GOSSIP,
        "gossip_wan": _GOSSIP,
        "http_config": Struct(
            {
                **_fields(STRINGS, "block_endpoints allow_write_http_from"),
                "response_headers": STRING_MAP,
                "use_cache": BOOL,
            }
        ),
        "key_file": STRING,
        "leave_on_terminate": BOOL,
        "limits": _LIMITS,
        "log_level": STRING,
        "log_json": BOOL,
        **_fields(STRING, "log_file log_rotate_duration"),
        **_fields(INT, "log_rotate_bytes log_rotate_max_files"),
        **_fields(STRING, "max_query_time node_id"),
        "node_meta": STRING_MAP,
        "node_name": STRING,
        "performance": Struct({"leave_drain_time": STRING, "raft_multiplier": INT, "rpc_hold_timeout": STRING}),
        "pid_file": STRING,
        "ports": _PORTS,
        "primary_datacenter": STRING,
        "primary_gateways": STRINGS,
        "primary_gateways_interval": STRING,
        **_fields(INT, "protocol raft_protocol raft_snapshot_threshold"),
        "raft_snapshot_interval": STRING,
        "raft_trailing_logs": INT,
        **_fields(STRING, "reconnect_timeout reconnect_timeout_wan"),
        "rejoin_after_leave": BOOL,
        **_fields(STRING, "retry_interval retry_interval_wan"),
        "retry_join": STRINGS,
        **_fields(INT, "retry_max retry_max_wan"),
        **_fields(STRINGS, "retry_join_wan serf_lan_allowed_cidrs serf_wan_allowed_cidrs"),
        **_fields(STRING, "serf_lan serf_wan"),
        "server": BOOL,
        "server_name": STRING,
        "service": SERVICE,
        "services": ListOf(SERVICE),
        "session_ttl_min": STRING,
        "skip_leave_on_interrupt": BOOL,
        **_fields(STRINGS, "start_join start_join_wan"),
        **_fields(STRING, "syslog_facility tls_cipher_suites tls_min_version"),
        "tls_prefer_server_cipher_suites": BOOL,
        "tagged_addresses": STRING_MAP,
        "telemetry": _TELEMETRY,
        **_fields(BOOL, "translate_wan_addrs ui"),
        **_fields(STRING, "ui_content_path ui_dir"),
        "unix_sockets": Struct(_fields(STRING, "group mode user")),
        **_fields(BOOL, "verify_incoming verify_incoming_https verify_incoming_rpc verify_outgoing"),
        "verify_server_hostname": BOOL,
        "watches": ANY_MAPS,
        "snapshot_agent": ANY_MAP,
        # accepted, but a value in a file loses against the built-in one (defaults.NON_USER)
        **_fields(STRING, "acl_disabled_ttl ae_interval check_deregister_interval_min check_reap_interval"),
        "consul": _CONSUL,
        "revision": STRING,
        **_fields(INT, "segment_limit segment_name_limit"),
        "sync_coordinate_interval_min": STRING,
        "sync_coordinate_rate_target": FLOAT,
        **_fields(STRING, "version version_prerelease"),
        # Enterprise
        "audit": _AUDIT,
        "non_voting_server": BOOL,
        "segment": STRING,
        "segments": ListOf(_SEGMENT),
        # ours: where the agent's sockets and process files go
        "run_dir": STRING,
    }
)

DEPRECATED_KEYS = frozenset({"acl_enforce_version_8"})
"""Known once, without meaning now: a warning instead of an error."""

ENTERPRISE_KEYS = {
    "non_voting_server": False,
    "segment": False,
    "segments": False,
    "autopilot.redundancy_zone_tag": False,
    "autopilot.upgrade_version_tag": False,
    "autopilot.disable_upgrade_migration": False,
    "dns_config.prefer_namespace": True,
    "acl.msp_disable_bootstrap": True,
    "acl.tokens.managed_service_provider": True,
    "audit": True,
}
"""Keys that draw a warning; True: and are dropped."""
