"""Running one case of the config corpus: files written, a program run, its answer in comparable form."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from cli import agent, validate
from tests.vectors.config.cases import BASE, Case

TIMEOUT_S = 30.0
COMMANDS = {"agent": agent.run, "validate": validate.run}


class Answer(NamedTuple):
    """What a program said: exit status and both outputs, with {dir} for the directory of the case."""

    status: int
    output: str
    errors: str


def judge(program: Path, case: Case, directory: Path) -> Answer:
    """The answer of an executable."""
    finished = subprocess.run(
        [program, *_prepare(case, directory)],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=directory,
        env={"PATH": os.environ["PATH"]},
    )
    return _answer(finished.returncode, finished.stdout, finished.stderr, directory)


def judge_here(case: Case, directory: Path, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> Answer:
    """Our answer, in this process: no case of the corpus gets as far as starting an agent."""
    command, *arguments = _prepare(case, directory)
    patch.chdir(directory)
    patch.setenv("XDG_RUNTIME_DIR", str(directory))
    patch.delenv("CONSUL_INTRO_TOKEN", raising=False)
    patch.setattr(os, "execv", lambda *_: pytest.fail("an agent would have been started"))
    status = COMMANDS[command](arguments)
    printed = capture.readouterr()
    return _answer(status, printed.out, printed.err, directory)


def _prepare(case: Case, directory: Path) -> list[str]:
    """Writes the files; returns the command line."""
    _, files, arguments = case
    place = str(directory)
    if arguments is None:
        files = {"base.hcl": BASE, **files}
        arguments = ["validate", *(f"{{dir}}/{name}" for name in files)]
    for name, text in files.items():
        (directory / name).write_bytes(text.replace("{dir}", place).encode())
    return [argument.replace("{dir}", place) for argument in arguments]


def _answer(status: int, output: bytes, errors: bytes, directory: Path) -> Answer:
    return Answer(status, _plain(output, str(directory)), _plain(errors, str(directory)))


def _plain(output: bytes, place: str) -> str:
    """Without the list of flags, whose texts are everybody's own, and in a fixed order of equal errors."""
    text = output.decode("utf-8", "surrogateescape").replace(place, "{dir}")
    lines = [line for line in text.split("\n") if not re.match(r"  (-|  )", line)]
    start = next((at for at, line in enumerate(lines) if line.endswith(" errors occurred:")), None)
    if start is not None:
        end = next((at for at, line in enumerate(lines) if at > start and not line.startswith("\t* ")), len(lines))
        lines[start + 1 : end] = sorted(lines[start + 1 : end])
    return "\n".join(lines)
