"""Flags of `agent`: names, the config keys they set, and how their values are read.

Names and value syntax are Consul's, all 65 of them; -run-dir is ours."""

from __future__ import annotations

import re
from typing import Any

from cli.base.flags import BoolFlag, Flag, FlagSet, ListFlag, OptionalBoolFlag, StringFlag
from shared.gotext.numbers import parse_bool
from shared.gotext.quoting import quote


class KeyFlag(Flag):
    """A flag that sets a config key; `given` is None until it is set."""

    def __init__(self, name: str, key: str, text: str) -> None:
        super().__init__(name, text)
        self.key = key
        self.given: Any = None


class Text(KeyFlag):
    def set(self, text: str) -> None:
        self.given = text


class Switch(KeyFlag):
    placeholder = ""
    is_switch = True

    def set(self, text: str) -> None:
        self.given = parse_bool(text)


class Number(KeyFlag):
    """Decimal digits with an optional sign, as strconv.Atoi takes them."""

    def set(self, text: str) -> None:
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise ValueError(f"strconv.Atoi: parsing {quote(text)}: invalid syntax")
        value = int(text)
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"strconv.Atoi: parsing {quote(text)}: value out of range")
        self.given = value


class Texts(KeyFlag):
    """May be repeated."""

    def set(self, text: str) -> None:
        self.given = [*(self.given or ()), text]


class Pairs(KeyFlag):
    """key:value, may be repeated."""

    def set(self, text: str) -> None:
        key, _, value = text.partition(":")
        self.given = {**(self.given or {}), key: value}


class Files(Flag):
    """-config-file and -config-dir: one list, in the order of the command line."""

    def __init__(self, name: str, text: str, paths: list[str]) -> None:
        super().__init__(name, text)
        self._paths = paths

    def set(self, text: str) -> None:
        self._paths.append(text)


class Flags(FlagSet):
    def __init__(self) -> None:
        self.config_files: list[str] = []
        self.config_dir = Files(
            "config-dir",
            "Directory of configuration files. Those that end in '.json' or '.hcl' are read in alphabetical "
            "order. May be repeated.",
            self.config_files,
        )
        self.config_file = Files(
            "config-file",
            "Configuration file in JSON or HCL, as its name ends. May be repeated.",
            self.config_files,
        )
        self.config_format = StringFlag(
            "config-format", "Format of all configuration files, 'hcl' or 'json', however their names end."
        )
        self.dev = OptionalBoolFlag("dev", "Runs a server of its own in memory, for development.")
        self.hcl = ListFlag("hcl", "Configuration in HCL, read after all files. May be repeated.")
        self.prepare_only = BoolFlag(
            "prepare-only",
            "Writes the configuration into the run directory, prints the file's path and ends: for service "
            "managers that run each component as a unit of its own.",
        )
        self._settings = _settings()
        for position, flag in enumerate(self._settings):
            setattr(self, f"setting_{position}", flag)  # where FlagSet looks for flags

    def config_tree(self) -> dict[str, Any]:
        """The config keys that flags were given for, nested as in a file."""
        tree: dict[str, Any] = {}
        for flag in self._settings:
            if flag.given is not None:
                *parents, last = flag.key.split(".")
                node = tree
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[last] = flag.given
        return tree


