"""Semantic validation: combinations of settings that Consul refuses or warns about, in its order and words."""

from __future__ import annotations

import os
import re
import stat

from shared.config.addresses import UNIX, is_any
from shared.config.error_list import error_list
from shared.config.options import ConfigError
from shared.config.runtime import RuntimeConfig
from shared.config.services import invalid_metadata, validate_service
from shared.config.values import Values
from shared.gotext import base64_text
from shared.gotext.quoting import quote

_DATACENTER = re.compile(r"[a-z0-9_-]+")
_UI_PATH = re.compile(r"[A-Za-z0-9/_-]+")
_UI_VERSION_PATH = re.compile(r"/v\d+/")
_NOT_IN_DNS = re.compile(r"[^A-Za-z0-9\\-]")
MAX_DNS_LABEL = 63
_CA_PROVIDERS = ("", "consul", "vault", "aws-pca")
_DEPLOYMENT_TABLE = "https://www.consul.io/docs/internals/consensus.html#deployment-table"


def validate(config: RuntimeConfig, values: Values) -> RuntimeConfig:
    """Raises ConfigError for the first thing that is wrong; appends warnings to values.warnings."""
    _validate_basics(config)
    _validate_node_name(config, values)
    _validate_dns(config)
    _validate_bootstrap(config)
    _validate_numbers(config)
    _validate_federation(config)
    _refuse_old_data(config)
    _refuse_shared_addresses(config)
    if values.errors:
        raise ConfigError(error_list(values.errors))
    for service in config.services:
        validate_service(service)
    if config.connect.ca_provider not in _CA_PROVIDERS:
        raise ConfigError(f"{config.connect.ca_provider} is not a valid CA provider")
    if config.server and config.auto_encrypt.tls:
        raise ConfigError("auto_encrypt.tls can only be used on a client.")
    if not config.server and config.auto_encrypt.allow_tls:
        raise ConfigError("auto_encrypt.allow_tls can only be used on a server.")
    _warn_about_bootstrap(config, values)
    if config.auto_encrypt.allow_tls and not (config.tls.verify_incoming or config.tls.verify_incoming_rpc):
        values.warnings.append(
            "if auto_encrypt.allow_tls is turned on, either verify_incoming or verify_incoming_rpc should be "
            "enabled. It is necessary to turn it off during a migration to TLS, but it should definitely be "
            "turned on afterwards."
        )
    _validate_connection_limit(config)
    if config.auto_config.enabled and config.auto_encrypt.tls:
        raise ConfigError("both auto_encrypt.tls and auto_config.enabled cannot be set to true.")
    _validate_authorization(config)
    _validate_auto_config(config, values)
    if config.enable_script_checks and not config.acl.enabled and not config.http_config.allow_write_http_from:
        values.warnings.append(
            "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, use "
            "enable-local-script-checks instead, see "
            "https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/"
        )
    return config


def _validate_basics(config: RuntimeConfig) -> None:
    if not config.datacenter:
        raise ConfigError("datacenter cannot be empty")
    if not _DATACENTER.fullmatch(config.datacenter):
        raise ConfigError(f"datacenter cannot be {quote(config.datacenter)}. Please use only [a-z0-9-_]")
    if not config.data_dir and not config.dev_mode:
        raise ConfigError("data_dir cannot be empty")
    path = config.ui_content_path
    if not _UI_PATH.fullmatch(path):
        raise ConfigError(f"ui-content-path can only contain alphanumeric, -, _, or /. received: {path}")
    if _UI_VERSION_PATH.fullmatch(path):
        raise ConfigError(f"ui-content-path cannot have 'v[0-9]'. received: {path}")
    if not config.dev_mode:
        _validate_data_dir(config.data_dir)


def _validate_data_dir(data_dir: str) -> None:
    try:
        mode = os.stat(data_dir).st_mode
    except FileNotFoundError:
        return  # it will be made
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        reason = reason[:1].lower() + reason[1:]
        raise ConfigError(f"Error getting info on data_dir: stat {data_dir}: {reason}") from error
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"data_dir {quote(data_dir)} is not a directory")


