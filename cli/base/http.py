"""Which agent to talk to, and as whom: the flags that all commands share, over the CONSUL_* environment.

A flag wins over its variable; a token file wins over a token. Nothing is contacted here.
"""

from __future__ import annotations

import os
import time

from cli.base import ui
from cli.base.errors import SettingsError
from cli.base.flags import FlagGroup, OptionalBoolFlag, OptionalStringFlag
from cli.base.source import describe
from shared.gotext.numbers import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.client import Client

DEFAULT_ADDRESS = "127.0.0.1:8500"
AGENT_FLAG_NAMES = frozenset({
    "http-addr", "token", "token-file", "ca-file", "ca-path", "client-cert", "client-key",
    "tls-server-name", "datacenter", "stale",
})  # fmt: skip
"""Flags that help lists under "HTTP API Options"."""


class Settings:
    """Where and how to send requests. `unix_path` is None unless the agent listens on a Unix socket."""

    def __init__(self) -> None:
        environment = os.environ.get
        self.scheme = "http"
        self.host = environment("CONSUL_HTTP_ADDR") or DEFAULT_ADDRESS
        self.unix_path: str | None = None
        self.token = environment("CONSUL_HTTP_TOKEN") or ""
        self.token_file = environment("CONSUL_HTTP_TOKEN_FILE") or ""
        self.basic_auth = environment("CONSUL_HTTP_AUTH") or ""
        self.ca_file = environment("CONSUL_CACERT") or ""
        self.ca_path = environment("CONSUL_CAPATH") or ""
        self.client_cert = environment("CONSUL_CLIENT_CERT") or ""
        self.client_key = environment("CONSUL_CLIENT_KEY") or ""
        self.tls_server_name = environment("CONSUL_TLS_SERVER_NAME") or ""
        self.verify_tls = _switch("CONSUL_HTTP_SSL_VERIFY", default=True)
        self.namespace = environment("CONSUL_NAMESPACE") or ""
        self.datacenter = ""
        if _switch("CONSUL_HTTP_SSL", default=False):
            self.scheme = "https"

    def resolve(self) -> None:
        """Takes the address apart and reads the token file. Raises SettingsError."""
        self.host = self.host or os.environ.get("CONSUL_HTTP_ADDR") or DEFAULT_ADDRESS
        scheme, found, rest = self.host.partition("://")
        if found:
            if scheme == "https":
                self.scheme = "https"
            elif scheme == "unix":
                self.unix_path = rest
            elif scheme != "http":
                raise SettingsError(f"Unknown protocol scheme: {scheme}")
            self.host = rest
        if self.token_file:
            self.token = _read_token(self.token_file) or self.token
        self.token = self.token or os.environ.get("CONSUL_HTTP_TOKEN") or ""


def _switch(variable: str, default: bool) -> bool:
    """A boolean variable. One that cannot be read is reported and has no effect.

    (Consul stops checking certificates when CONSUL_HTTP_SSL_VERIFY is misspelt; that is not repeated here.)"""
    text = os.environ.get(variable)
    if not text:
        return default
    try:
        return parse_bool(text)
    except ValueError as error:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        ui.error(f'{stamp} [WARN]  consul-api: could not parse {variable}: error="{error}"')
        return default


def _read_token(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except OSError as error:
        raise SettingsError(f"Error loading token file: {describe(error, 'open', path)}") from None


class AgentFlags(FlagGroup):
    """Flags of every command that asks an agent."""

    def __init__(self) -> None:
        self.address = OptionalStringFlag(
            "http-addr",
            "The `address` of the agent's HTTP API: a host name or IP with its port, optionally behind http://, "
            "https:// or unix://. CONSUL_HTTP_ADDR sets it too, and CONSUL_HTTP_SSL=true turns on HTTPS. Without "
            "either it is http://127.0.0.1:8500.",
        )
        self.token = OptionalStringFlag(
            "token",
            "ACL token sent along, as by CONSUL_HTTP_TOKEN. Without one the agent uses its own default token.",
        )
        self.token_file = OptionalStringFlag(
            "token-file",
            "File to read the ACL token from; it goes before -token and CONSUL_HTTP_TOKEN. "
            "CONSUL_HTTP_TOKEN_FILE sets it too.",
        )
        self.ca_file = OptionalStringFlag(
            "ca-file", "PEM file of the CAs to trust over HTTPS, as CONSUL_CACERT names it."
        )
        self.ca_path = OptionalStringFlag(
            "ca-path", "Directory with PEM files of the CAs to trust over HTTPS, as CONSUL_CAPATH names it."
        )
        self.client_cert = OptionalStringFlag(
            "client-cert",
            "PEM file of the certificate to present when the agent has verify_incoming on, as CONSUL_CLIENT_CERT "
            "names it.",
        )
        self.client_key = OptionalStringFlag(
            "client-key", "PEM file of the key that belongs to -client-cert, as CONSUL_CLIENT_KEY names it."
        )
        self.tls_server_name = OptionalStringFlag(
            "tls-server-name",
            "Name to ask for with SNI and to look for in the agent's certificate, as CONSUL_TLS_SERVER_NAME sets it.",
        )

    def settings(self) -> Settings:
        """The environment with these flags laid over it. Raises SettingsError."""
        settings = Settings()
        for flag, name in (
            (self.address, "host"),
            (self.token, "token"),
            (self.token_file, "token_file"),
            (self.ca_file, "ca_file"),
            (self.ca_path, "ca_path"),
            (self.client_cert, "client_cert"),
            (self.client_key, "client_key"),
            (self.tls_server_name, "tls_server_name"),
        ):
            if flag.value is not None:
                setattr(settings, name, flag.value)
        return settings

    def client(self) -> Client:
        """A client for the agent meant. Raises SettingsError; the agent is not contacted yet."""
        from cli.base.client import Client

        settings = self.settings()
        settings.resolve()
        return Client(settings)


class QueryFlags(AgentFlags):
    """Flags of commands whose requests are answered by a server of some datacenter."""

    def __init__(self) -> None:
        super().__init__()
        self.datacenter = OptionalStringFlag("datacenter", "Datacenter to ask; by default the one the agent is in.")
        self.stale = OptionalBoolFlag(
            "stale",
            "Let any server answer, not only the leader: faster, and possible without a leader, but the answer "
            "may be out of date. Only reads are affected. Off by default.",
        )

    def settings(self) -> Settings:
        settings = super().settings()
        if self.datacenter.value is not None:
            settings.datacenter = self.datacenter.value
        return settings


class NamespacedQueryFlags(QueryFlags):
    """The same for things that live in a namespace, of which there is one here as in open-source Consul."""

    def __init__(self) -> None:
        super().__init__()
        self.namespace = OptionalStringFlag(
            "namespace",
            "Namespace to work in, by default that of the token or `default`. Agents without the enterprise "
            "feature refuse requests that name one.",
        )

    def settings(self) -> Settings:
        settings = super().settings()
        if self.namespace.value is not None:
            settings.namespace = self.namespace.value
        return settings
