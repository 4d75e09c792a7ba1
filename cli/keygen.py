"""`keygen`: a new key for gossip encryption, 32 random bytes in base64."""

from __future__ import annotations

import base64
import os

from cli.base import ui
from cli.base.flags import FlagSet
from cli.base.usage import usage

NAME = "keygen"
SYNOPSIS = "Generates a new encryption key"
KEY_BYTES = 32

DESCRIPTION = """
Usage: proconsul keygen

  Makes a new 32-byte key that agents can encrypt their gossip with, and
  prints it in the form in which the agent expects it.
"""


def HELP() -> str:
    return usage(DESCRIPTION, FlagSet())


def run(argv: list[str]) -> int:
    FlagSet().parse(argv)
    ui.output(base64.b64encode(os.urandom(KEY_BYTES)))
    return 0
