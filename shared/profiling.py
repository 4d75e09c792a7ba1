"""What a process is doing, for whoever looks for the reason: plain text, made only when it is asked for.

goroutine   every task of the event loop and every thread with the place where it waits
heap        memory as the kernel counts it, and the live objects by type
profile     where the main thread was, sampled for some seconds: "outer;inner count" lines, as flame graphs want them
trace       which tasks held the event loop in some seconds, and for how long at most

The last two are taken for one asker at a time: whoever comes meanwhile is told so.
The names are those of Go's profiles, which Consul's clients ask for; the content is our own."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections import Counter
from types import FrameType
from typing import Any

import trio

KINDS = ("goroutine", "heap", "profile", "trace")
SECONDS_MAX = 60.0
SAMPLE_INTERVAL_S = 0.01
_MEMORY_LINES = ("VmPeak", "VmHWM", "VmRSS", "Rss", "VmData", "Threads")
SHOWN = 60
"""Rows of a table."""
_sampler, _tracer = trio.CapacityLimiter(1), trio.CapacityLimiter(1)


async def take(kind: str, seconds: float) -> str:
    """One of KINDS. seconds: how long to look, for the last two. Raises ValueError for another kind."""
    seconds = min(max(seconds, SAMPLE_INTERVAL_S), SECONDS_MAX)
    if kind == "goroutine":
        return _tasks() + _threads()
    if kind == "heap":
        return _memory() + _objects()
    if kind not in KINDS:
        raise ValueError(f"unknown profile {kind!r}")
    limiter = _sampler if kind == "profile" else _tracer
    if not limiter.available_tokens:
        return f"a {kind} of this process is being taken already\n"
    if kind == "profile":
        main = threading.main_thread().ident or 0
        return await trio.to_thread.run_sync(_sample, main, seconds, abandon_on_cancel=True, limiter=limiter)
    async with limiter:
        return await _trace(seconds)


def _tasks() -> str:
    root = trio.lowlevel.current_root_task()
    lines: list[str] = []
    pending = [(root, 0)] if root is not None else []
    while pending:
        task, depth = pending.pop()
        lines.append(f"{'  ' * depth}task {task.name}")
        for frame, line in task.iter_await_frames():
            lines.append(f"{'  ' * depth}    {_place(frame, line)}")
        children = [(child, depth + 1) for nursery in task.child_nurseries for child in nursery.child_tasks]
        pending += sorted(children, key=lambda entry: entry[0].name, reverse=True)
    return "\n".join(lines) + "\n"


def _threads() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        lines.append(f"thread {names.get(ident, ident)}")
        lines += [f"    {_place(each, line)}" for each, line in traceback.walk_stack(frame)]
    return "\n".join(lines) + "\n"


def _place(frame: FrameType, line: int) -> str:
    code = frame.f_code
    module = frame.f_globals.get("__name__", code.co_filename)
    return f"{module}.{code.co_qualname}:{line}"


def _memory() -> str:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return "".join(line for line in file if line.startswith(_MEMORY_LINES))


def _objects() -> str:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        name = f"{kind.__module__}.{kind.__qualname__}"
        counts[name] += 1
        sizes[name] += sys.getsizeof(one)
    rows = [f"{size:>12} bytes {counts[name]:>9} {name}" for name, size in sizes.most_common(SHOWN)]
    return "\n".join(rows) + "\n"


def _sample(thread: int, seconds: float) -> str:
    """In a thread of its own."""
    stacks: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frame = sys._current_frames().get(thread)
        if frame is not None:
            places = [_place(each, each.f_code.co_firstlineno) for each, _ in traceback.walk_stack(frame)]
            stacks[";".join(reversed(places))] += 1
        time.sleep(SAMPLE_INTERVAL_S)
    return "".join(f"{stack} {count}\n" for stack, count in stacks.most_common())


class _Steps(trio.abc.Instrument):
    """Adds up the steps of each task."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = {}
        self._since = time.perf_counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._since = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.perf_counter() - self._since
        entry = self.steps.setdefault(task.name, [0, 0.0, 0.0])
        entry[0] += 1
        entry[1] += took
        entry[2] = max(entry[2], took)


async def _trace(seconds: float) -> str:
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    try:
        await trio.sleep(seconds)
    finally:
        trio.lowlevel.remove_instrument(steps)
    rows: list[Any] = sorted(steps.steps.items(), key=lambda row: -row[1][1])[:SHOWN]
    shown = [f"{int(n):>9} {total * 1000:>12.3f} {longest * 1000:>12.3f} {name}" for name, (n, total, longest) in rows]
    head = f"{'steps':>9} {'total ms':>12} {'longest ms':>12} task, in {seconds:g} s"
    return "\n".join([head, *shown]) + "\n"
