"""RuntimeConfig: the effective configuration of one agent, as every process of it loads it.

Frozen, validated before it is written, free of parsers: loading it costs a service one JSON decode.
Attribute names are Consul's config keys, nested the same way; durations are seconds and end in `_s`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Self

from shared.config import sections as s
from shared.config.record import Record, made
from shared.version import CONSUL_VERSION

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_FILE_NAME = "agent.json"
IDS_FROM_RAFT_PROTOCOL = 3
"""Raft's configuration names servers by ids from this version of the protocol on; before, by addresses."""

SUBSYSTEM_SETTINGS = (
    "raft_protocol",
    "raft_snapshot_threshold",
    "raft_snapshot_interval_s",
    "raft_trailing_logs",
    "reconnect_timeout_s",
    "reconnect_timeout_wan_s",
    "session_ttl_min_s",
)
"""Attributes that can be in `unset`: where the user gives nothing, a subsystem's default is in force."""


class ConfigFileError(Exception):
    """The written runtime configuration cannot be read. The message names the file and the reason."""


class RuntimeConfig(Record):
    """Addresses are "ip:port"; ports of -1 are disabled, and so is an address that is None or ""."""

    # who this agent is
    node_name: str
    node_id: str
    datacenter: str = "dc1"
    primary_datacenter: str = "dc1"
    domain: str = "consul."
    alt_domain: str = ""
    node_meta: dict[str, str] = made(dict)
    tagged_addresses: dict[str, str] = made(dict)
    segment: str = ""
    version: str = CONSUL_VERSION

    # where it keeps things; data_dir is "" in dev mode
    data_dir: str = ""
    run_dir: str = ""
    state_dir: str = ""
    pid_file: str = ""
    dev_mode: bool = False

    # its role
    server: bool = False
    bootstrap: bool = False
    bootstrap_expect: int = 0
    non_voting_server: bool = False
    protocol: int = 2
    raft_protocol: int = 3

    # addresses
    bind_addr: str = "0.0.0.0"
    advertise_addr: str = ""
    advertise_addr_wan: str = ""
    client_addrs: tuple[str, ...] = ("127.0.0.1",)
    rpc_bind_addr: str = ""
    rpc_advertise_addr: str = ""
    serf_lan_bind_addr: str | None = None
    serf_lan_advertise_addr: str | None = None
    serf_wan_bind_addr: str | None = None
    serf_wan_advertise_addr: str | None = None
    serf_lan_allowed_cidrs: tuple[str, ...] | None = None
    serf_wan_allowed_cidrs: tuple[str, ...] | None = None
    recursors: tuple[str, ...] = ()
    ports: s.Ports = made(s.Ports)
    addresses: s.Addresses = made(s.Addresses)
    unix_sockets: s.UnixSockets = made(s.UnixSockets)
    translate_wan_addrs: bool = False

    # joining and leaving
    start_join: tuple[str, ...] = ()
    start_join_wan: tuple[str, ...] = ()
    retry_join: tuple[str, ...] = ()
    retry_join_wan: tuple[str, ...] = ()
    retry_interval_s: float = 30.0
    retry_interval_wan_s: float = 30.0
    retry_max: int = 0
    retry_max_wan: int = 0
    primary_gateways: tuple[str, ...] = ()
    primary_gateways_interval_s: float = 30.0
    rejoin_after_leave: bool = False
    leave_on_terminate: bool = True
    skip_leave_on_interrupt: bool = False
    reconnect_timeout_s: float = 72 * 3600.0
    reconnect_timeout_wan_s: float = 72 * 3600.0

    # consensus and gossip
    raft: s.Raft = made(s.Raft)
    raft_snapshot_threshold: int = 16384
    raft_snapshot_interval_s: float = 30.0
    raft_trailing_logs: int = 10240
    gossip_lan: s.Gossip = s.LAN_GOSSIP
    gossip_wan: s.Gossip = s.WAN_GOSSIP
    coordinate: s.Coordinate = made(s.Coordinate)
    autopilot: s.Autopilot = made(s.Autopilot)
    disable_coordinates: bool = False
    encrypt: str = ""
    encrypt_verify_incoming: bool = True
    encrypt_verify_outgoing: bool = True
    disable_keyring_file: bool = False

    # what it serves
    dns_config: s.DnsConfig = made(s.DnsConfig)
    http_config: s.HttpConfig = made(s.HttpConfig)
    limits: s.Limits = made(s.Limits)
    performance: s.Performance = made(s.Performance)
    default_query_time_s: float = 300.0
    max_query_time_s: float = 600.0
    discovery_max_stale_s: float = 0.0
    session_ttl_min_s: float = 10.0
    enable_debug: bool = False
    ui: bool = False
    ui_dir: str = ""
    ui_content_path: str = "/ui/"
    disable_http_unprintable_char_filter: bool = False
    disable_remote_exec: bool = True
    cache: s.Cache = made(s.Cache)
    acl: s.Acl = made(s.Acl)

    # services, checks, watches: as the config files have them (keys in snake_case, durations in seconds)
    services: tuple[dict[str, Any], ...] = ()
    checks: tuple[dict[str, Any], ...] = ()
    watches: tuple[dict[str, Any], ...] = ()
    config_entries_bootstrap: tuple[dict[str, Any], ...] = ()
    enable_script_checks: bool = False
    enable_local_script_checks: bool = False
    enable_central_service_config: bool = False
    discard_check_output: bool = False
    check_output_max_size: int = 4096
    check_update_interval_s: float = 300.0
    check_deregister_interval_min_s: float = 60.0
    check_reap_interval_s: float = 30.0
    ae_interval_s: float = 60.0

    # TLS
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    tls: s.Tls = made(s.Tls)
    auto_encrypt: s.AutoEncrypt = made(s.AutoEncrypt)
    auto_config: s.AutoConfig = made(s.AutoConfig)
    connect: s.Connect = made(s.Connect)

    # seeing what it does
    log_level: str = "INFO"
    log_json: bool = False
    log: s.Log = made(s.Log)
    telemetry: s.Telemetry = made(s.Telemetry)
    disable_anonymous_signature: bool = False
    disable_update_check: bool = False
    disable_host_node_id: bool = True

    # keys the user left unset whose value above is a default of the subsystem; Consul shows them as zero
    unset: tuple[str, ...] = ()

    # what building it had to say; Consul logs each twice, as "agent" and as "agent.auto_config"
    warnings: tuple[str, ...] = ()

    # how to build this configuration again (shared.config.rebuild): see options.Options
    options: dict[str, Any] = made(dict)

    @property
    def dns_listeners(self) -> tuple[str, ...]:
        """DNS listeners, "ip:port", each for UDP and TCP."""
        return self.addresses.dns

    @property
    def http_listeners(self) -> tuple[str, ...]:
        """HTTP listeners, "ip:port" or "unix:///path"."""
        return self.addresses.http

    @property
    def https_listeners(self) -> tuple[str, ...]:
        """HTTPS listeners, "ip:port" or "unix:///path"."""
        return self.addresses.https

    @property
    def grpc_listeners(self) -> tuple[str, ...]:
        """gRPC (xDS) listeners, "ip:port" or "unix:///path"."""
        return self.addresses.grpc

    @property
    def raft_id(self) -> str:
        """What names this server in Raft's configuration: its address, before version 3 of the protocol."""
        return self.node_id if self.raft_protocol >= IDS_FROM_RAFT_PROTOCOL else self.rpc_advertise_addr

    def socket_path(self, name: str) -> str:
        """Path of a local socket of this agent: socket_path("raft") -> "<run_dir>/raft.sock"."""
        return f"{self.run_dir}/{name}.sock"

    @classmethod
    def dev(
        cls,
        run_dir: str | Path,
        *,
        node_name: str = "node1",
        bind_addr: str = "127.0.0.1",
        ports: s.Ports | None = None,
        **changes: Any,
    ) -> Self:
        """What `agent -dev -node NODE_NAME -bind ADDR -client ADDR` runs with, without parsing anything.

        Made for tests and tools. `changes` replaces any attribute; node_id is derived from the node name
        so that a test can rely on it."""
        ports = ports or s.Ports(grpc=8502)

        def listeners(port: int) -> tuple[str, ...]:
            return (join_host_port(bind_addr, port),) if port > 0 else ()

        serf_wan = join_host_port(bind_addr, ports.serf_wan) if ports.serf_wan > 0 else None
        config = cls(
            node_name=node_name,
            node_id=str(_uuid_from_name(node_name)),
            run_dir=str(run_dir),
            state_dir=f"{run_dir}/state",
            dev_mode=True,
            server=True,
            bind_addr=bind_addr,
            advertise_addr=bind_addr,
            advertise_addr_wan=bind_addr,
            client_addrs=(bind_addr,),
            rpc_bind_addr=join_host_port(bind_addr, ports.server),
            rpc_advertise_addr=join_host_port(bind_addr, ports.server),
            serf_lan_bind_addr=join_host_port(bind_addr, ports.serf_lan),
            serf_lan_advertise_addr=join_host_port(bind_addr, ports.serf_lan),
            serf_wan_bind_addr=serf_wan,
            serf_wan_advertise_addr=serf_wan,
            ports=ports,
            addresses=s.Addresses(
                dns=listeners(ports.dns),
                http=listeners(ports.http),
                https=listeners(ports.https),
                grpc=listeners(ports.grpc),
            ),
            tagged_addresses=dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), bind_addr),
            leave_on_terminate=False,
            skip_leave_on_interrupt=True,
            disable_keyring_file=True,
            disable_anonymous_signature=True,
            raft=s.Raft(heartbeat_timeout_s=0.035, election_timeout_s=0.052, leader_lease_timeout_s=0.02),
            performance=s.Performance(raft_multiplier=1),
            gossip_lan=s.DEV_GOSSIP,
            gossip_wan=s.DEV_GOSSIP,
            coordinate=s.Coordinate(update_period_s=0.1),
            autopilot=s.Autopilot(server_health_interval_s=0.01),
            connect=s.Connect(enabled=True),
            enable_debug=True,
            ui=True,
            log_level="DEBUG",
            unset=SUBSYSTEM_SETTINGS,
        )
        return config.replace(**changes)


