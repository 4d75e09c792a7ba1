"""Listening sockets of the HTTP API: TCP addresses and Unix sockets with owner, group and mode."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from shared.config.runtime import split_host_port
from shared.config.sections import UnixSockets
from shared.service import StartError

_BACKLOG = 1024
_UNIX_PREFIX = "unix://"
_UNIX_PATH_BYTES_MAX = 107


def is_unix(address: str) -> bool:
    return address.startswith(_UNIX_PREFIX)


def open_listener(address: str, unix_sockets: UnixSockets, port_flag: str = "-http-port") -> socket.socket:
    """A listening, non-blocking socket. Raises StartError that says what to change; `port_flag` is part of that."""
    try:
        if is_unix(address):
            return _open_unix(address.removeprefix(_UNIX_PREFIX), unix_sockets)
        return _open_tcp(address)
    except OSError as error:
        shown = address.removeprefix(_UNIX_PREFIX)
        network = "unix" if is_unix(address) else "tcp"
        reason = (error.strerror or str(error)).lower()
        if error.errno == errno.EADDRINUSE and network == "tcp":
            reason += f" (another program has this port: stop it, or choose another with {port_flag})"
        raise StartError(f"listen {network} {shown}: bind: {reason}") from error


def remove_socket(address: str) -> None:
    """Takes the file of a Unix socket away once nobody listens on it any more, as Consul does."""
    if is_unix(address):
        with contextlib.suppress(OSError):
            os.unlink(address.removeprefix(_UNIX_PREFIX))


def _open_tcp(address: str) -> socket.socket:
    host, port = split_host_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _open_unix(path: str, wanted: UnixSockets) -> socket.socket:
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES_MAX:
        raise StartError(
            f"socket path {path} is longer than {_UNIX_PATH_BYTES_MAX} bytes: choose a shorter one in addresses"
        )
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)  # of an earlier run: the agent's lock on its data says that nobody else uses it
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.bind(path)
        _set_permissions(path, wanted)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_permissions(path: str, wanted: UnixSockets) -> None:
    """User and group by name or number, mode in octal. Raises StartError for what does not exist."""
    if wanted.user or wanted.group:
        user = _number(wanted.user, "user") if wanted.user else -1
        group = _number(wanted.group, "group") if wanted.group else -1
        os.chown(path, user, group)
    if wanted.mode:
        try:
            os.chmod(path, int(wanted.mode, 8))
        except ValueError:
            raise StartError(f"invalid mode specified: {wanted.mode}") from None


def _number(name: str, kind: str) -> int:
    if name.isascii() and name.isdigit():
        return int(name)
    import grp
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid if kind == "user" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise StartError(f"unix_sockets: there is no {kind} {name}") from None
