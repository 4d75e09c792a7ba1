"""TLS for checks: the agent's own certificates if `enable_agent_tls_for_checks` says so, the system's otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import trio

from services.rpc_core.local.checks.dial import os_reason
from shared.config.runtime import RuntimeConfig

if TYPE_CHECKING:
    import ssl

HTTP_ANSWER = "http: server gave HTTP response to HTTPS client"
NOT_TLS = "tls: first record does not look like a TLS handshake"

_MIN_VERSIONS = {"tls10": "TLSv1", "tls11": "TLSv1_1", "tls12": "TLSv1_2", "tls13": "TLSv1_3"}
_UNKNOWN_AUTHORITY = (18, 19, 20, 21, 24)
_EXPIRED = (9, 10)
_WRONG_NAME, _WRONG_IP = 62, 64
_ALERTS = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake failure",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "bad certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": "protocol version not supported",
    "TLSV1_ALERT_INTERNAL_ERROR": "internal error",
    "TLSV1_ALERT_UNKNOWN_CA": "unknown certificate authority",
    "TLSV1_UNRECOGNIZED_NAME": "unrecognized name",
}


class TlsError(Exception):
    """The handshake failed; the text is Go's where Go's is known."""


class CheckTls:
    """How one check speaks TLS. `context` is shared by the checks that agree on everything."""

    def __init__(self, config: RuntimeConfig, skip_verify: bool, protocols: tuple[str, ...] = ()) -> None:
        self._config, self._skip_verify, self._protocols = config, skip_verify, protocols
        self._context: ssl.SSLContext | None = None
        self._agents_own = config.tls.enable_agent_tls_for_checks
        self.server_name = (config.tls.server_name or config.node_name) if self._agents_own else ""
        """What the server is called, "" if it is what the address says."""

    def context(self) -> ssl.SSLContext:
        """Made at the first use: it holds all the system's authorities. Raises TlsError."""
        if self._context is None:
            config = self._config
            files = (config.ca_file, config.tls.ca_path, config.cert_file, config.key_file, config.tls.min_version)
            key = (self._skip_verify, self._protocols, *(files if self._agents_own else ()))
            found = _contexts.get(key)
            try:
                self._context = _contexts[key] = found if found is not None else self._make()
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                raise TlsError(str(error)) from error
        return self._context

    def _make(self) -> ssl.SSLContext:
        import ssl

        config = self._config
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self._skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._agents_own:
            context.minimum_version = getattr(ssl.TLSVersion, _MIN_VERSIONS[config.tls.min_version])
            if config.cert_file and config.key_file:
                context.load_cert_chain(config.cert_file, config.key_file)
        if not self._skip_verify:
            if self._agents_own and (config.ca_file or config.tls.ca_path):
                context.load_verify_locations(config.ca_file or None, config.tls.ca_path or None)
            else:
                context.load_default_certs()
        if self._protocols:
            context.set_alpn_protocols(list(self._protocols))
        return context


_contexts: WeakValueDictionary[Any, ssl.SSLContext] = WeakValueDictionary()
"""Contexts in use. Once no check uses one it goes, and the files are read again for the next."""


class _Watched(trio.abc.Stream):
    """Remembers how the other side began: a server that speaks no TLS is told by that."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.first = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        if len(self.first) < 5:
            self.first += data[:5]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def start_tls(stream: trio.SocketStream, tls: CheckTls, host: str) -> trio.SSLStream[trio.abc.Stream]:
    """Shakes hands. host: what the certificate has to be for. Raises TlsError; the stream is closed then."""
    name = tls.server_name or host
    watched = _Watched(stream)
    try:
        secured = trio.SSLStream[trio.abc.Stream](watched, tls.context(), server_hostname=name, https_compatible=True)
        await secured.do_handshake()
        return secured
    except (trio.BrokenResourceError, ValueError) as error:
        await trio.aclose_forcefully(stream)
        raise TlsError(_reason(error, watched.first, name)) from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


def _reason(error: Exception, first: bytes, name: str) -> str:
    import ssl

    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _UNKNOWN_AUTHORITY:
            return "x509: certificate signed by unknown authority"
        if cause.verify_code in _EXPIRED:
            return "x509: certificate has expired or is not yet valid"
        if cause.verify_code == _WRONG_IP:
            return f"x509: cannot validate certificate for {name} because it doesn't contain any IP SANs"
        if cause.verify_code == _WRONG_NAME:
            return f"x509: certificate is not valid for {name}"
        return f"x509: {cause.verify_message}"
    if first[:5] == b"HTTP/":
        return HTTP_ANSWER
    if first and first[0] not in (20, 21, 22, 23):
        return NOT_TLS
    if isinstance(cause, ssl.SSLEOFError) or not first:
        return os_reason(cause) if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else "EOF"
    if isinstance(cause, ssl.SSLError):
        alert = _ALERTS.get(cause.reason or "")
        return f"remote error: tls: {alert}" if alert else f"tls: {cause.reason or cause}"
    return str(cause or error)