def join_host_port(host: str, port: int) -> str:
    """ "ip:port", with brackets around an IPv6 address, as Go's net.JoinHostPort."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_port(address: str) -> tuple[str, int]:
    """The inverse of join_host_port. Raises ValueError for anything without a port."""
    host, separator, port = address.rpartition(":")
    if not separator:
        raise ValueError(f"no port in address {address!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def load(path: str | Path) -> RuntimeConfig:
    """Read what `dump` wrote. Raises ConfigFileError with the file's name and the reason."""
    try:
        with open(path, encoding="utf-8") as file:
            tree = json.load(file)
        config = _build(RuntimeConfig, tree)
    except OSError as error:
        raise ConfigFileError(f"cannot read runtime config {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigFileError(
            f"runtime config {path} is damaged or from another version ({error}): start the agent again"
        ) from error
    assert isinstance(config, RuntimeConfig)
    return config


def dump(config: RuntimeConfig, path: str | Path) -> None:
    """Write the file with mode 0600 (it holds tokens and keys), atomically: a reader sees old or new."""
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(config.as_dict(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)
        raise


def _build(cls: type[Record], tree: dict[str, Any]) -> Record:
    """A record from its JSON object. Annotations are strings, and name the class of a section directly."""
    values: dict[str, Any] = {}
    for name, annotation in cls.FIELDS.items():
        if name not in tree:
            continue
        value = tree[name]
        section = getattr(s, annotation.removeprefix("s."), None)
        if section is not None:
            value = _build(section, value)
        elif isinstance(value, list) and annotation.startswith("tuple["):
            value = tuple(value)
        values[name] = value
    return cls(**values)


def _uuid_from_name(name: str) -> str:
    """A UUID that depends on nothing but the name (version 5 layout, without importing uuid)."""
    import hashlib

    digest = bytearray(hashlib.sha1(b"proconsul node " + name.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
