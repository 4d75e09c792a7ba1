"""Builder: merged sources to the effective configuration, in the order of Consul's own builder.

The order matters where several things are wrong: users (and their tests) see the first one."""

from __future__ import annotations

import socket
from typing import Any

from shared.config import addresses, schema, services, sources
from shared.config import sections as s
from shared.config.error_list import error_list
from shared.config.options import ConfigError, Options
from shared.config.runtime import RuntimeConfig
from shared.config.tls_names import parse_cipher_suites
from shared.config.validate import validate
from shared.config.values import Values
from shared.gotext.quoting import quote

MAX_RAFT_MULTIPLIER = 10
_PORT_RANGES = ("proxy", "sidecar", "expose")
_CA_CONFIG_KEYS = {
    "private_key": "PrivateKey",
    "root_cert": "RootCert",
    "rotation_period": "RotationPeriod",
    "intermediate_cert_ttl": "IntermediateCertTTL",
    "address": "Address",
    "token": "Token",
    "root_pki_path": "RootPKIPath",
    "intermediate_pki_path": "IntermediatePKIPath",
    "ca_file": "CAFile",
    "ca_path": "CAPath",
    "cert_file": "CertFile",
    "key_file": "KeyFile",
    "tls_server_name": "TLSServerName",
    "tls_skip_verify": "TLSSkipVerify",
    "existing_arn": "ExistingARN",
    "delete_on_exit": "DeleteOnExit",
    "leaf_cert_ttl": "LeafCertTTL",
    "csr_max_per_second": "CSRMaxPerSecond",
    "csr_max_concurrent": "CSRMaxConcurrent",
    "private_key_type": "PrivateKeyType",
    "private_key_bits": "PrivateKeyBits",
}


def build(options: Options) -> RuntimeConfig:
    """The validated configuration. node_id is what the user gave ("" if nothing), run_dir likewise.

    Raises ConfigError for everything Consul refuses. Warnings are in the result."""
    warnings: list[str] = []
    values = Values(sources.load(options, warnings), warnings)
    config = _build(values, options)
    config = validate(config, values)
    return config.replace(warnings=tuple(warnings))


