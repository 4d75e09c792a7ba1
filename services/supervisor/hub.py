"""The hub: log records of all components come in, lines for console, file, syslog and monitors go out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

from shared.log import Record, format_json, format_plain

MONITOR_LINES_MAX = 512
"""Lines kept for a monitor that does not keep up; what comes after that it misses."""


class LineSink(Protocol):
    """A file or syslog: takes one line without its newline."""

    def write(self, line: str, now_s: float) -> None: ...


class Monitor:
    """One `proconsul monitor`: its level, its format, and the lines it has yet to fetch."""

    def __init__(self, level: int, as_json: bool) -> None:
        self.level = level
        self.format = format_json if as_json else format_plain
        self.dropped = 0
        self._in, self.lines = trio.open_memory_channel[str](MONITOR_LINES_MAX)

    def offer(self, line: str) -> None:
        try:
            self._in.send_nowait(line)
        except trio.WouldBlock:
            self.dropped += 1


class Hub:
    """`level` is what console, file and syslog show; a monitor may want more, so components send more then."""

    def __init__(self, level: int, as_json: bool, console: Callable[[str], None]) -> None:
        self.level = level
        self._format = format_json if as_json else format_plain
        self._console = console
        self._sinks: list[LineSink] = []
        self._monitors: list[Monitor] = []
        self.on_wanted_level: Callable[[int], None] | None = None
        """Called with the new level whenever `wanted_level` changes."""
        self._wanted_level = level

    @property
    def wanted_level(self) -> int:
        """The level from which on anybody wants records."""
        return self._wanted_level

    def add_sink(self, sink: LineSink) -> None:
        self._sinks.append(sink)

    def set_level(self, level: int) -> None:
        self.level = level
        self._update()

    def attach(self, monitor: Monitor) -> None:
        self._monitors.append(monitor)
        self._update()

    def detach(self, monitor: Monitor) -> None:
        self._monitors.remove(monitor)
        self._update()

    def accept(self, record: Record) -> None:
        """A record of any process. A sink that fails (disk full) costs its line, nothing else."""
        if record.level >= self.level:
            line = self._format(record)
            self._console(f"    {line}\n")
            for sink in self._sinks:
                try:
                    sink.write(line, record.time_s)
                except OSError:
                    continue
        for monitor in self._monitors:
            if record.level >= monitor.level:
                monitor.offer(monitor.format(record))

    def _update(self) -> None:
        wanted = min([self.level, *(monitor.level for monitor in self._monitors)])
        if wanted != self._wanted_level:
            self._wanted_level = wanted
            if self.on_wanted_level is not None:
                self.on_wanted_level(wanted)
