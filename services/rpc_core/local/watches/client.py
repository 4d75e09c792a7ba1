"""One request to this agent's own HTTP API, over whichever listener Consul would choose: HTTPS, HTTP, a Unix socket.

The API and not what lies behind it: so a watch sees what every client sees, with the same rules, filters and texts."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus

import trio

from services.rpc_core.local.checks.dial import DialError, dial_tcp
from shared.config.runtime import RuntimeConfig, join_host_port, split_host_port
from shared.watch_plan import Answer, Request, WatchError

BODY_BYTES_MAX = 64 << 20
CONNECT_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 700.0
"""Longer than any blocking query lasts: ten minutes and a sixteenth of them."""
READ_BYTES = 65536
_UNIX = "unix://"


class ApiClient:
    """Asks the agent of `config`, as the owner of `token` (the agent's own default if it is empty)."""

    def __init__(self, config: RuntimeConfig, token: str) -> None:
        self._config, self._token = config, token
        self._listener, self._secure = _choose(config)
        self._tls: Any = None

    async def get(self, request: Request) -> Answer:
        """Raises WatchError if there is no answer."""
        unix = self._listener.startswith(_UNIX)
        host = self._listener.removeprefix(_UNIX) if unix else self._listener
        target = _target(request)
        url = f"{'https' if self._secure else 'http'}://{host}{target}"
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                async with await self._connect() as stream:
                    return await self._ask(stream, "localhost" if unix else host, target)
        except (DialError, _BrokenAnswerError) as error:
            reason = str(error)
        except (OSError, trio.BrokenResourceError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "EOF"
        except trio.TooSlowError:
            reason = "i/o timeout"
        raise WatchError(f'Get "{url}": {reason}')

    async def _connect(self) -> trio.abc.Stream:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            if self._listener.startswith(_UNIX):
                return await trio.open_unix_socket(self._listener.removeprefix(_UNIX))
            plain = await dial_tcp(self._listener, CONNECT_TIMEOUT_S)
            if not self._secure:
                return plain
            try:
                return await self._secured(plain)
            except BaseException:
                await trio.aclose_forcefully(plain)
                raise

    async def _secured(self, plain: trio.abc.Stream) -> trio.abc.Stream:
        if self._tls is None:  # a directory of certificates, or those of the system, may take a while to read
            self._tls = await trio.to_thread.run_sync(_tls_context, self._config)
        host = split_host_port(self._listener)[0]
        stream = trio.SSLStream(plain, self._tls, server_hostname=host, https_compatible=True)
        await stream.do_handshake()
        return stream

    async def _ask(self, stream: trio.abc.Stream, host: str, target: str) -> Answer:
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        if self._token:
            lines.append(f"X-Consul-Token: {self._token}")
        await stream.send_all(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))
        reader = _Reader()
        while not reader.complete:
            data = await stream.receive_some(READ_BYTES)
            reader.feed(bytes(data))
        return reader.answer()


class _BrokenAnswerError(Exception):
    """What came is no HTTP, or not all of it."""


class _Reader:
    """Gathers one answer."""

    def __init__(self) -> None:
        import httptools  # only agents with watches need it here

        self._error = httptools.HttpParserError
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self.complete = False

    def feed(self, data: bytes) -> None:
        """Raises _BrokenAnswerError."""
        if not data:
            raise _BrokenAnswerError("EOF" if not self._headers else "unexpected EOF")
        try:
            self._parser.feed_data(data)
        except self._error as error:
            raise _BrokenAnswerError(f"malformed HTTP response: {error}") from None
        if len(self._body) > BODY_BYTES_MAX:
            raise _BrokenAnswerError(f"the answer is larger than {BODY_BYTES_MAX} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self.complete = True

    def answer(self) -> Answer:
        return Answer(self._parser.get_status_code(), self._headers, bytes(self._body))


def _target(request: Request) -> str:
    path = quote(request.path, safe="/~!$&'()*+,;=:@", errors="surrogateescape")
    pairs = [
        f"{quote_plus(name)}={quote_plus(value, errors='surrogateescape')}"
        for name, values in sorted(request.parameters.items())
        for value in ([values] if isinstance(values, str) else values)
    ]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def _tls_context(config: RuntimeConfig) -> Any:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not config.tls.verify_outgoing:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca_file or config.tls.ca_path:
        context.load_verify_locations(config.ca_file or None, config.tls.ca_path or None)
    else:
        context.load_default_certs()
    if config.cert_file and config.key_file:
        context.load_cert_chain(config.cert_file, config.key_file)
    return context


def _choose(config: RuntimeConfig) -> tuple[str, bool]:
    """(listener, whether it speaks TLS): the first HTTPS one, else HTTP over TCP, else a Unix socket."""
    for listeners, secure in ((config.https_listeners, True), (config.http_listeners, False)):
        for listener in listeners:
            if not listener.startswith(_UNIX):
                return _reachable(listener), secure
    return config.http_listeners[0] if config.http_listeners else config.https_listeners[0], False


def _reachable(listener: str) -> str:
    """A listener on all addresses is reached on the loopback one."""
    host, port = split_host_port(listener)
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return join_host_port(loopback, int(port))
