"""`snapshot restore`: replace the state of the servers by that of a file."""

from __future__ import annotations

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import FlagSet
from cli.base.http import QueryFlags
from cli.base.source import describe
from cli.base.usage import usage
from cli.snapshot import file_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

NAME = "snapshot restore"
SYNOPSIS = "Put a saved state back"
CHUNK = 256 * 1024


class Flags(FlagSet):
    def __init__(self) -> None:
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul snapshot restore [options] FILE

  Replaces the whole state of the servers by that of a snapshot file. Meant for
  new servers after a disaster: a server that fails while this goes on is not
  provided for.

      $ proconsul snapshot restore backup.snap

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
        file = open(path, "rb")  # noqa: SIM115 - opened apart, to tell its errors from those of the request
    except OSError as error:
        ui.error(f"Error opening snapshot file: {describe(error, 'open', path)}")
        return 1
    with file:
        try:
            client.require_ok("PUT", "/v1/snapshot", body=_chunks(file)).read()
        except (ApiError, OSError) as error:
            ui.error(f"Error restoring snapshot: {error}")
            return 1
    ui.output("Restored snapshot")
    return 0


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
