"""`snapshot inspect`: what a snapshot file says about itself, its hashes being checked."""

from __future__ import annotations

from cli.base import ui
from cli.base.flags import FlagSet
from cli.base.source import describe
from cli.base.text import tabulate
from cli.base.usage import usage
from cli.snapshot import file_argument
from shared.snapshot_archive import ArchiveError, verify

NAME = "snapshot inspect"
SYNOPSIS = "Show what a snapshot file contains"
FIELDS = ("ID", "Size", "Index", "Term", "Version")


class Flags(FlagSet):
    """None; but what looks like a flag is refused."""


def HELP() -> str:
    return usage(
        """
Usage: proconsul snapshot inspect [options] FILE

  Checks a snapshot file and shows which state it holds:

      $ proconsul snapshot inspect backup.snap
"""
    )


def run(argv: list[str]) -> int:
    path = file_argument(Flags().parse(argv))
    if path is None:
        return 1
    try:
        metadata = verify(path)
    except OSError as error:
        ui.error(f"Error opening snapshot file: {describe(error, 'open', path)}")
        return 1
    except ArchiveError as error:
        ui.error(f"Error verifying snapshot: {error}")
        return 1
    lines = "".join(f"{name}\t{metadata.get(name, '')}\n" for name in FIELDS)
    ui.output(tabulate(ui.to_bytes(lines)))
    return 0
