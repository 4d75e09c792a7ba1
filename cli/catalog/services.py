"""`catalog services`: the services of a datacenter, or of one node."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, MapFlag, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.text import tabulate
from cli.base.usage import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.client import Client

NAME = "catalog services"
SYNOPSIS = "List the services of a datacenter"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.node = StringFlag("node", "Only services of the node of this `id or name`.")
        self.node_meta = MapFlag(
            "node-meta", "Only services on nodes with this `key=value` in their metadata. May be repeated."
        )
        self.tags = BoolFlag("tags", "Show the tags of each service beside its name, separated by commas.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul catalog services [options]

  Lists the services in the catalog of a datacenter, by default that of the
  agent:

      $ proconsul catalog services
      $ proconsul catalog services -tags

  Only those on one node, or on nodes that carry some metadata:

      $ proconsul catalog services -node=web
      $ proconsul catalog services -node-meta="foo=bar"
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    if arguments := flags.parse(argv):
        ui.error(f"Too many arguments (expected 0, got {len(arguments)})")
        return 1
    client = flags.agent.client()
    params = {"node-meta": [f"{key}:{value}" for key, value in flags.node_meta.value.items()]}
    what = "services for node" if flags.node.value else "services"
    try:
        if flags.node.value:
            services = _services_of_node(client, flags.node.value, params)
        else:
            services = client.get("/v1/catalog/services", params) or {}
    except ApiError as error:
        ui.error(f"Error listing {what}: {error}")
        return 1
    if not services:
        ui.error("No services match the given query - try expanding your search.")
        return 0
    if flags.tags.value:
        lines = (f"{name}\t{','.join(sorted(tags or []))}\n" for name, tags in sorted(services.items()))
        ui.output(tabulate(ui.to_bytes("".join(lines))).strip())
    else:
        for name in sorted(services):
            ui.output(name)
    return 0


def _services_of_node(client: Client, node: str, params: dict[str, list[str]]) -> dict[str, list[str]]:
    """Tags by service name; instances of the same service are taken together."""
    found = client.get(f"/v1/catalog/node/{node}", params) or {}
    services: dict[str, list[str]] = {}
    for service in (found.get("Services") or {}).values():
        services.setdefault(service["Service"], []).extend(service.get("Tags") or [])
    return services