def _settings() -> list[KeyFlag]:
    return [
        Text("advertise", "advertise_addr", "Address that other agents are told to reach this one at."),
        Text(
            "advertise-wan",
            "advertise_addr_wan",
            "The same for agents of other datacenters, where it differs from -advertise.",
        ),
        Texts(
            "allow-write-http-from",
            "http_config.allow_write_http_from",
            "Network in CIDR form that may use endpoints which write. Without it all may. May be repeated.",
        ),
        Text("alt-domain", "alt_domain", "Second domain that DNS queries are answered for."),
        Text("bind", "bind_addr", "Address to listen on for other agents."),
        Switch(
            "bootstrap",
            "bootstrap",
            "Lets this server elect itself as leader. For one server per datacenter only.",
        ),
        Number(
            "bootstrap-expect",
            "bootstrap_expect",
            "Number of servers to wait for before the first leader is elected.",
        ),
        Number(
            "check_output_max_size",
            "check_output_max_size",
            "Bytes of a health check's output that are kept.",
        ),
        Text(
            "client",
            "client_addr",
            "Address to listen on for clients: HTTP, HTTPS, DNS and gRPC, as far as they are enabled.",
        ),
        Text("data-dir", "data_dir", "Directory in which the agent keeps its state."),
        Text("datacenter", "datacenter", "Datacenter that the agent is part of."),
        Text(
            "default-query-time",
            "default_query_time",
            "How long a blocking query waits if it does not say so itself with the parameter 'wait'.",
        ),
        Switch(
            "disable-host-node-id",
            "disable_host_node_id",
            "Whether the node ID is random. If false, it is derived from an ID of the host.",
        ),
        Switch(
            "disable-keyring-file",
            "disable_keyring_file",
            "Keeps the keys of gossip encryption in memory only.",
        ),
        Number("dns-port", "ports.dns", "Port for DNS."),
        Text("domain", "domain", "Domain that DNS queries are answered for."),
        Switch(
            "enable-local-script-checks",
            "enable_local_script_checks",
            "Permits health checks that run programs, if they come from configuration files.",
        ),
        Switch(
            "enable-script-checks",
            "enable_script_checks",
            "Permits health checks that run programs, also if they come over the HTTP API.",
        ),
        Text("encrypt", "encrypt", "Key of gossip encryption, as keygen prints it."),
        Number("grpc-port", "ports.grpc", "Port for gRPC, which Envoy gets its configuration over."),
        Number("http-port", "ports.http", "Port for HTTP."),
        Number("https-port", "ports.https", "Port for HTTPS."),
        Texts("join", "start_join", "Address of an agent to join at the start. May be repeated."),
        Texts(
            "join-wan",
            "start_join_wan",
            "Address of a server of another datacenter to join at the start. May be repeated.",
        ),
        Text("log-file", "log_file", "File that log lines are also written to."),
        Switch("log-json", "log_json", "Writes log lines as JSON."),
        Text("log-level", "log_level", "Least severe level that is logged: trace, debug, info, warn or err."),
        Number("log-rotate-bytes", "log_rotate_bytes", "Size at which a new log file is begun."),
        Text("log-rotate-duration", "log_rotate_duration", "Age at which a new log file is begun."),
        Number("log-rotate-max-files", "log_rotate_max_files", "Number of old log files that are kept."),
        Text(
            "max-query-time",
            "max_query_time",
            "The longest that a blocking query may wait. The jitter that is added to waits does not exceed it either.",
        ),
        Text("node", "node_name", "Name of this node, which no other node of the cluster may have."),
        Text(
            "node-id",
            "node_id",
            "ID of this node, for good and everywhere. Otherwise one is made and kept in the data directory.",
        ),
        Pairs("node-meta", "node_meta", "Metadata of this node, in the form `key:value`. May be repeated."),
        Switch(
            "non-voting-server",
            "non_voting_server",
            "(Enterprise) Makes a server that has the data but no vote.",
        ),
        Text("pid-file", "pid_file", "File that the process ID is written to."),
        Texts(
            "primary-gateway",
            "primary_gateways",
            "Address of a mesh gateway of the primary datacenter, tried until it answers. May be repeated.",
        ),
        Number("protocol", "protocol", "Version of the protocol between agents. By default the latest."),
        Number("raft-protocol", "raft_protocol", "Version of the Raft protocol. By default the latest."),
        Texts(
            "recursor",
            "recursors",
            "Address of a DNS server that is asked about other domains. May be repeated.",
        ),
        Switch("rejoin", "rejoin_after_leave", "Joins the cluster again even though the agent left it before."),
        Text("retry-interval", "retry_interval", "Time between attempts to join."),
        Text("retry-interval-wan", "retry_interval_wan", "Time between attempts to join other datacenters."),
        Texts(
            "retry-join",
            "retry_join",
            "Address of an agent to join, tried again until it answers. May be repeated.",
        ),
        Texts(
            "retry-join-wan",
            "retry_join_wan",
            "Address of a server of another datacenter to join, tried again until it answers. May be repeated.",
        ),
        Number(
            "retry-max",
            "retry_max",
            "Attempts to join before the agent gives up and exits. 0: it does not.",
        ),
        Number(
            "retry-max-wan",
            "retry_max_wan",
            "Attempts to join other datacenters before the agent gives up and exits. 0: it does not.",
        ),
        Text("run-dir", "run_dir", "Private directory for the sockets of the agent's processes."),
        Text("segment", "segment", "(Enterprise) Network segment to join."),
        Texts(
            "serf-lan-allowed-cidrs",
            "serf_lan_allowed_cidrs",
            "Network (such as 192.168.1.0/24) whose agents may join. Without it all may. May be repeated.",
        ),
        Text("serf-lan-bind", "serf_lan", "Address to listen on for gossip of this datacenter."),
        Number("serf-lan-port", "ports.serf_lan", "Port for gossip of this datacenter."),
        Texts(
            "serf-wan-allowed-cidrs",
            "serf_wan_allowed_cidrs",
            "Network (such as 192.168.1.0/24) whose servers of other datacenters may join. Without it all "
            "may. May be repeated.",
        ),
        Text("serf-wan-bind", "serf_wan", "Address to listen on for gossip between datacenters."),
        Number("serf-wan-port", "ports.serf_wan", "Port for gossip between datacenters."),
        Switch("server", "server", "Makes this agent a server."),
        Number("server-port", "ports.server", "Port for other agents' requests to this server."),
        Switch("syslog", "enable_syslog", "Writes log lines also to syslog."),
        Switch("ui", "ui", "Serves the built-in web interface."),
        Text(
            "ui-content-path",
            "ui_content_path",
            "Path that the web interface is served under. By default /ui/.",
        ),
        Text("ui-dir", "ui_dir", "Directory with a web interface to serve instead of the built-in one."),
    ]
