"""Certificates and CAs that a configuration names: whether they can be read, in Consul's words.

For the process that reads the configuration sources, not for services: it imports ssl."""

from __future__ import annotations

import os
from pathlib import Path

from shared.config.options import ConfigError
from shared.config.runtime import RuntimeConfig


def check_files(config: RuntimeConfig) -> None:
    """Raises ConfigError for a certificate, key or CA that cannot be used."""
    if config.cert_file and config.key_file:
        _check_pair(config.cert_file, config.key_file)
    if config.ca_file:
        _read(config.ca_file, f"Error loading from {config.ca_file}: ")
    elif config.tls.ca_path:
        if not os.path.isdir(config.tls.ca_path):
            raise ConfigError(f"lstat {config.tls.ca_path}: no such file or directory")
        if not any(entry.is_file() for entry in Path(config.tls.ca_path).rglob("*")):
            raise ConfigError("Error loading from CAPath: no CAs found")


def _check_pair(cert_file: str, key_file: str) -> None:
    import ssl

    prefix = "Failed to load cert/key pair: "
    for path, what in ((cert_file, "certificate"), (key_file, "key")):
        if b"-----BEGIN " not in _read(path, prefix):
            raise ConfigError(f"{prefix}tls: failed to find any PEM data in {what} input")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{prefix}{error}") from None


def _read(path: str, prefix: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{prefix}open {path}: {(error.strerror or str(error)).lower()}") from None
