"""Both command line programs, pointed at one agent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.agents import Agent, RealConsul

OURS, REAL = "ours", "real"


class BothPrograms:
    """The real one and ours. Of the environment they get little more than the agent's address."""

    def __init__(self, binary: Path, agent: RealConsul | Agent) -> None:
        self.agent = agent
        self._commands = {REAL: [str(binary)], OURS: [sys.executable, "-m", "cli.main"]}
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        self._environment = {**kept, "CONSUL_HTTP_ADDR": f"{agent.address}:{agent.http_port}"}

    def popen(self, which: str, *arguments: str, text: bool, **environment: str) -> subprocess.Popen[Any]:
        return subprocess.Popen(
            [*self._commands[which], *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self._environment, **environment},
            text=text,
            bufsize=-1 if text else 0,  # a line that was read takes nothing away from what is read later
        )
