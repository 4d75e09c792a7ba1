"""What a client's session printed: one JSON object of step -> result, with ids, indexes and times masked."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.agents import Agent, RealConsul
from tests.integration.differential.exchange import mask

TIMEOUT_S = 120
_NUMBERS = frozenset(("CreateIndex", "ModifyIndex", "LockIndex", "Index", "LTime"))


def run_session(
    command: Sequence[str], agent: Agent | RealConsul, directory: Path, **environment: str
) -> dict[str, Any]:
    """Raises AssertionError with what it said if the session fails."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.run(
        [*command, agent.address, str(agent.http_port)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**kept, **environment},
        check=False,
    )
    assert process.returncode == 0, f"{process.stderr}\n{process.stdout}"
    found = json.loads(process.stdout)
    assert isinstance(found, dict)
    return {step: _masked(result, agent.address) for step, result in found.items()}


def _masked(value: Any, address: str) -> Any:
    if isinstance(value, dict):
        return {key: "NUMBER" if key in _NUMBERS and item else _masked(item, address) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, address) for item in value]
    return mask(value, address) if isinstance(value, str) else value


def assert_same(real: dict[str, Any], ours: dict[str, Any]) -> None:
    lines = [f"{step}\n    {real.get(step)!r}\n != {ours.get(step)!r}" for step in real if real[step] != ours.get(step)]
    assert list(real) == list(ours)
    assert not lines, f"{len(lines)} steps differ, Consul's result first:\n" + "\n".join(lines)
