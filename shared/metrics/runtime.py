"""What a process says of itself, under the names of Go's runtime where a counterpart exists."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable


def runtime_gauges() -> dict[str, float]:
    """Of this process. Bytes; counts."""
    gauges = memory_gauges([os.getpid()])
    gauges["consul.runtime.total_gc_runs"] = sum(generation["collections"] for generation in gc.get_stats())
    gauges["consul.runtime.heap_objects"] = sys.getallocatedblocks()
    tasks = _tasks()
    if tasks is not None:
        gauges["consul.runtime.num_goroutines"] = tasks
    return gauges


def _tasks() -> int | None:
    """trio's tasks are to us what goroutines are to Go. None outside of a run."""
    trio = sys.modules.get("trio")
    if trio is None or not trio.lowlevel.in_trio_run():
        return None
    return int(trio.lowlevel.current_statistics().tasks_living)


def memory_gauges(pids: Iterable[int]) -> dict[str, float]:
    """Of several processes together; those that are gone count nothing."""
    data_pages = resident_pages = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                fields = file.read().split()
        except OSError:
            continue
        data_pages += int(fields[5])  # not the whole address space: most of that is the state store's file
        resident_pages += int(fields[1])
    page = os.sysconf("SC_PAGE_SIZE")
    return {"consul.runtime.alloc_bytes": resident_pages * page, "consul.runtime.sys_bytes": data_pages * page}


def agent_pids() -> list[int]:
    """The processes of the agent that this one belongs to: those of one parent, and the parent. Only this one if the
    kernel does not tell."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            return [parent, *map(int, file.read().split())]
    except OSError:
        return [os.getpid()]


def process_stats() -> dict[str, float]:
    """What Prometheus' own libraries say of a process: seconds, descriptors, bytes, Unix time."""
    ticks = os.sysconf("SC_CLK_TCK")
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {
        "cpu_seconds_total": (int(fields[11]) + int(fields[12])) / ticks,
        "max_fds": limit,
        "open_fds": len(os.listdir("/proc/self/fd")) - 1,
        "resident_memory_bytes": int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        "start_time_seconds": _boot_time_s() + int(fields[19]) / ticks,
        "virtual_memory_bytes": int(fields[20]),
    }


def _boot_time_s() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0
