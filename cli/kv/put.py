"""`kv put`: set a key, conditionally if wished (check-and-set, lock, unlock)."""

from __future__ import annotations

from cli.base import source, ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, StringFlag, UintFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from shared.gotext import base64_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.client import Client

NAME = "kv put"
SYNOPSIS = "Set a key"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.acquire = BoolFlag(
            "acquire", "Lock the key for the session of -session, creating it if it does not exist."
        )
        self.base64 = BoolFlag("base64", "The data is base64 and is stored decoded.")
        self.cas = BoolFlag("cas", "Write only if the key has not changed since -modify-index, which must be given.")
        self.flags = UintFlag("flags", "Number to keep with the key; it means whatever its users agree on.")
        self.modify_index = UintFlag("modify-index", "ModifyIndex that the key must still have for -cas.")
        self.release = BoolFlag("release", "Unlock the key, which the session of -session must hold.")
        self.session = StringFlag("session", "ID of an existing session, for -acquire and -release.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul kv put [options] KEY [DATA]

  Sets a key to the data, which may be anything. Without data the value is
  empty:

      $ proconsul kv put config/redis/maxconns 5
      $ proconsul kv put webapp/beta/active

  The data can come from a file, or from standard input:

      $ proconsul kv put config/program/license @license.lic
      $ echo "abcd1234" | proconsul kv put config/program/license -

  With -cas the key is written only if nobody has changed it in the meantime:

      $ proconsul kv put -cas -modify-index=844 config/redis/maxconns 5
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    try:
        key, data = _key_and_data(arguments)
        if flags.base64.value:
            data = base64_text.decode(data)
    except source.SourceError as error:
        ui.error(f"Error! {error}")
        return 1
    except ValueError as error:
        # Consul goes on from here and stores what could be decoded; a damaged value helps nobody.
        ui.error(f"Error! Cannot base 64 decode data: {error}")
        return 1
    if (flags.release.value or flags.acquire.value) and not flags.session.value:
        ui.error("Error! Missing -session (required with -acquire and -release)")
        return 1
    if flags.cas.value and flags.modify_index.value == 0:
        ui.error("Must specify -modify-index with -cas!")
        return 1
    client = flags.agent.client()
    params = {"flags": str(flags.flags.value)} if flags.flags.value else {}
    if flags.cas.value:
        return _check_and_set(client, key, data, {**params, "cas": str(flags.modify_index.value)})
    if flags.acquire.value:
        return _lock(client, key, data, {**params, "acquire": flags.session.value}, "acquire", "acquired")
    if flags.release.value:
        return _lock(client, key, data, {**params, "release": flags.session.value}, "release", "released")
    try:
        write(client, key, data, params)
    except ApiError as error:
        ui.error(f"Error! Failed writing data: {error}")
        return 1
    ui.output(f"Success! Data written to: {key}")
    return 0


def _key_and_data(arguments: list[str]) -> tuple[str, bytes]:
    if not arguments:
        raise source.SourceError("Missing KEY argument")
    if len(arguments) > 2:
        raise source.SourceError(f"Too many arguments (expected 1 or 2, got {len(arguments)})")
    return arguments[0], source.load(arguments[1]) if len(arguments) == 2 else b""


def write(client: Client, key: str, data: bytes, params: dict[str, str]) -> bool:
    """Whether the agent accepted the write. Raises ApiError."""
    if key.startswith("/"):
        raise ApiError(f"Invalid key. Key must not begin with a '/': {key}")
    return b"true" in client.put(f"/v1/kv/{key}", params, data)


def _check_and_set(client: Client, key: str, data: bytes, params: dict[str, str]) -> int:
    try:
        if not write(client, key, data, params):
            raise ApiError("CAS failed")
    except ApiError as error:
        ui.error(f"Error! Did not write to {key}: {error}")
        return 1
    ui.output(f"Success! Data written to: {key}")
    return 0


def _lock(client: Client, key: str, data: bytes, params: dict[str, str], verb: str, done: str) -> int:
    try:
        if not write(client, key, data, params):
            ui.error(f"Error! Did not {verb} lock")
            return 1
    except ApiError as error:
        # For a failed release Consul names the key where the reason belongs.
        ui.error(f"Error! Failed writing data: {key if verb == 'release' else error}")
        return 1
    ui.output(f"Success! Lock {done} on: {key}")
    return 0