def _build(v: Values, options: Options) -> RuntimeConfig:
    service_ttl = {
        name: v.to_duration(f"dns_config.service_ttl[{quote(name)}]", text)
        for name, text in v.mapping("dns_config.service_ttl").items()
    }
    checks = tuple(services.convert_check(v, check) for check in v.get("checks") or ())
    definitions = tuple(services.convert_service(v, service) for service in v.get("services") or ())
    ports = _ports(v)
    resolved = addresses.resolve(
        v,
        addresses.ClusterPorts(ports.server, ports.serf_lan, ports.serf_wan),
        {"dns": ports.dns, "http": ports.http, "https": ports.https, "grpc": ports.grpc},
    )
    recursors = addresses.expand_recursors(v)
    _refuse_bad_segment_ports(v)
    allowed_prefixes, blocked_prefixes = _prefix_filter(v)
    raft = _raft(v)
    auto_encrypt = _auto_encrypt(v)
    auto_config = _auto_config(v)
    connect = _connect(v, auto_encrypt, auto_config)
    datacenter = v.text("datacenter").lower()
    primary_datacenter, acl_enabled = _primary_datacenter(v, datacenter)
    server = v.flag("server")
    config = RuntimeConfig(
        node_id=v.text("node_id"),
        datacenter=datacenter,
        primary_datacenter=primary_datacenter,
        dev_mode=options.dev_mode,
        server=server,
        options=options.to_json(),
        ports=ports,
        checks=checks,
        services=definitions,
        connect=connect,
        auto_encrypt=auto_encrypt,
        auto_config=auto_config,
        recursors=recursors,
        bind_addr=resolved.bind,
        advertise_addr=resolved.advertise,
        advertise_addr_wan=resolved.advertise_wan,
        client_addrs=resolved.clients,
        addresses=resolved.listeners,
        tagged_addresses=resolved.tagged,
        rpc_bind_addr=resolved.rpc_bind,
        rpc_advertise_addr=resolved.rpc_advertise,
        serf_lan_bind_addr=resolved.serf_lan_bind,
        serf_lan_advertise_addr=resolved.serf_lan_advertise,
        serf_wan_bind_addr=resolved.serf_wan_bind,
        serf_wan_advertise_addr=resolved.serf_wan_advertise,
        serf_lan_allowed_cidrs=_networks(v, "serf_lan_allowed_cidrs"),
        serf_wan_allowed_cidrs=_networks(v, "serf_wan_allowed_cidrs"),
        ae_interval_s=v.duration("ae_interval"),
        check_deregister_interval_min_s=v.duration("check_deregister_interval_min"),
        check_reap_interval_s=v.duration("check_reap_interval"),
        coordinate=_coordinate(v),
        raft=raft,
        gossip_lan=_gossip(v, "gossip_lan"),
        gossip_wan=_gossip(v, "gossip_wan"),
        acl=_acl(v, acl_enabled),
        autopilot=_autopilot(v),
        dns_config=_dns(v, service_ttl),
        domain=v.text("domain"),
        alt_domain=v.text("alt_domain"),
        http_config=_http(v),
        telemetry=_telemetry(v, allowed_prefixes, blocked_prefixes),
        bootstrap=v.flag("bootstrap"),
        bootstrap_expect=v.integer("bootstrap_expect"),
        cache=s.Cache(
            entry_fetch_rate=v.number("cache.entry_fetch_rate", s.MAX_FLOAT),
            entry_fetch_max_burst=v.integer("cache.entry_fetch_max_burst", 2),
        ),
        leave_on_terminate=v.flag("leave_on_terminate", not server),
        skip_leave_on_interrupt=v.flag("skip_leave_on_interrupt", server),
        node_meta=v.mapping("node_meta"),
        node_name=_node_name(v),
        **_agent(v),
    )
    if config.cache.entry_fetch_max_burst <= 0:
        raise ConfigError(
            f"cache.entry_fetch_max_burst must be strictly positive, was: {config.cache.entry_fetch_max_burst}"
        )
    if config.cache.entry_fetch_rate <= 0:
        rate = f"{config.cache.entry_fetch_rate:g}"
        raise ConfigError(f"cache.entry_fetch_rate must be strictly positive, was: {rate}")
    if config.bootstrap_expect == 1:
        v.warnings.append("BootstrapExpect is set to 1; this is the same as Bootstrap mode.")
        config = config.replace(bootstrap=True, bootstrap_expect=0)
    return config


def _ports(v: Values) -> s.Ports:
    read = {name: v.port(f"ports.{name}") for name in s.Ports.FIELDS}
    read_range = {f"proxy_{end}_port": v.port(f"ports.proxy_{end}_port") for end in ("min", "max")}
    for name in _PORT_RANGES:
        both = {**read, **read_range}
        if both[f"{name}_max_port"] < both[f"{name}_min_port"]:
            raise ConfigError(f"{name}_min_port must be less than {name}_max_port. To disable, set both to zero.")
    return s.Ports(**read)


def _refuse_bad_segment_ports(v: Values) -> None:
    for segment in v.get("segments") or ():
        name = segment.get("name", "")
        if v.to_port(f"segments[{name}].port", segment.get("port")) <= 0:
            raise ConfigError(f"Port for segment {quote(name)} cannot be <= 0")


