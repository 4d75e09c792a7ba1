"""`keyring`: the keys that gossip is encrypted with, in the whole cluster at once."""

from __future__ import annotations

import json

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, IntFlag, StringFlag
from cli.base.http import AgentFlags
from cli.base.usage import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.base.client import Client

NAME = "keyring"
SYNOPSIS = "Manage the keys of gossip encryption"
RELAY_FACTOR_MAX = 5
ENDPOINT = "/v1/operator/keyring"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.install = StringFlag("install", "Add this key on all members; messages under it can be read then.")
        self.list = BoolFlag("list", "List the installed keys, and on how many members each is.")
        self.list_primary = BoolFlag("list-primary", "List the keys that members encrypt with.")
        self.local_only = BoolFlag("local-only", "Ask servers of this datacenter only. Goes with -list.")
        self.relay_factor = IntFlag(
            "relay-factor", f"Let members send their answers through that many others too, at most {RELAY_FACTOR_MAX}."
        )
        self.remove = StringFlag("remove", "Remove this key from all members. The primary key cannot be removed.")
        self.use = StringFlag("use", "Make this key, which must be installed, the one to encrypt with.")
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul keyring [options]

  Lists, adds, changes or removes keys of gossip encryption, on all members of
  the LAN and WAN pools. A key is rotated by installing the new one, using it
  and removing the old one. Works against servers only, and fails if any member
  does not answer.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    flags.parse(argv)
    actions = [flags.list.value, flags.list_primary.value, flags.install.value, flags.use.value, flags.remove.value]
    wanted = sum(map(bool, actions))
    complaint = ""
    if wanted == 0:
        complaint = HELP()
    elif wanted > 1:
        complaint = "Only a single action is allowed"
    elif not 0 <= flags.relay_factor.value <= RELAY_FACTOR_MAX:
        complaint = f"Error parsing relay factor: Relay factor must be in range: [0, {RELAY_FACTOR_MAX}]"
    elif flags.local_only.value and not flags.list.value:
        complaint = "Error validating local-only: local-only can only be set for list requests"
    if complaint:
        ui.error(complaint)
        return 1
    client = flags.agent.client()
    params = {"relay-factor": str(flags.relay_factor.value)} if flags.relay_factor.value else {}
    if flags.local_only.value:
        params["local-only"] = "true"
    try:
        _act(client, flags, params)
    except ApiError as error:
        ui.error(f"error: {error}")
        return 1
    return 0


def _act(client: Client, flags: Flags, params: dict[str, str]) -> None:
    if flags.list.value or flags.list_primary.value:
        kind, field = ("primary ", "PrimaryKeys") if flags.list_primary.value else ("", "Keys")
        ui.output(f"==> Gathering installed {kind}encryption keys...")
        for ring in client.get(ENDPOINT, params) or []:
            ui.output(_describe(ring, ring.get(field) or {}))
        return
    if flags.install.value:
        ui.output("==> Installing new gossip encryption key...")
        client.post(ENDPOINT, params, _body(flags.install.value))
    elif flags.use.value:
        ui.output("==> Changing primary gossip encryption key...")
        client.put(ENDPOINT, params, _body(flags.use.value))
    else:
        ui.output("==> Removing gossip encryption key...")
        client.delete(ENDPOINT, params, _body(flags.remove.value))


def _body(key: str) -> bytes:
    return json.dumps({"Key": key}).encode() + b"\n"


def _describe(ring: dict[str, Any], keys: dict[str, int]) -> str:
    pool = "WAN" if ring["WAN"] else f"{ring['Datacenter']} (LAN)"
    segment = f" [{ring['Segment']}]" if ring.get("Segment") else ""
    lines = [f"\n{pool}{segment}:"]
    lines += [f"  ===> {node}: {text}" for node, text in sorted((ring.get("Messages") or {}).items())]
    lines += [f"  {key} [{count}/{ring['NumNodes']}]" for key, count in sorted(keys.items())]
    return "\n".join(lines)
