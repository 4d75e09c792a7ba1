"""`maint`: take a node or a service out of service for a while, or list what is out."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, StringFlag
from cli.base.http import AgentFlags
from cli.base.usage import usage
from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.client import Client

NAME = "maint"
SYNOPSIS = "Put a node or a service into maintenance mode"
NODE_CHECK = "_node_maintenance"
SERVICE_CHECK_PREFIX = "_service_maintenance:"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.disable = BoolFlag("disable", "End maintenance mode.")
        self.enable = BoolFlag("enable", "Begin maintenance mode.")
        self.reason = StringFlag("reason", "Why; shown to whoever looks at the checks.")
        self.service = StringFlag("service", "ID of a service of this agent to be meant instead of the node.")
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul maint [options]

  In maintenance mode a node, or one of its services, has a critical check and
  is left out of DNS answers and of health queries. Without options, lists what
  is in maintenance mode on this agent.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    enable, disable, service = flags.enable.value, flags.disable.value, flags.service.value
    complaint = ""
    if enable and disable:
        complaint = "Only one of -enable or -disable may be provided"
    elif not enable and flags.reason.value:
        complaint = "Reason may only be provided with -enable"
    elif not enable and not disable and service:
        complaint = "Service requires either -enable or -disable"
    if complaint:
        ui.error(complaint)
        return 1
    client = flags.agent.client()
    if not enable and not disable:
        return _list(client)
    params = {"enable": "true", "reason": flags.reason.value} if enable else {"enable": "false"}
    path = f"/v1/agent/service/maintenance/{service}" if service else "/v1/agent/maintenance"
    kind = "service" if service else "node"
    try:
        client.put(path, params)
    except ApiError as error:
        ui.error(f"Error {'enabling' if enable else 'disabling'} {kind} maintenance: {error}")
        return 1
    target = f" for {quote(service)}" if service else ""
    ui.output(f"{kind.capitalize()} maintenance is now {'enabled' if enable else 'disabled'}{target}")
    return 0


def _list(client: Client) -> int:
    try:
        node = client.node_name()
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1
    try:
        checks = client.get("/v1/agent/checks") or {}
    except ApiError as error:
        ui.error(f"Error getting checks: {error}")
        return 1
    for check_id, check in sorted(checks.items()):
        if check_id == NODE_CHECK:
            ui.output(f"Node:\n  Name:   {node}\n  Reason: {check['Notes']}\n")
        elif check_id.startswith(SERVICE_CHECK_PREFIX):
            ui.output(f"Service:\n  ID:     {check['ServiceID']}\n  Reason: {check['Notes']}\n")
    return 0
