"""Registry of the agents that run on this host for this user: one small file per supervisor process.

A file is left behind when an agent is killed; it is ignored (and removed) once its process is gone."""

from __future__ import annotations

import contextlib
import json
import os
from typing import NamedTuple

from shared.config.run_dir import base_directory, make_private
from shared.config.runtime import RuntimeConfig


class RunningAgent(NamedTuple):
    pid: int
    node_name: str
    run_dir: str


def _directory() -> str:
    path = os.path.join(base_directory(), "agents")
    make_private(path)
    return path


def register(config: RuntimeConfig, pid: int) -> None:
    """Makes the agent whose supervisor is (or will be, after an exec) `pid` known. Raises ConfigError, OSError."""
    path = os.path.join(_directory(), f"{pid}.json")
    entry = {
        "node_name": config.node_name,
        "pid": pid,
        "run_dir": config.run_dir,
        "started": _start_time(pid),
    }
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(entry, file)
    os.replace(temporary, path)


def unregister(pid: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(_directory(), f"{pid}.json"))


def running_agents() -> list[RunningAgent]:
    """Agents that are alive, by pid. Unreadable files are skipped."""
    directory = _directory()
    agents: list[RunningAgent] = []
    for name in os.listdir(directory):
        if not name.endswith(".json"):
            continue
        path = os.path.join(directory, name)
        try:
            with open(path, encoding="utf-8") as file:
                entry = json.load(file)
            agent = RunningAgent(int(entry["pid"]), str(entry["node_name"]), str(entry["run_dir"]))
            alive = entry["started"] is not None and _start_time(agent.pid) == entry["started"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if alive:
            agents.append(agent)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    return sorted(agents)


def _start_time(pid: int) -> int | None:
    """Start of the process in clock ticks since boot: with the pid it names a process for good.

    An exec keeps it. None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])  # field 22 of proc(5), counted from behind the command name
