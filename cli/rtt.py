"""`rtt`: round trip time between two nodes, estimated from their network coordinates."""

from __future__ import annotations

import math

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet
from cli.base.http import AgentFlags
from cli.base.usage import usage
from shared.gotext.quoting import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.base.client import Client

    Coordinate = dict[str, Any]

NAME = "rtt"
SYNOPSIS = "Estimate the round trip time between two nodes"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.wan = BoolFlag("wan", "Use the coordinates of the WAN pool, between servers of all datacenters.")
        self.agent = AgentFlags()


class _Failed(Exception):
    """The text says why there is no estimate."""


def HELP() -> str:
    return usage(
        """
Usage: proconsul rtt [options] node1 [node2]

  Estimates the round trip time between two nodes, without a packet being sent:
  from the coordinates that gossip keeps up to date. The second node is that of
  the agent asked, if it is not given. Nodes are given by the names that
  "proconsul members" shows, with -wan as name.datacenter.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    nodes = flags.parse(argv)
    if not 1 <= len(nodes) <= 2:
        ui.error(f"One or two node names must be specified\n\n{HELP()}")
        return 1
    client = flags.agent.client()
    try:
        pair = _wan_pair(client, nodes) if flags.wan.value else _lan_pair(client, nodes)
        for node, coordinate in zip(nodes, pair, strict=True):
            if coordinate is None:
                raise _Failed(f"Could not find a coordinate for node {quote(node)}")
    except _Failed as failed:
        ui.error(str(failed))
        return 1
    first, second = (coordinate for coordinate in pair if coordinate is not None)
    estimate = f"{distance_s(first, second) * 1000:.3f} ms"
    pool = "WAN" if flags.wan.value else "LAN"
    ui.output(f"Estimated {nodes[0]} <-> {nodes[1]} rtt: {estimate} (using {pool} coordinates)")
    return 0


def distance_s(first: Coordinate, second: Coordinate) -> float:
    """Seconds between two Vivaldi coordinates, to the nanosecond below, as serf computes it."""
    raw: float = math.dist(first["Vec"], second["Vec"]) + first["Height"] + second["Height"]
    adjusted: float = raw + first["Adjustment"] + second["Adjustment"]
    return math.floor((adjusted if adjusted > 0 else raw) * 1e9) / 1e9


def _lan_pair(client: Client, nodes: list[str]) -> tuple[Coordinate | None, Coordinate | None]:
    """Coordinates of both nodes in a segment they share. Completes `nodes`."""
    if len(nodes) < 2:
        try:
            nodes.append(client.node_name())
        except ApiError as error:
            raise _Failed(f"Unable to look up agent info: {error}") from None
    try:
        entries = client.get("/v1/coordinate/nodes") or []
    except ApiError as error:
        raise _Failed(f"Error getting coordinates: {error}") from None
    first, second = ({entry["Segment"]: entry["Coord"] for entry in entries if entry["Node"] == n} for n in nodes)
    # Servers are in all segments, clients in one: a client's segment is the one to compare in.
    segment = next(iter(first)) if len(first) == 1 else next(iter(second)) if len(second) == 1 else ""
    return first.get(segment), second.get(segment)


def _wan_pair(client: Client, nodes: list[str]) -> tuple[Coordinate | None, Coordinate | None]:
    """Coordinates of both servers in an area they share. Completes `nodes`."""
    if len(nodes) < 2:
        try:
            config = client.get("/v1/agent/self")["Config"]
        except ApiError as error:
            raise _Failed(f"Unable to look up agent info: {error}") from None
        nodes.append(f"{config['NodeName']}.{config['Datacenter']}")
    if any(node.count(".") != 1 for node in nodes):
        raise _Failed("Node names must be specified as <node name>.<datacenter> with -wan")
    try:
        areas = client.get("/v1/coordinate/datacenters") or []
    except ApiError as error:
        raise _Failed(f"Error getting coordinates: {error}") from None
    for area in {entry["AreaID"]: None for entry in areas}:
        found = {
            f"{entry['Node']}.{datacenter['Datacenter']}": entry["Coord"]
            for datacenter in areas
            if datacenter["AreaID"] == area
            for entry in datacenter["Coordinates"] or []
        }
        if nodes[0] in found and nodes[1] in found:
            return found[nodes[0]], found[nodes[1]]
    return None, None
