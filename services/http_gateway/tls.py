"""HTTPS listeners: Hypercorn serves the ASGI door with TLS, HTTP/1.1 and HTTP/2 (chosen by ALPN)."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Protocol, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app

from services.http_gateway.app import Door
from services.http_gateway.gateway import Gateway
from services.http_gateway.lane.connection import ConnectionLimits
from services.http_gateway.lane.head import HEAD_BYTES_MAX
from services.http_gateway.listeners import open_listener
from shared.config.runtime import RuntimeConfig
from shared.service import ReloadRefusedError, StartError

_VERSIONS = {"tls10": "TLSv1", "tls11": "TLSv1_1", "tls12": "TLSv1_2", "tls13": "TLSv1_3"}


class _TlsConfig(Config):
    """Hypercorn's configuration with the TLS settings of the agent's."""

    agent: RuntimeConfig
    context: Any = None
    """The context that all listeners share, once they are open."""

    def create_ssl_context(self) -> Any:
        self.context = super().create_ssl_context()
        if self.context is not None:
            _set_rules(self.context, self.agent)
        return self.context


def _set_rules(context: Any, config: RuntimeConfig) -> None:
    """Which versions are spoken, and whether clients have to show a certificate."""
    import ssl

    context.minimum_version = getattr(ssl.TLSVersion, _VERSIONS[config.tls.min_version])
    wanted = config.tls.verify_incoming or config.tls.verify_incoming_https
    context.verify_mode = ssl.CERT_REQUIRED if wanted else ssl.CERT_NONE


class Places(Protocol):
    """Who counts connections per client address."""

    def take_place(self, client_address: str) -> bool: ...

    def give_place_back(self, client_address: str) -> None: ...


class Https:
    """The HTTPS listeners of this process."""

    def __init__(self, gateway: Gateway, config: RuntimeConfig, places: Places) -> None:
        self._gateway, self._config, self._places = gateway, config, places
        self._settings = _TlsConfig()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled. Raises StartError for missing files and addresses in use."""
        await _serve_https(self._gateway, self._config, self._settings, self._places, task_status)

    def configure(self, config: RuntimeConfig) -> None:
        """Certificate, key, CA and rules of a reloaded configuration, for connections from now on.

        Raises ReloadRefusedError, and leaves what there was."""
        import ssl

        context = self._settings.context
        if context is None:
            return
        try:
            _check_certificate(config.cert_file, config.key_file)
            context.load_cert_chain(config.cert_file, config.key_file)
            if config.ca_file:
                context.load_verify_locations(config.ca_file)
        except (StartError, ssl.SSLError, OSError) as error:
            raise ReloadRefusedError(f"Failed reloading tls configuration: {error}") from None
        _set_rules(context, config)


async def _serve_https(
    gateway: Gateway,
    config: RuntimeConfig,
    settings: _TlsConfig,
    places: Places,
    task_status: trio.TaskStatus[None],
) -> None:
    if not (config.cert_file and config.key_file):
        raise StartError("ports.https is set, but cert_file and key_file are not: name a certificate and its key")
    _check_certificate(config.cert_file, config.key_file)
    settings.agent = config
    # Opened here, as those of HTTP are: with their errors, and with the owner and mode that Unix sockets shall have.
    sockets = [open_listener(address, config.unix_sockets, "-https-port") for address in config.https_listeners]
    settings.certfile, settings.keyfile = config.cert_file, config.key_file
    settings.ca_certs = config.ca_file or None
    settings.alpn_protocols = ["h2", "http/1.1"]
    settings.include_server_header = False
    settings.h11_max_incomplete_size = HEAD_BYTES_MAX
    settings.ssl_handshake_timeout = config.limits.https_handshake_timeout_s
    settings.keep_alive_timeout = ConnectionLimits().idle_timeout_s
    settings.accesslog = settings.errorlog = None
    limits = ConnectionLimits(value_bytes_max=config.limits.kv_max_value_size)
    async with trio.open_nursery() as nursery:
        door = Door(gateway, limits, nursery)
        try:
            await nursery.start(_serve, door, settings, sockets, places)
        except (OSError, ExceptionGroup) as error:  # Hypercorn's own tasks wrap it
            reason = _os_error(error)
            if reason is None:
                raise
            words = (reason.strerror or str(reason)).lower()
            raise StartError(f"Failed to serve HTTPS: {words}: check ca_file") from error
        task_status.started()


def _check_certificate(cert_file: str, key_file: str) -> None:
    """Raises StartError in Consul's words."""
    import ssl

    for path in (cert_file, key_file):
        try:
            with open(path, "rb"):
                continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StartError(f"Failed to load cert/key pair: open {path}: {reason}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"Failed to load cert/key pair: {cert_file}, {key_file}: {error}") from error


def _os_error(error: BaseException) -> OSError | None:
    """The error of the operating system in (groups of) exceptions that hold nothing else."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, OSError) else None


class _Server(TCPServer):
    """One connection, counted with those of HTTP: they share the limit per client address."""

    def __init__(
        self, places: Places, app: AppWrapper, settings: Config, context: WorkerContext, stream: trio.SSLStream[Any]
    ) -> None:
        super().__init__(app, settings, context, ConnectionState({}), stream)
        self._places = places

    async def run(self) -> None:
        sock = self.stream.transport_stream.socket
        try:
            address = str(sock.getpeername()[0]) if sock.family != socket.AF_UNIX else ""
        except OSError:
            address = ""  # it has gone already
        if not address:
            await super().run()
        elif not self._places.take_place(address):
            await trio.aclose_forcefully(self.stream)
        else:
            try:
                await super().run()
            finally:
                self._places.give_place_back(address)


async def _serve(
    door: Door,
    settings: _TlsConfig,
    sockets: list[socket.socket],
    places: Places,
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    app = wrap_app(cast("ASGIFramework", door.app), settings.wsgi_max_body_size, "asgi")
    context = settings.create_ssl_context()
    listeners = [
        trio.SSLListener(trio.SocketListener(trio.socket.from_stdlib_socket(sock)), context, https_compatible=True)
        for sock in sockets
    ]
    handler = partial(_Server, places, app, settings, WorkerContext(None))
    await trio.serve_listeners(handler, listeners, task_status=task_status)
