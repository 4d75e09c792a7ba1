"""Memory of a process as the kernel counts it: resident, and proportional (shared pages divided by their users)."""

from __future__ import annotations


def memory_bytes(pid: int) -> tuple[int, int]:
    """(rss, pss) in bytes; (0, 0) when the process is gone or not ours to look at."""
    found = {"Rss:": 0, "Pss:": 0}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                key, *rest = line.split()
                if key in found:
                    found[key] = int(rest[0]) * 1024
    except (OSError, ValueError):
        return 0, 0
    return found["Rss:"], found["Pss:"]
