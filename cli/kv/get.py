"""`kv get`: a value, the entries below a prefix, or the names of the keys below it."""

from __future__ import annotations

import base64

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, StringFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.text import tabulate
from cli.base.usage import usage
from cli.kv import key_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.base.client import Client

    Pair = dict[str, Any]

NAME = "kv get"
SYNOPSIS = "Read keys"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.base64 = BoolFlag("base64", "Print values in base64.")
        self.detailed = BoolFlag(
            "detailed", "Print the indexes, flags and session of each key too, one field per line."
        )
        self.keys = BoolFlag("keys", "Print the names of the keys that begin with the argument, not their values.")
        self.recurse = BoolFlag("recurse", "Print all keys that begin with the argument, as key:value.")
        self.separator = StringFlag(
            "separator", "With -keys: names are cut behind the first one of these after the prefix.", "/"
        )
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul kv get [options] [KEY_OR_PREFIX]

  Prints the value of a key exactly as it is stored, and a line end. A key that
  does not exist is an error, an empty value is not:

      $ proconsul kv get foo

  Everything that is known about the key:

      $ proconsul kv get -detailed foo

  The argument as a prefix, for keys and values or for names alone. Without an
  argument that means the whole store:

      $ proconsul kv get -recurse foo
      $ proconsul kv get -keys foo
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    if len(arguments) > 1:
        ui.error(f"Too many arguments (expected 1, got {len(arguments)})")
        return 1
    key = key_argument(arguments[0]) if arguments else ""
    if not key and not (flags.recurse.value or flags.keys.value):
        ui.error("Error! Missing KEY argument")
        return 1
    client = flags.agent.client()
    params = {"stale": ""} if flags.agent.stale.value else {}
    try:
        if flags.keys.value:
            return _print_keys(client, key, flags, params)
        if flags.recurse.value:
            return _print_tree(client, key, flags, params)
        return _print_one(client, key, flags, params)
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1


def _print_keys(client: Client, prefix: str, flags: Flags, params: dict[str, str]) -> int:
    params["keys"] = ""
    if flags.separator.value:
        params["separator"] = flags.separator.value
    for key in client.get_or_none(f"/v1/kv/{prefix}", params) or []:
        ui.output(key)
    return 0


def _print_tree(client: Client, prefix: str, flags: Flags, params: dict[str, str]) -> int:
    pairs = client.get_or_none(f"/v1/kv/{prefix}", {**params, "recurse": ""}) or []
    for position, pair in enumerate(pairs):
        if flags.detailed.value:
            ui.output(_details(pair, flags.base64.value))
            if position < len(pairs) - 1:
                ui.output("")
        else:
            ui.output(ui.to_bytes(pair["Key"]) + b":" + _value(pair, flags.base64.value))
    return 0


def _print_one(client: Client, key: str, flags: Flags, params: dict[str, str]) -> int:
    pairs = client.get_or_none(f"/v1/kv/{key}", params)
    if not pairs:
        ui.error(f"Error! No key exists at: {key}")
        return 1
    as_base64 = flags.base64.value
    ui.output(_details(pairs[0], as_base64) if flags.detailed.value else _value(pairs[0], as_base64))
    return 0


def _value(pair: Pair, as_base64: bool) -> bytes:
    encoded: bytes = (pair.get("Value") or "").encode()
    return encoded if as_base64 else base64.b64decode(encoded)


def _details(pair: Pair, as_base64: bool) -> bytes:
    fields = [
        ("CreateIndex", pair["CreateIndex"]),
        ("Flags", pair["Flags"]),
        ("Key", pair["Key"]),
        ("LockIndex", pair["LockIndex"]),
        ("ModifyIndex", pair["ModifyIndex"]),
        ("Session", pair.get("Session") or "-"),
    ]
    if pair.get("Namespace"):
        fields.append(("Namespace", pair["Namespace"]))
    lines = [ui.to_bytes(f"{name}\t{value}") for name, value in fields]
    return tabulate(b"\n".join([*lines, b"Value\t" + _value(pair, as_base64)]))
