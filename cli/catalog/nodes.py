"""`catalog nodes`: the nodes of a datacenter, or those that run a service."""

from __future__ import annotations

from cli.base import source, ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, MapFlag, StringFlag
from cli.base.http import QueryFlags
from cli.base.text import columnize
from cli.base.usage import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Node = dict[str, Any]

NAME = "catalog nodes"
SYNOPSIS = "List the nodes of a datacenter"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.detailed = BoolFlag("detailed", "Show whole IDs, tagged addresses and metadata too.")
        self.filter = StringFlag("filter", "Filter expression that the server applies.")
        self.near = StringFlag(
            "near",
            "Sort by the round trip time estimated from the node of this name, the nearest first. "
            '"_agent" stands for the node of the agent asked.',
        )
        self.node_meta = MapFlag("node-meta", "Only nodes with this `key=value` in their metadata. May be repeated.")
        self.service = StringFlag("service", "Only nodes that offer the service of this `id or name`.")
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul catalog nodes [options]

  Lists the nodes in the catalog of a datacenter, by default that of the agent:

      $ proconsul catalog nodes
      $ proconsul catalog nodes -detailed

  Only those that offer a service, or carry some metadata:

      $ proconsul catalog nodes -service=web
      $ proconsul catalog nodes -node-meta="foo=bar"

  Those nearest to a node first:

      $ proconsul catalog nodes -near=node-web
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    if arguments := flags.parse(argv):
        ui.error(f"Too many arguments (expected 0, got {len(arguments)})")
        return 1
    client = flags.agent.client()
    params: dict[str, str | list[str]] = {}
    try:
        if expression := flags.filter.value and source.load(flags.filter.value).decode("utf-8", "surrogateescape"):
            params["filter"] = expression
    except source.SourceError as error:
        ui.error(f"Could not process filter argument: {error}")
        return 1
    if flags.near.value:
        params["near"] = flags.near.value
    if flags.node_meta.value:
        params["node-meta"] = [f"{key}:{value}" for key, value in flags.node_meta.value.items()]
    what = "nodes for service" if flags.service.value else "nodes"
    path = f"/v1/catalog/service/{flags.service.value}" if flags.service.value else "/v1/catalog/nodes"
    try:
        nodes: list[Node] = client.get(path, params) or []
    except ApiError as error:
        ui.error(f"Error listing {what}: {error}")
        return 1
    if not nodes:
        ui.error("No nodes match the given query - try expanding your search.")
        return 0
    ui.output(columnize(_detailed(nodes) if flags.detailed.value else _simple(nodes)))
    return 0


def _simple(nodes: list[Node]) -> list[list[str]]:
    rows = [["Node", "ID", "Address", "DC"]]
    for node in nodes:
        whole_id = node["ID"]
        short_id = whole_id.partition("-")[0] or whole_id
        rows.append([node["Node"], short_id, node["Address"], node["Datacenter"]])
    return rows


def _detailed(nodes: list[Node]) -> list[list[str]]:
    rows = [["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"]]
    for node in nodes:
        # An instance of a service has its node's metadata in a field of its own.
        meta = node.get("NodeMeta") if "ServiceID" in node else node.get("Meta")
        row = [node["Node"], node["ID"], node["Address"], node["Datacenter"]]
        rows.append([*row, _key_values(node.get("TaggedAddresses")), _key_values(meta)])
    return rows


def _key_values(mapping: dict[str, str] | None) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted((mapping or {}).items()))
