"""HTTP checks: 2xx is passing, 429 warning, everything else and no answer critical."""

from __future__ import annotations

from services.rpc_core.local.checks.http_client import FetchError, fetch, new_request
from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.periodic import Result
from services.rpc_core.local.checks.tcp import timeout_s
from services.rpc_core.local.checks.tls import CheckTls
from shared.structs.catalog import CRITICAL, PASSING, WARNING
from shared.structs.proxy import CheckType

USER_AGENT = "Consul Health Check"
ACCEPT = "text/plain, text/*, */*"
TOO_MANY_REQUESTS = 429


class HttpProbe:
    """Asks the URL of one check. proxy_http stands in for it where a proxy exposes the check."""

    def __init__(self, check: CheckType, tls: CheckTls, output_bytes: int) -> None:
        self._check, self._tls, self._output_bytes = check, tls, output_bytes

    async def __call__(self) -> Result:
        check = self._check
        method, target = check.method or "GET", check.proxy_http or check.http
        headers = {name: list(values or ()) for name, values in (check.header or {}).items()}
        for name, value in (("User-Agent", USER_AGENT), ("Accept", ACCEPT)):
            if not any(headers.get(name, ())):
                headers[name] = [value]
        output = OutputBuffer(self._output_bytes)
        try:
            request = new_request(method, target, headers, check.body.encode("utf-8", "surrogateescape"))
            head = await fetch(request, self._tls, output, timeout_s(check))
        except FetchError as error:
            return Result(CRITICAL, str(error))
        text = f"HTTP {method} {target}: {head.status_text} Output: {output.text()}"
        if 200 <= head.status <= 299:
            return Result(PASSING, text)
        return Result(WARNING if head.status == TOO_MANY_REQUESTS else CRITICAL, text)