def _validate_node_name(config: RuntimeConfig, values: Values) -> None:
    name = config.node_name
    if not name:
        raise ConfigError("node_name cannot be empty")
    if _NOT_IN_DNS.search(name):
        values.warnings.append(
            f"Node name {quote(name)} will not be discoverable via DNS due to invalid characters. "
            "Valid characters include all alpha-numerics and dashes."
        )
    elif len(name) > MAX_DNS_LABEL:
        values.warnings.append(
            f"Node name {quote(name)} will not be discoverable via DNS due to it being too long. "
            "Valid lengths are between 1 and 63 bytes."
        )
    if is_any(config.advertise_addr):
        raise ConfigError("Advertise address cannot be 0.0.0.0, :: or [::]")
    if is_any(config.advertise_addr_wan):
        raise ConfigError("Advertise WAN address cannot be 0.0.0.0, :: or [::]")
    if config.segment or values.get("segments"):
        raise ConfigError("Network segments are not supported in this version of Consul")


def _validate_dns(config: RuntimeConfig) -> None:
    if any(address.startswith(UNIX) for address in config.addresses.dns):
        raise ConfigError("DNS address cannot be a unix socket")
    if any(is_any(recursor) for recursor in config.recursors):
        raise ConfigError("DNS recursor address cannot be 0.0.0.0, :: or [::]")
    datacenter = re.escape(config.datacenter)
    if re.match(rf"(service|connect|node|query|addr|{datacenter})\.({datacenter}\.)?", config.alt_domain):
        raise ConfigError(f"alt_domain cannot start with {{service,connect,node,query,addr,{config.datacenter}}}")


def _validate_bootstrap(config: RuntimeConfig) -> None:
    expect = config.bootstrap_expect
    if config.bootstrap and not config.server:
        raise ConfigError("'bootstrap = true' requires 'server = true'")
    if expect < 0:
        raise ConfigError(f"bootstrap_expect cannot be {expect}. Must be greater than or equal to zero")
    if expect > 0 and not config.server:
        raise ConfigError("'bootstrap_expect > 0' requires 'server = true'")
    if expect > 0 and config.dev_mode:
        raise ConfigError("'bootstrap_expect > 0' not allowed in dev mode")
    if expect > 0 and config.bootstrap:
        raise ConfigError("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")


