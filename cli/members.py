"""`members`: who is in the cluster, as the agent's gossip pool sees it."""

from __future__ import annotations

import socket

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, StringFlag
from cli.base.http import AgentFlags
from cli.base.pattern import compile_pattern
from cli.base.text import columnize
from cli.base.usage import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Member = dict[str, Any]

NAME = "members"
SYNOPSIS = "List the members of the cluster"
ALL_SEGMENTS = "_all"
STATUSES = {0: "none", 1: "alive", 2: "leaving", 3: "left", 4: "failed"}
NO_MEMBERS_STATUS = 2
"""Exit status when no member passes the filter."""


class Flags(FlagSet):
    def __init__(self) -> None:
        self.detailed = BoolFlag("detailed", "Show all tags that each node gossips.")
        self.segment = StringFlag(
            "segment", "Only nodes of this network segment (an enterprise feature).", ALL_SEGMENTS
        )
        self.status = StringFlag("status", "Only nodes whose status matches this regular expression.", ".*")
        self.wan = BoolFlag("wan", "Ask a server for the members of the WAN pool: the servers of all datacenters.")
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul members [options]

  Lists the nodes that the agent knows of, with their addresses, their state
  and what they run.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    try:
        status_matches = compile_pattern(flags.status.value)
    except ValueError as error:
        ui.error(f"Failed to compile status regexp: {error}")
        return 1
    client = flags.agent.client()
    params = {"segment": flags.segment.value}
    if flags.wan.value:
        params["wan"] = "1"
    try:
        members: list[Member] = client.get("/v1/agent/members", params) or []
    except ApiError as error:
        ui.error(f"Error retrieving members: {error}")
        return 1
    for member in members:
        tags = member["Tags"] = member.get("Tags") or {}
        tags["segment"] = tags.get("segment") or "<default>"
        if flags.segment.value == ALL_SEGMENTS and tags.get("role") == "consul":
            tags["segment"] = "<all>"
    members = [member for member in members if status_matches(_status(member))]
    if not members:
        return NO_MEMBERS_STATUS
    members.sort(key=lambda member: (member["Tags"]["segment"], member["Name"]))
    ui.output(columnize(_detailed(members) if flags.detailed.value else _standard(members)))
    return 0


def _status(member: Member) -> str:
    return STATUSES.get(member.get("Status", 0), "unknown")


def _address(member: Member) -> str:
    """ip:port. An address that is no IP is left out, as Go's net.TCPAddr prints it."""
    text, port = member.get("Addr", ""), member.get("Port", 0)
    for family, form in ((socket.AF_INET, "{}:{}"), (socket.AF_INET6, "[{}]:{}")):
        try:
            return form.format(socket.inet_ntop(family, socket.inet_pton(family, text)), port)
        except OSError:
            continue
    return f":{port}"


def _standard(members: list[Member]) -> list[list[str]]:
    rows = [["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"]]
    for member in members:
        tags = member["Tags"]
        row = [member["Name"], _address(member), _status(member)]
        kind = {"node": "client", "consul": "server"}.get(tags.get("role", ""))
        if kind is None:
            rows.append([*row, "unknown", "", "", "", ""])
            continue
        build = tags.get("build", "").partition(":")[0] if tags.get("build") else "< 0.3"
        rows.append([*row, kind, build, tags.get("vsn", ""), tags.get("dc", ""), tags["segment"]])
    return rows


def _detailed(members: list[Member]) -> list[list[str]]:
    rows = [["Node", "Address", "Status", "Tags"]]
    for member in members:
        tags = ",".join(f"{key}={value}" for key, value in sorted(member["Tags"].items()))
        rows.append([member["Name"], _address(member), _status(member), tags])
    return rows
