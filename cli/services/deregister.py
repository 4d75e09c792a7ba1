"""`services deregister`: take services away from the agent."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.services.definitions import DefinitionError, from_files
from shared.gotext.quoting import quote

NAME = "services deregister"
SYNOPSIS = "Remove services from the agent"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.id = StringFlag("id", "ID of the service to remove, instead of files.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul services deregister [options] [FILE...]

  Removes services from the agent that they were registered with, by ID or by
  the files that define them:

      $ proconsul services deregister web.json db.json
      $ proconsul services deregister -id=web
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    files = flags.parse(argv)
    if not files and not flags.id.value:
        ui.error("Service deregistration requires at least one argument or -id.")
        return 1
    if files and flags.id.value:
        ui.error("Service deregistration requires arguments or -id, not both.")
        return 1
    try:
        services = from_files(files) if files else [{"ID": flags.id.value}]
    except DefinitionError as error:
        ui.error(f"Error: {error}")
        return 1
    client = flags.agent.client()
    for service in services:
        service_id = service.get("ID") or service.get("Name")
        if not service_id:
            continue
        try:
            client.put(f"/v1/agent/service/deregister/{service_id}")
        except ApiError as error:
            ui.error(f"Error registering service {quote(service.get('Name', ''))}: {error}")
            return 1
        ui.output(f"Deregistered service: {service_id}")
    return 0
