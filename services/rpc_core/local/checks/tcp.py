"""TCP checks: passing if a connection can be opened."""

from __future__ import annotations

from services.rpc_core.local.checks.dial import DialError, dial_tcp
from services.rpc_core.local.checks.periodic import Result
from shared.log import get_logger
from shared.structs.catalog import CRITICAL, PASSING
from shared.structs.proxy import CheckType

_log = get_logger("agent")

DEFAULT_TIMEOUT_S = 10.0


def timeout_s(check: CheckType) -> float:
    """How long a look over the network may take."""
    return check.timeout / 1e9 if check.timeout > 0 else DEFAULT_TIMEOUT_S


class TcpProbe:
    """Connects to the address of one check."""

    def __init__(self, check: CheckType) -> None:
        self._check = check

    async def __call__(self) -> Result:
        check = self._check
        try:
            stream = await dial_tcp(check.tcp, timeout_s(check))
        except DialError as error:
            _log.warn("Check socket connection failed", check=check.check_id, error=str(error))
            return Result(CRITICAL, str(error))
        await stream.aclose()
        return Result(PASSING, f"TCP connect {check.tcp}: Success")
