"""TLS towards an agent: trust, client certificate, and failures in the words of Go's crypto/tls and x509."""

from __future__ import annotations

import os
import ssl

from cli.base.errors import SettingsError, TransportError
from cli.base.source import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from cli.base.http import Settings

UNKNOWN_AUTHORITY_CODES = frozenset({18, 19, 20, 21})
"""OpenSSL: self-signed leaf, self-signed in chain, issuer not found locally, leaf not verifiable."""
EXPIRED_CODES = frozenset({9, 10})
MISMATCH_CODES = frozenset({62, 64})
"""OpenSSL: host name mismatch, IP address mismatch."""


def context(settings: Settings) -> tuple[ssl.SSLContext, str]:
    """The TLS context and the server name to ask for ("" means the address's host). Raises SettingsError."""
    name = _server_name(settings.tls_server_name)
    if bool(settings.client_cert) != bool(settings.client_key):
        raise SettingsError("both client cert and client key must be provided")
    result = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    result.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.verify_tls:
        result.check_hostname = False
        result.verify_mode = ssl.CERT_NONE
    if settings.client_cert:
        _load_client_certificate(result, settings.client_cert, settings.client_key)
    if settings.ca_file:
        _load_ca_file(result, settings.ca_file, "Error loading CA File: ")
    elif settings.ca_path:
        _load_ca_path(result, settings.ca_path)
    else:
        result.load_default_certs()
    return result, name


def _server_name(address: str) -> str:
    """The name without the port that may follow it."""
    if address.rfind(":") <= address.rfind("]"):
        return address.strip("[]")
    host, _, _ = address.rpartition(":")
    if host.startswith("["):
        if not host.endswith("]"):
            raise SettingsError(f"address {address}: missing ']' in address")
        return host[1:-1]
    if ":" in host:
        raise SettingsError(f"address {address}: too many colons in address")
    return host


def _load_client_certificate(result: ssl.SSLContext, certificate: str, key: str) -> None:
    for path, kind in ((certificate, "certificate"), (key, "key")):
        if b"-----BEGIN " not in _read(path, "open"):
            raise SettingsError(f"tls: failed to find any PEM data in {kind} input")
    try:
        result.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError("tls: private key does not match public key") from None
        raise SettingsError(f"tls: failed to parse certificate or key: {error.reason}") from None


def _load_ca_path(result: ssl.SSLContext, directory: str) -> None:
    """Every file below the directory, which needs no hashed names as OpenSSL's own loader does."""
    try:
        os.lstat(directory)
    except OSError as error:
        raise SettingsError(describe(error, "lstat", directory)) from None
    for path in _files(directory):
        _load_ca_file(result, path, "Error loading CA Path: ")


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path) or os.path.islink(path):
        yield path
        return
    for name in sorted(os.listdir(path)):
        yield from _files(os.path.join(path, name))


def _load_ca_file(result: ssl.SSLContext, path: str, prefix: str) -> None:
    data = _read(path, "open", prefix)
    try:
        if b"-----BEGIN CERTIFICATE-----" not in data:
            raise ValueError("no certificate in there")
        result.load_verify_locations(cadata=data.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise SettingsError(f"{prefix}Couldn't parse PEM in: {path}") from None


def _read(path: str, operation: str, prefix: str = "") -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SettingsError(prefix + describe(error, operation, path)) from None


def handshake(plain: socket.socket, tls: ssl.SSLContext, server_name: str) -> ssl.SSLSocket:
    """Raises TransportError, the plain socket being closed then."""
    try:
        return tls.wrap_socket(plain, server_hostname=server_name)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise TransportError(_explain_verification(error, server_name)) from None
    except ssl.SSLError as error:
        plain.close()
        raise TransportError(explain(error)) from None
    except OSError as error:
        plain.close()
        raise TransportError(os.strerror(error.errno).lower() if error.errno else "EOF") from None


def _explain_verification(error: ssl.SSLCertVerificationError, server_name: str) -> str:
    code = error.verify_code
    if code in UNKNOWN_AUTHORITY_CODES:
        return "x509: certificate signed by unknown authority"
    if code in EXPIRED_CODES:
        return "x509: certificate has expired or is not yet valid"
    if code in MISMATCH_CODES:
        return f"x509: certificate is not valid for {server_name}"
    return f"x509: {error.verify_message}"


def explain(error: OSError) -> str:
    """What an error of an established or attempted TLS connection means; empty if it is not one of TLS."""
    if not isinstance(error, ssl.SSLError):
        return ""
    reason = error.reason or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "PACKET_LENGTH_TOO_LONG"):
        return "http: server gave HTTP response to HTTPS client"
    if reason.endswith("_ALERT_BAD_CERTIFICATE") or reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED":
        return "remote error: tls: bad certificate"
    if isinstance(error, ssl.SSLEOFError) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return "EOF"
    return f"tls: {reason.replace('_', ' ').lower()}"
