"""Opening a connection to an agent: address syntax, name resolution, TCP, Unix sockets.

The error texts are those of Go's net package, since that is what users of Consul search for."""

from __future__ import annotations

import os
import socket

from cli.base.errors import TransportError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

    from cli.base.http import Settings

CONNECT_TIMEOUT_S = 30.0
KEEPALIVE_S = 30
"""TCP keep-alive: requests may rightly take minutes (leave, blocking reads), a dead host must not."""

DEFAULT_PORTS = {"http": "80", "https": "443"}
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Dialer:
    """Connects to the address of the settings. Raises SettingsError if their TLS files cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._unix_path = settings.unix_path
        self._host, self._port = split_host_port(settings.host)
        self._port = self._port or DEFAULT_PORTS[settings.scheme]
        self._tls: ssl.SSLContext | None = None
        self._server_name = ""
        self._remote = ""
        tls_wanted = settings.scheme == "https"
        if (
            tls_wanted
            or settings.ca_file
            or settings.ca_path
            or settings.client_cert
            or settings.client_key
            or (settings.tls_server_name)
        ):
            from cli.base import tls

            context, name = tls.context(settings)
            if tls_wanted:
                self._tls, self._server_name = context, name or self._host

    @property
    def secured(self) -> bool:
        return self._tls is not None

    def dial(self) -> socket.socket:
        """A connected socket, the TLS handshake done. Raises TransportError."""
        plain = self._dial_unix(self._unix_path) if self._unix_path is not None else self._dial_tcp()
        if self._tls is None:
            plain.settimeout(None)
            return plain
        from cli.base import tls

        secured = tls.handshake(plain, self._tls, self._server_name)
        secured.settimeout(None)
        return secured

    def _dial_unix(self, path: str) -> socket.socket:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(CONNECT_TIMEOUT_S)
        self._remote = path
        try:
            plain.connect(path)
        except OSError as error:
            plain.close()
            reason = os.strerror(error.errno).lower() if error.errno else "invalid argument"
            raise TransportError(f"dial unix {path}: connect: {reason}") from None
        return plain

    def _dial_tcp(self) -> socket.socket:
        first_error = ""
        for family, address in self._resolve():
            plain = socket.socket(family, socket.SOCK_STREAM)
            plain.settimeout(CONNECT_TIMEOUT_S)
            # An address without host (":8500") means this machine, and is shown without host.
            self._remote = join_host_port(address[0] if self._host else "", address[1])
            try:
                plain.connect(address)
            except TimeoutError:
                plain.close()
                first_error = first_error or f"dial tcp {self._remote}: i/o timeout"
            except OSError as error:
                plain.close()
                reason = os.strerror(error.errno or 0).lower()
                first_error = first_error or f"dial tcp {self._remote}: connect: {reason}"
            else:
                _keep_alive(plain)
                return plain
        raise TransportError(first_error)

    def _resolve(self) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
        """Addresses to try, in the order to try them."""
        if "[" in self._host or "]" in self._host:
            shown = join_host_port(self._host, self._port)
            bracket = "[" if "[" in self._host else "]"
            raise TransportError(f"dial tcp: address {shown}: unexpected '{bracket}' in address")
        if not self._port.isdigit() or int(self._port) > 65535:
            raise TransportError(f"dial tcp: address {self._port}: invalid port")
        host = self._host or "127.0.0.1"
        if not _is_ip(host) and (not _is_name(host) or _is_shorthand(host)):
            raise TransportError(f"dial tcp: lookup {self._host}: no such host")
        try:
            found = socket.getaddrinfo(host, int(self._port), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            unknown = getattr(error, "errno", None) in (socket.EAI_NONAME, socket.EAI_NODATA)
            reason = "no such host" if unknown or isinstance(error, UnicodeError) else "server misbehaving"
            raise TransportError(f"dial tcp: lookup {host} on {_name_server()}: {reason}") from None
        # IPv4 first: "localhost" names both, and an agent listens on 127.0.0.1 unless told otherwise.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        return [(entry[0], (str(entry[4][0]), int(entry[4][1]))) for entry in found]

    def describe(self, connected: socket.socket | None) -> str:
        """ "tcp LOCAL->REMOTE" for the text of a read or write error."""
        if self._unix_path is not None:
            return f"unix @->{self._unix_path}"
        local = ""
        if connected is not None:
            try:
                name = connected.getsockname()
                local = join_host_port(str(name[0]), int(name[1]))
            except OSError:
                local = ""
        return f"tcp {local}->{self._remote}"


def split_host_port(address: str) -> tuple[str, str]:
    """Host and port as net/url sees them: a colon that is not followed by digits only belongs to the host."""
    host, colon, port = address.rpartition(":")
    if not colon or (port and not (port.isascii() and port.isdigit())):
        host, port = address, ""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port


def join_host_port(host: str, port: str | int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_name(host: str) -> bool:
    return 0 < len(host) <= 254 and NAME_CHARACTERS.issuperset(host) and ".." not in host and host[0] not in "-."


def _is_ip(host: str) -> bool:
    """IPv4 in four decimal parts, or IPv6, perhaps with a zone."""
    for family, text in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _is_shorthand(host: str) -> bool:
    """Numbers that C libraries take for an IPv4 address: "1" is 0.0.0.1 to them, "127.1" is 127.0.0.1.

    Go does not, and a mistyped address must not send a request, and a token, to some other machine."""
    try:
        socket.inet_aton(host)
    except (OSError, ValueError):
        return False
    return True


def _name_server() -> str:
    """The resolver that was asked, for the error text only."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if len(words) > 1 and words[0] == "nameserver":
                    return join_host_port(words[1], 53)
    except OSError:
        pass
    return "127.0.0.1:53"


def _keep_alive(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
