"""What an agent checks and prepares between reading its configuration and starting: ids, directories, TLS."""

from __future__ import annotations

from shared.config import run_dir
from shared.config.holding import hold
from shared.config.node_id import resolve_node_id
from shared.config.options import ConfigError
from shared.config.runtime import RuntimeConfig
from shared.config.tls_names import VERSIONS

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERR", "ERROR")


def prepare(config: RuntimeConfig) -> RuntimeConfig:
    """The configuration with node id and directories, which are made. Raises ConfigError.

    The directories are held from here on, until this process execs or ends."""
    validate_settings(config)
    data_dir = "" if config.dev_mode else config.data_dir
    if data_dir:
        hold(data_dir, "-data-dir")
    node_id = resolve_node_id(config.node_id, data_dir, config.disable_host_node_id)
    validate_tls(config)
    config = run_dir.choose(config.replace(node_id=node_id))
    if config.run_dir != data_dir:
        hold(config.run_dir, "-run-dir")
    return config


def validate_settings(config: RuntimeConfig) -> None:
    if config.log_level.upper() not in LOG_LEVELS:
        raise ConfigError(f"Invalid log level: {config.log_level}. Valid log levels are: [{' '.join(LOG_LEVELS)}]")


def validate_tls(config: RuntimeConfig) -> None:
    """Settings that would leave connections unverified although they are to be verified."""
    tls = config.tls
    if tls.min_version and tls.min_version not in VERSIONS:
        raise ConfigError(
            f"TLSMinVersion: value {tls.min_version} not supported, please specify one of [{', '.join(VERSIONS)}]"
        )
    has_ca = bool(config.ca_file or tls.ca_path)
    if tls.verify_outgoing and not has_ca:
        raise ConfigError("VerifyOutgoing set, and no CA certificate provided!")
    if tls.verify_incoming or tls.verify_incoming_rpc or tls.verify_incoming_https:
        if not has_ca:
            raise ConfigError("VerifyIncoming set but no CA certificates were provided")
        has_certificate = bool(config.cert_file and config.key_file)
        if not (has_certificate or config.auto_encrypt.tls or config.auto_config.enabled):
            raise ConfigError(
                "VerifyIncoming requires either a Cert and Key pair in the configuration file, "
                "or auto_encrypt/auto_config be enabled"
            )
