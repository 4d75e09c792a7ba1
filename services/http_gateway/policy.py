"""Rules of the configuration that hold for every API request: blocked endpoints, write access, extra headers."""

from __future__ import annotations

import re

from services.http_gateway.errors import ForbiddenError, HttpError
from services.http_gateway.message import Request, parse_query
from shared.config.runtime import RuntimeConfig, split_host_port

_ACL_PATH = re.compile(r"^(/v1/acl/(?:create|update|destroy|info|clone|list)/)([^?]+)(\??.*)$")


class Policy:
    """`headers`: fields of every API answer."""

    def __init__(self, config: RuntimeConfig) -> None:
        http = config.http_config
        self.headers = {_canonical(name): value for name, value in http.response_headers.items()}
        if config.translate_wan_addrs:
            self.headers["X-Consul-Translate-Addresses"] = "true"
        self._blocked = tuple(http.block_endpoints)
        self._writers = tuple(http.allow_write_http_from)

    def is_open(self, request: Request) -> bool:
        """Whether no rule in here concerns this request or its answer."""
        if self.headers or (self._writers and request.writes):
            return False
        return not (self._blocked and request.path.startswith(self._blocked))

    def check_path(self, request: Request) -> None:
        """Raises ForbiddenError for a path under a blocked prefix."""
        if self._blocked and request.path.startswith(self._blocked):
            raise ForbiddenError("Endpoint is blocked by agent configuration")

    def check_write(self, request: Request) -> None:
        """Raises ForbiddenError if only some networks may write and the client is in none of them."""
        if not self._writers or not request.writes:
            return
        import ipaddress

        try:
            address = ipaddress.ip_address(split_host_port(request.remote)[0].partition("%")[0])
        except ValueError:
            raise HttpError(f"unable to parse remote addr: address {request.remote}: missing port in address") from None
        if not any(address in ipaddress.ip_network(network, strict=False) for network in self._writers):
            raise ForbiddenError("Access is restricted")

    def shown_url(self, request: Request) -> str:
        """The URL for the log, without tokens."""
        url = request.target
        if "token=" in request.raw_query:
            for token in parse_query(request.raw_query)[0].get("token", ()):
                url = url.replace(token, "<hidden>") if token else url + "<hidden>"
        if url.startswith("/v1/acl/"):
            url = _ACL_PATH.sub(r"\1<hidden>", url)
        return url


def _canonical(name: str) -> str:
    """Go's canonical form of a header name; a name with odd characters stays as it is."""
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
        return name
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))
