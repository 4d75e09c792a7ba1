"""`kv delete`: remove a key, or all keys below a prefix."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, FlagSet, UintFlag
from cli.base.http import NamespacedQueryFlags
from cli.base.usage import usage
from cli.kv import key_argument

NAME = "kv delete"
SYNOPSIS = "Remove keys"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.cas = BoolFlag("cas", "Remove only if the key has not changed since -modify-index, which must be given.")
        self.modify_index = UintFlag("modify-index", "ModifyIndex that the key must still have for -cas.")
        self.recurse = BoolFlag("recurse", "Remove all keys that begin with the argument.")
        self.agent = NamespacedQueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul kv delete [options] KEY_OR_PREFIX

  Removes a key. If there is none of that name, nothing happens:

      $ proconsul kv delete foo

  Removes every key that begins with "foo", "food" and "foo/bar/zip" among
  them:

      $ proconsul kv delete -recurse foo
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    key = key_argument(arguments[0]) if arguments else ""
    if complaint := _complaint(flags, arguments, key):
        ui.error(complaint)
        return 1
    client = flags.agent.client()
    params: dict[str, str] = {}
    failed, done = f"Error deleting key {key}", f"Success! Deleted key: {key}"
    if flags.recurse.value:
        params["recurse"] = ""
        failed, done = f"Error! Did not delete prefix {key}", f"Success! Deleted keys with prefix: {key}"
    elif flags.cas.value:
        params["cas"] = str(flags.modify_index.value)
        failed = f"Error! Did not delete key {key}"
    try:
        deleted = b"true" in client.delete(f"/v1/kv/{key}", params)
        if flags.cas.value and not deleted:
            raise ApiError("CAS failed")
    except ApiError as error:
        ui.error(f"{failed}: {error}")
        return 1
    ui.output(done)
    return 0


def _complaint(flags: Flags, arguments: list[str], key: str) -> str:
    """What is wrong with the arguments, empty if nothing."""
    if len(arguments) > 1:
        return f"Too many arguments (expected 1, got {len(arguments)})"
    if not key and not flags.recurse.value:
        return "Error! Missing KEY argument"
    if flags.cas.value and flags.modify_index.value == 0:
        return "Must specify -modify-index with -cas!"
    if flags.modify_index.value != 0 and not flags.cas.value:
        return "Cannot specify -modify-index without -cas!"
    if flags.recurse.value and flags.cas.value:
        return "Cannot specify both -cas and -recurse!"
    return ""
