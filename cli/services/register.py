"""`services register`: hand services to the agent, from files or from flags."""

from __future__ import annotations

import json

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, IntFlag, ListFlag, MapFlag, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.services.definitions import DefinitionError, from_files
from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Definition = dict[str, Any]

NAME = "services register"
SYNOPSIS = "Register services with the agent"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.address = StringFlag("address", "Address of the service, if it is not that of the node.")
        self.id = StringFlag("id", "ID of the service, by default its name.")
        self.kind = StringFlag("kind", "Kind of the service, for proxies and gateways.")
        self.meta = MapFlag("meta", "Metadata of the service as key=value. May be repeated.")
        self.name = StringFlag("name", "Name of the service.")
        self.port = IntFlag("port", "Port of the service.")
        self.tag = ListFlag("tag", "Tag of the service. May be repeated.")
        self.tagged_address = MapFlag("tagged-address", "Further address as name=address:port. May be repeated.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul services register [options] [FILE...]

  Registers services with the agent. They are defined in configuration files,
  JSON or HCL, as the agent itself reads them, or by flags. They stay until they
  are removed with "proconsul services deregister".

      $ proconsul services register web.json
      $ proconsul services register -name=web -port=8080 -tag=v1
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    files = flags.parse(argv)
    try:
        tagged = {name: _split(address) for name, address in flags.tagged_address.value.items()}
    except ValueError as error:
        ui.error(f"Invalid Tagged Address: {error}")
        return 1
    if not files and not flags.name.value:
        ui.error("Service registration requires at least one argument or flags.")
        return 1
    if files and flags.name.value:
        ui.error("Service registration requires arguments or -id, not both.")
        return 1
    try:
        services = from_files(files) if files else [_from_flags(flags, tagged)]
    except DefinitionError as error:
        ui.error(f"Error: {error}")
        return 1
    client = flags.agent.client()
    for service in services:
        name = service.get("Name", "")
        try:
            client.put("/v1/agent/service/register", body=json.dumps(service, ensure_ascii=False).encode() + b"\n")
        except ApiError as error:
            ui.error(f"Error registering service {quote(name)}: {error}")
            return 1
        ui.output(f"Registered service: {name}")
    return 0


def _from_flags(flags: Flags, tagged: dict[str, Definition]) -> Definition:
    properties = {
        "Kind": flags.kind.value,
        "ID": flags.id.value,
        "Name": flags.name.value,
        "Tags": flags.tag.value,
        "Port": flags.port.value,
        "Address": flags.address.value,
        "TaggedAddresses": tagged,
        "Meta": flags.meta.value,
    }
    return {name: value for name, value in properties.items() if value}


def _split(address: str) -> Definition:
    """Host and port. Raises ValueError in the words of Go's net.SplitHostPort."""
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError(f"address {address}: missing port in address")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"address {address}: too many colons in address")
    if not (port.isascii() and port.isdigit()):
        raise ValueError(f"strconv.Atoi: parsing {quote(port)}: invalid syntax")
    return {"Address": host, "Port": int(port)}
