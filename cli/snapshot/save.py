"""`snapshot save`: fetch the state of the servers, check it, and only then give the file its name."""

from __future__ import annotations

import contextlib
import os

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import QueryFlags
from cli.base.source import describe
from cli.base.usage import usage
from cli.snapshot import file_argument
from shared.gotext.quoting import quote
from shared.snapshot_archive import ArchiveError, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.base.transport import Response

NAME = "snapshot save"
SYNOPSIS = "Save the state of the servers"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul snapshot save [options] FILE

  Saves the state of the servers as it is at one moment:

      $ proconsul snapshot save backup.snap

  Without a leader any server can be asked; its state may be a little old:

      $ proconsul snapshot save -stale backup.snap

  With ACLs on, this needs a management token.
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    path = file_argument(flags.parse(argv))
    if path is None:
        return 1
    client = flags.agent.client()
    try:
        response = client.require_ok("GET", "/v1/snapshot", {"stale": ""} if flags.agent.stale.value else {})
    except ApiError as error:
        ui.error(f"Error saving snapshot: {error}")
        return 1
    unverified = f"{path}.unverified"
    try:
        if complaint := _write(response, unverified) or _verify(unverified):
            ui.error(complaint)
            return 1
        try:
            os.replace(unverified, path)
        except OSError as error:
            reason = describe(error, "rename", f"{unverified} {path}")
            ui.error(f"Error renaming {quote(unverified)} to {quote(path)}: {reason}")
            return 1
    finally:
        with contextlib.suppress(OSError):
            os.remove(unverified)
    ui.output(f"Saved and verified snapshot to index {response.headers.get('x-consul-index', 0)}")
    return 0


def _write(response: Response, path: str) -> str:
    """Stores the body durably. What went wrong, empty if nothing."""
    try:
        with open(path, "wb") as file:
            for chunk in response.chunks():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"Error writing unverified snapshot file: {describe(error, 'open', path)}"
    except ApiError as error:
        return f"Error writing unverified snapshot file: {error}"
    return ""


def _verify(path: str) -> str:
    try:
        verify(path)
    except OSError as error:
        return f"Error opening snapshot file for verify: {describe(error, 'open', path)}"
    except ArchiveError as error:
        return f"Error verifying snapshot file: {error}"
    return ""