def _validate_numbers(config: RuntimeConfig) -> None:
    if config.check_output_max_size < 1:
        raise ConfigError(
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag"
        )
    _refuse_negative("autopilot.max_trailing_logs", config.autopilot.max_trailing_logs)
    if not _DATACENTER.fullmatch(config.primary_datacenter):
        shown = quote(config.primary_datacenter)
        raise ConfigError(f"acl_datacenter cannot be {shown}. Please use only [a-z0-9-_]")
    if not config.dev_mode and config.ui and config.ui_dir:
        raise ConfigError(
            "Both the ui and ui-dir flags were specified, please provide only one.\n"
            "If trying to use your own web UI resources, use the ui-dir flag.\n"
            "The web UI is included in the binary so use ui to enable it"
        )
    _refuse_negative("dns_config.udp_answer_limit", config.dns_config.udp_answer_limit)
    _refuse_negative("dns_config.a_record_limit", config.dns_config.a_record_limit)
    if reason := invalid_metadata(config.node_meta):
        raise ConfigError(f"node_meta invalid: {reason}")
    try:
        base64_text.decode(config.encrypt.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise ConfigError(f"encrypt has invalid key: {error}") from None


def _refuse_negative(key: str, value: int) -> None:
    if value < 0:
        raise ConfigError(f"{key} cannot be {value}. Must be greater than or equal to zero")


def _validate_federation(config: RuntimeConfig) -> None:
    if config.connect.enable_mesh_gateway_wan_federation:
        key = "'connect.enable_mesh_gateway_wan_federation = true'"
        if not config.server:
            raise ConfigError(f"{key} requires 'server = true'")
        if "/" in config.node_name:
            raise ConfigError(f"{key} requires that 'node_name' not contain '/' characters")
        if config.start_join_wan:
            raise ConfigError(f"'start_join_wan' is incompatible with {key}")
        if config.retry_join_wan:
            raise ConfigError(f"'retry_join_wan' is incompatible with {key}")
    if config.primary_gateways:
        if not config.server:
            raise ConfigError("'primary_gateways' requires 'server = true'")
        if config.primary_datacenter == config.datacenter:
            raise ConfigError("'primary_gateways' should only be configured in a secondary datacenter")


def _refuse_old_data(config: RuntimeConfig) -> None:
    """Data of a server from before Consul 0.6 must not be passed over in silence."""
    if not config.server:
        return
    path = os.path.join(config.data_dir, "mdb")
    try:
        os.stat(path)
    except PermissionError as error:
        raise ConfigError(
            f"CRITICAL: Permission denied for data folder at {quote(path)}!\n"
            "Consul will refuse to boot without access to this directory.\n"
            "Please correct permissions and try starting again."
        ) from error
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        pass
    raise ConfigError(
        f"CRITICAL: Deprecated data folder found at {quote(path)}!\n"
        "Consul will refuse to boot with this directory present.\n"
        "See https://www.consul.io/docs/upgrade-specific.html for more information."
    )


def _refuse_shared_addresses(config: RuntimeConfig) -> None:
    """Two protocols must not use one address. DNS is checked over TCP, which the others use too."""
    used: dict[str, str] = {}

    def take(name: str, address: str) -> None:
        key = address.removeprefix(UNIX)
        if key in used:
            raise ConfigError(f"{name} address {key} already configured for {used[key]}")
        used[key] = name

    for name, listeners in (
        ("DNS", config.addresses.dns),
        ("HTTP", config.addresses.http),
        ("HTTPS", config.addresses.https),
    ):
        for address in listeners:
            take(name, address)
    take("RPC Advertise", config.rpc_advertise_addr)
    if config.serf_lan_advertise_addr:
        take("Serf Advertise LAN", config.serf_lan_advertise_addr)
    if config.serf_wan_advertise_addr:
        take("Serf Advertise WAN", config.serf_wan_advertise_addr)


def _warn_about_bootstrap(config: RuntimeConfig, values: Values) -> None:
    expect, warn = config.bootstrap_expect, values.warnings.append
    if not config.server:
        return
    if config.bootstrap:
        if expect == 0:
            warn("bootstrap = true: do not enable unless necessary")
        return
    if expect == 2 and not config.dev_mode:
        warn(
            f"bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. See {_DEPLOYMENT_TABLE}"
        )
    if expect > 2 and expect % 2 == 0:
        warn(
            "bootstrap_expect is even number: A cluster with an even number of servers does not achieve "
            f"optimum fault tolerance. See {_DEPLOYMENT_TABLE}"
        )
    if expect > 1 and not config.dev_mode:
        warn(f"bootstrap_expect > 0: expecting {expect} servers")


def _validate_connection_limit(config: RuntimeConfig) -> None:
    import resource

    limit = config.limits.http_max_conns_per_client
    available, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = limit + 20
    if limit > 0 and available != resource.RLIM_INFINITY and available < needed:
        raise ConfigError(
            f"system allows a max of {available} file descriptors, but limits.http_max_conns_per_client: "
            f"{limit} needs at least {needed}"
        )


def _validate_authorization(config: RuntimeConfig) -> None:
    if not config.auto_config.authorization_enabled:
        return
    is_secondary = config.primary_datacenter != config.datacenter
    if config.acl.enabled and is_secondary and not config.acl.token_replication:
        raise ConfigError(
            "Enabling auto-config authorization (auto_config.authorization.enabled) in non primary "
            "datacenters with ACLs enabled (acl.enabled) requires also enabling ACL token replication "
            "(acl.enable_token_replication)"
        )
    if not config.server:
        raise ConfigError("auto_config.authorization.enabled cannot be set to true for client agents")
    if not config.cert_file:
        raise ConfigError(
            "auto_config.authorization.enabled cannot be set without providing a TLS certificate for the server"
        )


def _validate_auto_config(config: RuntimeConfig, values: Values) -> None:
    auto = config.auto_config
    if not auto.enabled:
        return
    if not config.tls.verify_outgoing:
        raise ConfigError("auto_config.enabled cannot be set without configuring TLS for server communications")
    if config.server:
        raise ConfigError("auto_config.enabled cannot be set to true for server agents.")
    if auto.intro_token and auto.intro_token_file:
        values.warnings.append(
            "Both an intro token and intro token file are set. The intro token will be used instead of the file"
        )
    elif not (auto.intro_token or auto.intro_token_file):
        raise ConfigError(
            "One of auto_config.intro_token, auto_config.intro_token_file or the CONSUL_INTRO_TOKEN "
            "environment variable must be set to enable auto_config"
        )
    if not auto.server_addresses:
        raise ConfigError("auto_config.enabled is set without providing a list of addresses")