def _prefix_filter(v: Values) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Metric prefixes that are let through, and those that are held back."""
    rules: dict[str, list[str]] = {"+": [], "-": []}
    for rule in v.texts("telemetry.prefix_filter"):
        if not rule:
            v.warnings.append("Cannot have empty filter rule in prefix_filter")
        elif rule[0] in rules:
            rules[rule[0]].append(rule[1:])
        else:
            v.warnings.append(f"Filter rule must begin with either '+' or '-': {quote(rule)}")
    return tuple(rules["+"]), tuple(rules["-"])


def _raft(v: Values) -> s.Raft:
    multiplier = v.integer("performance.raft_multiplier")
    if not 1 <= multiplier <= MAX_RAFT_MULTIPLIER:
        raise ConfigError(
            f"performance.raft_multiplier cannot be {multiplier}. Must be between 1 and {MAX_RAFT_MULTIPLIER}"
        )
    return s.Raft(
        election_timeout_s=v.duration("consul.raft.election_timeout") * multiplier,
        heartbeat_timeout_s=v.duration("consul.raft.heartbeat_timeout") * multiplier,
        leader_lease_timeout_s=v.duration("consul.raft.leader_lease_timeout") * multiplier,
    )


def _auto_encrypt(v: Values) -> s.AutoEncrypt:
    return s.AutoEncrypt(
        tls=v.flag("auto_encrypt.tls"),
        dns_san=v.texts("auto_encrypt.dns_san"),
        ip_san=_ips(v, "auto_encrypt.ip_san", "AutoEncrypt.IPSAN"),
        allow_tls=v.flag("auto_encrypt.allow_tls"),
    )


def _ips(v: Values, path: str, label: str) -> tuple[str, ...]:
    ips: list[str] = []
    for text in v.texts(path):
        if (ip := addresses.parse_ip(text)) is not None:
            ips.append(ip)
        else:
            v.warnings.append(f"Cannot parse ip {quote(text)} from {label}")
    return tuple(ips)


def _auto_config(v: Values) -> s.AutoConfig:
    import os

    token = v.text("auto_config.intro_token")
    if from_environment := os.environ.get("CONSUL_INTRO_TOKEN"):
        if token:
            v.warnings.append(
                "Both auto_config.intro_token and the CONSUL_INTRO_TOKEN environment variable are set. "
                "Using the value from the environment variable"
            )
        token = from_environment
    server_addresses = addresses.expand_list(v, "auto_config.server_addresses")
    ip_sans = _ips(v, "auto_config.ip_sans", "auto_config.ip_sans")
    path = "auto_config.authorization.static"
    static = v.mapping(path)
    for key in ("expiration_leeway", "not_before_leeway", "clock_skew_leeway"):
        if key in static:
            static[key] = v.duration(f"{path}.{key}")
    return s.AutoConfig(
        enabled=v.flag("auto_config.enabled"),
        intro_token=token,
        intro_token_file=v.text("auto_config.intro_token_file"),
        server_addresses=server_addresses,
        dns_sans=v.texts("auto_config.dns_sans"),
        ip_sans=ip_sans,
        authorization_enabled=v.flag("auto_config.authorization.enabled"),
        static=static,
    )


def _connect(v: Values, auto_encrypt: s.AutoEncrypt, auto_config: s.AutoConfig) -> s.Connect:
    enabled = v.flag("connect.enabled") or auto_encrypt.allow_tls or auto_config.enabled
    federation = v.flag("connect.enable_mesh_gateway_wan_federation")
    if federation and not enabled:
        raise ConfigError("'connect.enable_mesh_gateway_wan_federation=true' requires 'connect.enabled=true'")
    ca_config = {_CA_CONFIG_KEYS.get(key.lower(), key): value for key, value in v.mapping("connect.ca_config").items()}
    return s.Connect(
        enabled=enabled,
        ca_provider=v.text("connect.ca_provider"),
        ca_config=ca_config,
        enable_mesh_gateway_wan_federation=federation,
    )


def _primary_datacenter(v: Values, datacenter: str) -> tuple[str, bool]:
    """The primary datacenter, and whether ACLs are on: naming an ACL datacenter turns them on."""
    primary, enabled = v.text("primary_datacenter").lower(), False
    if v.get("acl_datacenter") is not None:
        v.warnings.append("The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead.")
        primary, enabled = primary or v.text("acl_datacenter").lower(), True
    return primary or datacenter, v.flag("acl.enabled", enabled)


def _networks(v: Values, path: str) -> tuple[str, ...] | None:
    """Networks in canonical CIDR form; None means that all addresses may gossip."""
    if not v.get(path):
        return None
    networks: list[str] = []
    reasons: list[str] = []
    for text in v.texts(path):
        if (network := parse_cidr(text.strip())) is None:
            reasons.append(f"invalid cidr: {text}")
        else:
            networks.append(network)
    if reasons:
        raise ConfigError(f"{path}: {error_list(reasons)}")
    return tuple(networks)


def parse_cidr(text: str) -> str | None:
    """The network of "ip/bits" in canonical form, None if the text is not that."""
    import ipaddress

    if "/" not in text:
        return None
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return None


def _coordinate(v: Values) -> s.Coordinate:
    return s.Coordinate(
        update_batch_size=v.integer("consul.coordinate.update_batch_size"),
        update_max_batches=v.integer("consul.coordinate.update_max_batches"),
        update_period_s=v.duration("consul.coordinate.update_period"),
        sync_interval_min_s=v.duration("sync_coordinate_interval_min"),
        sync_rate_target=v.number("sync_coordinate_rate_target"),
    )


def _gossip(v: Values, pool: str) -> s.Gossip:
    def duration(key: str) -> float:
        return v.duration(f"{pool}.{key}", name=f"{pool}..{key}")

    return s.Gossip(
        gossip_interval_s=duration("gossip_interval"),
        gossip_nodes=v.integer(f"{pool}.gossip_nodes"),
        probe_interval_s=duration("probe_interval"),
        probe_timeout_s=duration("probe_timeout"),
        suspicion_mult=v.integer(f"{pool}.suspicion_mult"),
        retransmit_mult=v.integer(f"{pool}.retransmit_mult"),
    )


def _acl(v: Values, enabled: bool) -> s.Acl:
    replicate = v.flag("enable_acl_replication", v.get("acl_replication_token") is not None)
    return s.Acl(
        enabled=enabled,
        tokens=s.AclTokens(
            agent_master=v.text("acl.tokens.agent_master", v.text("acl_agent_master_token")),
            agent=v.text("acl.tokens.agent", v.text("acl_agent_token")),
            master=v.text("acl.tokens.master", v.text("acl_master_token")),
            replication=v.text("acl.tokens.replication", v.text("acl_replication_token")),
            default=v.text("acl.tokens.default", v.text("acl_token")),
        ),
        default_policy=v.text("acl.default_policy", v.text("acl_default_policy")),
        down_policy=v.text("acl.down_policy", v.text("acl_down_policy")),
        enable_key_list_policy=v.flag("acl.enable_key_list_policy", v.flag("acl_enable_key_list_policy")),
        disabled_ttl_s=v.duration("acl.disabled_ttl"),
        token_ttl_s=v.duration("acl.token_ttl", default=v.duration("acl_ttl")),
        policy_ttl_s=v.duration("acl.policy_ttl"),
        role_ttl_s=v.duration("acl.role_ttl"),
        token_replication=v.flag("acl.enable_token_replication", replicate),
        enable_token_persistence=v.flag("acl.enable_token_persistence"),
    )


def _autopilot(v: Values) -> s.Autopilot:
    return s.Autopilot(
        cleanup_dead_servers=v.flag("autopilot.cleanup_dead_servers"),
        disable_upgrade_migration=v.flag("autopilot.disable_upgrade_migration"),
        last_contact_threshold_s=v.duration("autopilot.last_contact_threshold"),
        max_trailing_logs=v.integer("autopilot.max_trailing_logs"),
        min_quorum=v.integer("autopilot.min_quorum"),
        redundancy_zone_tag=v.text("autopilot.redundancy_zone_tag"),
        server_stabilization_time_s=v.duration("autopilot.server_stabilization_time"),
        upgrade_version_tag=v.text("autopilot.upgrade_version_tag"),
        server_health_interval_s=v.duration("consul.server.health_interval"),
    )


def _dns(v: Values, service_ttl: dict[str, float]) -> s.DnsConfig:
    return s.DnsConfig(
        allow_stale=v.flag("dns_config.allow_stale"),
        a_record_limit=v.integer("dns_config.a_record_limit"),
        disable_compression=v.flag("dns_config.disable_compression"),
        enable_truncate=v.flag("dns_config.enable_truncate"),
        max_stale_s=v.duration("dns_config.max_stale"),
        node_ttl_s=v.duration("dns_config.node_ttl"),
        only_passing=v.flag("dns_config.only_passing"),
        recursor_timeout_s=v.duration("dns_config.recursor_timeout", name="recursor_timeout"),
        service_ttl_s=service_ttl,
        udp_answer_limit=v.integer("dns_config.udp_answer_limit"),
        enable_additional_node_meta_txt=v.flag("dns_config.enable_additional_node_meta_txt", True),
        soa=s.Soa(**v.mapping("dns_config.soa")),
        use_cache=v.flag("dns_config.use_cache"),
        cache_max_age_s=v.duration("dns_config.cache_max_age"),
    )


def _http(v: Values) -> s.HttpConfig:
    networks: list[str] = []
    for text in v.texts("http_config.allow_write_http_from"):
        if (network := parse_cidr(text.strip())) is None:
            v.errors.append(f"allow_write_http_from: invalid cidr: {text}")
        else:
            networks.append(network)
    return s.HttpConfig(
        block_endpoints=v.texts("http_config.block_endpoints"),
        allow_write_http_from=tuple(networks),
        response_headers=v.mapping("http_config.response_headers"),
        use_cache=v.flag("http_config.use_cache", True),
    )


def _telemetry(v: Values, allowed: tuple[str, ...], blocked: tuple[str, ...]) -> s.Telemetry:
    fields: Any = schema.CONFIG.fields["telemetry"]
    circonus = {key: v.text(f"telemetry.{key}") for key in fields.fields if key.startswith("circonus_")}
    return s.Telemetry(
        circonus={key: value for key, value in circonus.items() if value},
        disable_hostname=v.flag("telemetry.disable_hostname"),
        dogstatsd_addr=v.text("telemetry.dogstatsd_addr"),
        dogstatsd_tags=v.texts("telemetry.dogstatsd_tags"),
        filter_default=v.flag("telemetry.filter_default"),
        allowed_prefixes=allowed,
        blocked_prefixes=blocked,
        metrics_prefix=v.text("telemetry.metrics_prefix"),
        prometheus_retention_time_s=v.duration("telemetry.prometheus_retention_time", name="prometheus_retention_time"),
        statsd_address=v.text("telemetry.statsd_address"),
        statsite_address=v.text("telemetry.statsite_address"),
    )


def _node_name(v: Values) -> str:
    return (v.text("node_name") or socket.gethostname()).strip()


def _bootstrap_entries(v: Values) -> tuple[dict[str, Any], ...]:
    """Config entries that a leader is to write if they do not exist: read, normalised and checked as those of a
    client, then kept as their JSON."""
    given = v.get("config_entries.bootstrap") or ()
    if not given:
        return ()
    from shared.structs.config_entry_rules import decode_entry, normalize, validate
    from shared.structs.errors import RefusedError

    made = []
    for at, raw in enumerate(given):
        try:
            entry = decode_entry(raw)
            normalize(entry)
            validate(entry)
        except RefusedError as error:
            raise ConfigError(f"config_entries.bootstrap[{at}]: {error}") from None
        made.append(entry.to_json())
    return tuple(made)


def _agent(v: Values) -> dict[str, Any]:
    """The settings of the agent itself, in the order in which Consul converts them."""
    remote_scripts = v.flag("enable_script_checks")
    verify_server_hostname = v.flag("verify_server_hostname")
    agent: dict[str, Any] = {
        "ca_file": v.text("ca_file"),
        "cert_file": v.text("cert_file"),
        "key_file": v.text("key_file"),
        "check_update_interval_s": v.duration("check_update_interval"),
        "check_output_max_size": v.integer("check_output_max_size"),
        "config_entries_bootstrap": _bootstrap_entries(v),
        "data_dir": v.text("data_dir"),
        "run_dir": v.text("run_dir"),
        "default_query_time_s": v.duration("default_query_time"),
        "disable_anonymous_signature": v.flag("disable_anonymous_signature"),
        "disable_coordinates": v.flag("disable_coordinates"),
        "disable_host_node_id": v.flag("disable_host_node_id"),
        "disable_http_unprintable_char_filter": v.flag("disable_http_unprintable_char_filter"),
        "disable_keyring_file": v.flag("disable_keyring_file"),
        "disable_remote_exec": v.flag("disable_remote_exec"),
        "disable_update_check": v.flag("disable_update_check"),
        "discard_check_output": v.flag("discard_check_output"),
        "discovery_max_stale_s": v.duration("discovery_max_stale"),
        "enable_central_service_config": v.flag("enable_central_service_config"),
        "enable_debug": v.flag("enable_debug"),
        "enable_script_checks": remote_scripts,
        "enable_local_script_checks": v.flag("enable_local_script_checks", remote_scripts),
        "ui": v.flag("ui"),
        "encrypt": v.text("encrypt"),
        "encrypt_verify_incoming": v.flag("encrypt_verify_incoming"),
        "encrypt_verify_outgoing": v.flag("encrypt_verify_outgoing"),
        "limits": s.Limits(
            http_max_conns_per_client=v.integer("limits.http_max_conns_per_client"),
            https_handshake_timeout_s=v.duration("limits.https_handshake_timeout"),
            kv_max_value_size=v.integer("limits.kv_max_value_size"),
            rpc_handshake_timeout_s=v.duration("limits.rpc_handshake_timeout"),
            rpc_max_burst=v.integer("limits.rpc_max_burst"),
            rpc_max_conns_per_client=v.integer("limits.rpc_max_conns_per_client"),
            rpc_rate=v.number("limits.rpc_rate"),
            txn_max_req_len=v.integer("limits.txn_max_req_len"),
        ),
        "performance": s.Performance(
            leave_drain_time_s=v.duration("performance.leave_drain_time"),
            raft_multiplier=v.integer("performance.raft_multiplier"),
            rpc_hold_timeout_s=v.duration("performance.rpc_hold_timeout"),
        ),
        "log_level": v.text("log_level"),
        "log_json": v.flag("log_json"),
        "log": s.Log(
            file=v.text("log_file"),
            syslog=v.flag("enable_syslog"),
            syslog_facility=v.text("syslog_facility"),
            rotate_duration_s=v.duration("log_rotate_duration"),
            rotate_bytes=v.integer("log_rotate_bytes"),
            rotate_max_files=v.integer("log_rotate_max_files"),
        ),
        "max_query_time_s": v.duration("max_query_time"),
        "non_voting_server": v.flag("non_voting_server"),
        "pid_file": v.text("pid_file"),
        "primary_gateways": addresses.expand_list(v, "primary_gateways"),
        "primary_gateways_interval_s": v.duration("primary_gateways_interval"),
        "protocol": v.integer("protocol"),
        "rejoin_after_leave": v.flag("rejoin_after_leave"),
        "retry_interval_s": v.duration("retry_interval"),
        "retry_interval_wan_s": v.duration("retry_interval_wan"),
        "retry_join": addresses.expand_list(v, "retry_join"),
        "retry_max": v.integer("retry_max"),
        "retry_max_wan": v.integer("retry_max_wan"),
        "retry_join_wan": addresses.expand_list(v, "retry_join_wan"),
        "segment": v.text("segment"),
        "start_join": addresses.expand_list(v, "start_join"),
        "start_join_wan": addresses.expand_list(v, "start_join_wan"),
        "translate_wan_addrs": v.flag("translate_wan_addrs"),
        "ui_dir": v.text("ui_dir"),
        "ui_content_path": _ui_path(v.text("ui_content_path")),
        "unix_sockets": s.UnixSockets(
            user=v.text("unix_sockets.user"),
            group=v.text("unix_sockets.group"),
            mode=v.text("unix_sockets.mode"),
        ),
        "tls": s.Tls(
            ca_path=v.text("ca_path"),
            cipher_suites=parse_cipher_suites(v),
            min_version=v.text("tls_min_version"),
            prefer_server_cipher_suites=v.flag("tls_prefer_server_cipher_suites"),
            server_name=v.text("server_name"),
            verify_incoming=v.flag("verify_incoming"),
            verify_incoming_https=v.flag("verify_incoming_https"),
            verify_incoming_rpc=v.flag("verify_incoming_rpc"),
            # Asking for the right host name means asking for TLS (CVE-2018-19653).
            verify_outgoing=v.flag("verify_outgoing") or verify_server_hostname,
            verify_server_hostname=verify_server_hostname,
            enable_agent_tls_for_checks=v.flag("enable_agent_tls_for_checks"),
        ),
        "watches": tuple(v.get("watches") or ()),
    }
    return {**agent, **_subsystem_settings(v)}


def _subsystem_settings(v: Values) -> dict[str, Any]:
    """Settings where 0 stands for the default of a subsystem; which ones do is kept in `unset`."""
    given: dict[str, float] = {
        "raft_protocol": v.integer("raft_protocol"),
        "raft_snapshot_threshold": v.integer("raft_snapshot_threshold"),
        "raft_snapshot_interval_s": v.duration("raft_snapshot_interval"),
        "raft_trailing_logs": v.integer("raft_trailing_logs"),
        "reconnect_timeout_s": v.duration("reconnect_timeout"),
        "reconnect_timeout_wan_s": v.duration("reconnect_timeout_wan"),
        "session_ttl_min_s": v.duration("session_ttl_min"),
    }
    settings: dict[str, Any] = {key: value for key, value in given.items() if value}
    settings["unset"] = tuple(key for key, value in given.items() if not value)
    return settings


def _ui_path(text: str) -> str:
    """With a slash at both ends."""
    return f"/{text.strip('/')}/" if text else "/ui/"
