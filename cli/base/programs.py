"""Programs that commands run: in the user's shell or directly; what keeps them from starting is said as Go says it."""

from __future__ import annotations

import os
import shutil
import subprocess

from shared.gotext.processes import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SHELL = "/bin/sh"


def shell_command(script: str) -> list[str]:
    """What runs a script in the user's shell."""
    return [os.environ.get("SHELL") or DEFAULT_SHELL, "-c", script]


def start(command: list[str], environment: Mapping[str, str], stdin: int | None) -> subprocess.Popen[bytes]:
    """environment: added to our own. stdin: as for Popen. Raises StartError."""
    if "/" not in command[0] and shutil.which(command[0]) is None:
        raise StartError.not_found(command[0])
    try:
        return subprocess.Popen(command, stdin=stdin, env={**os.environ, **environment})
    except OSError as error:
        raise StartError.refused(command[0], error) from None
