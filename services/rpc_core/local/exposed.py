"""Exposed checks: where a proxy stands before a service, its HTTP and gRPC checks go through listeners of the proxy.

Each such check has a port of its own out of the configured range; the proxy's configuration (xDS) opens it."""

from __future__ import annotations

import re

from shared.structs.errors import RefusedError
from shared.structs.proxy import CheckType

_HTTP = re.compile(r"^(https?://)(\[.*?\]|\[?[\w\-.]+)(:\d+)?([^?]*)(\?.*)?$")
_GRPC = re.compile(r"(.*)(:[0-9]+)(.*)$")


class ExposedPorts:
    """Ports by (service id, check id), from `lowest` up to, but without, `highest`."""

    def __init__(self, lowest: int, highest: int) -> None:
        self._range = range(lowest, highest)
        self._taken: dict[tuple[str, str], int] = {}

    def take(self, service_id: str, check_id: str) -> int:
        """The port the check has already, or the first free one. Raises RefusedError."""
        key = service_id, check_id
        if key not in self._taken:
            others = set(self._taken.values())
            port = next((port for port in self._range if port not in others), None)
            if port is None:
                raise RefusedError(f"no ports available to expose '{check_id}'")
            self._taken[key] = port
        return self._taken[key]

    def free(self, service_id: str, check_id: str) -> None:
        """What was not taken is not missed."""
        self._taken.pop((service_id, check_id), None)


def can_be_exposed(check: CheckType) -> bool:
    return check.interval > 0 and check.ttl <= 0 and bool(check.http or (check.grpc and not check.tcp))


def exposed(check: CheckType, address: str, port: int) -> CheckType:
    """The check by way of a proxy at `address`."""
    if check.http:
        return check.replace(proxy_http=through_http(check.http, address, port))
    return check.replace(proxy_grpc=through_grpc(check.grpc, address, port))


def direct(check: CheckType) -> CheckType:
    """The check by way of nobody."""
    return check.replace(proxy_http="", proxy_grpc="")


def through_http(url: str, address: str, port: int) -> str:
    """The URL with another host and port; what is no URL stays as it is."""
    match = _HTTP.match(url)
    if match is None:
        return url
    scheme, _, _, path, query = match.groups(default="")
    if address.count(":") > 1:
        address = f"[{address.strip('[]')}]"
    return f"{scheme}{address}:{port}{path}{query}"


def through_grpc(target: str, address: str, port: int) -> str:
    """host:port or host:port/service with another host and port."""
    match = _GRPC.match(target)
    return target if match is None else f"{address}:{port}{match[3]}"
