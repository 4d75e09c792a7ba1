"""`event`: fire a user event, which gossip carries to every node of the datacenter."""

from __future__ import annotations

from cli.base import gojson, ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet, StringFlag
from cli.base.http import AgentFlags
from cli.base.node_filter import filter_complaint
from cli.base.usage import usage
from shared.gotext.json_syntax import JsonSyntaxError

NAME = "event"
SYNOPSIS = "Fire a user event"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.name = StringFlag("name", "Name of the event; it must have one.")
        self.node = StringFlag("node", "Only nodes whose name matches this regular expression act on it.")
        self.service = StringFlag("service", "Only nodes with a service that matches this regular expression.")
        self.tag = StringFlag("tag", "Only if a tag of that service matches this regular expression.")
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul event [options] [payload]

  Sends an event to the nodes of the datacenter, with a few bytes of payload if
  wished. What happens there is up to the watches and programs that wait for an
  event of this name.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    if complaint := _complaint(flags, arguments):
        ui.error(complaint)
        return 1
    client = flags.agent.client()
    try:
        client.node_name()
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1
    filters = {"node": flags.node.value, "service": flags.service.value, "tag": flags.tag.value}
    params = {name: value for name, value in filters.items() if value}
    payload = ui.to_bytes(arguments[0]) if arguments else b""
    try:
        answer = client.put(f"/v1/event/fire/{flags.name.value}", params, payload)
        event_id = gojson.decode_first(answer)["ID"]
    except (ApiError, JsonSyntaxError) as error:
        ui.error(f"Error firing event: {error}")
        return 1
    ui.output(f"Event ID: {event_id}")
    return 0


def _complaint(flags: Flags, arguments: list[str]) -> str:
    if not flags.name.value:
        return f"Event name must be specified\n\n{HELP()}"
    if complaint := filter_complaint(flags.node, flags.service, flags.tag):
        return complaint
    if len(arguments) > 1:
        return f"Too many command line arguments.\n\n{HELP()}"
    return ""
