"""Structured log records in hclog's two line formats, sent to the supervisor or written to stderr.

    logger = get_logger("agent.server.raft")
    logger.info("entering leader state", leader="Node at 127.0.0.1:8300 [Leader]")
    if logger.enabled(DEBUG): ...                                   # one integer comparison, for hot paths

A process that the supervisor started inherits a stream socket (its number is in PROCONSUL_LOG_FD). Records go
there as msgpack arrays [time_s, level, name, message, [key, value, ...]]; back come bare integers, the level from
which on records are wanted. The writer never blocks: what does not fit is dropped, counted and reported later.
Without that socket lines go to stderr. Line formats: go-hclog as Consul 1.8.7 uses it (checked against it)."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack

TRACE, DEBUG, INFO, WARN, ERROR = 1, 2, 3, 4, 5
"""Levels, numbered as hclog does."""

LOG_FD_VARIABLE = "PROCONSUL_LOG_FD"
BUFFER_BYTES_MAX = 1 << 20
"""Packed records kept for a supervisor that does not read; what comes after that is dropped."""
TEXT_CHARS_MAX = 32 * 1024
"""Longest message or value; longer ones are cut, so that one record cannot fill the buffer."""

_LEVELS = {"trace": TRACE, "debug": DEBUG, "info": INFO, "warn": WARN, "err": ERROR, "error": ERROR}
_NAMES = {TRACE: "trace", DEBUG: "debug", INFO: "info", WARN: "warn", ERROR: "error"}
_BRACKETS = {TRACE: "[TRACE]", DEBUG: "[DEBUG]", INFO: "[INFO] ", WARN: "[WARN] ", ERROR: "[ERROR]"}
_NEEDS_QUOTES = frozenset(" \t\n\r")


class Record(NamedTuple):
    """One log event. `fields` alternates keys and values in the order they were given."""

    time_s: float
    level: int
    name: str
    message: str
    fields: tuple[Any, ...] = ()


Sink = Callable[[Record], None]


class Logger:
    """A named source of records. The level is that of the process, shared by all loggers."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def named(self, name: str) -> Logger:
        """The logger below this one: get_logger("agent").named("http") is "agent.http"."""
        return get_logger(f"{self.name}.{name}" if self.name else name)

    def enabled(self, level: int) -> bool:
        """Would a record of this level go anywhere? Ask before building expensive values."""
        return level >= _threshold

    def trace(self, message: str, /, **fields: Any) -> None:
        if _threshold <= TRACE:
            _emit(TRACE, self.name, message, fields)

    def debug(self, message: str, /, **fields: Any) -> None:
        if _threshold <= DEBUG:
            _emit(DEBUG, self.name, message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        if _threshold <= INFO:
            _emit(INFO, self.name, message, fields)

    def warn(self, message: str, /, **fields: Any) -> None:
        if _threshold <= WARN:
            _emit(WARN, self.name, message, fields)

    def error(self, message: str, /, **fields: Any) -> None:
        if _threshold <= ERROR:
            _emit(ERROR, self.name, message, fields)

    def log(self, level: int, message: str, /, **fields: Any) -> None:
        if _threshold <= level:
            _emit(level, self.name, message, fields)


def get_logger(name: str) -> Logger:
    """The logger of that name; cheap, may be called at import."""
    logger = _loggers.get(name)
    if logger is None:
        logger = _loggers[name] = Logger(name)
    return logger


def parse_level(text: str) -> int:
    """ "INFO", "warn", "err", ... -> level. Raises ValueError for anything Consul does not accept."""
    level = _LEVELS.get(text.lower())
    if level is None:
        raise ValueError(f"Unknown log level: {text}")
    return level


def level_name(level: int) -> str:
    """3 -> "info"."""
    return _NAMES.get(level, "all")


def level() -> int:
    """The level from which on this process emits records."""
    return _threshold


def set_level(level: int) -> None:
    global _threshold
    _threshold = level


def setup(level: int, as_json: bool = False) -> SocketSink | None:
    """Direct this process's records to the supervisor's socket, or to stderr when there is none.

    Returns the socket sink when there is one: its owner calls `on_pending`, `flush` and `read_level`."""
    global _sink
    set_level(level)
    number = os.environ.get(LOG_FD_VARIABLE)
    if number is None:
        _sink = stderr_sink(as_json)
        return None
    sink = SocketSink(socket.socket(fileno=int(number)))
    _sink = sink
    return sink


def use_sink(sink: Sink) -> None:
    """Direct this process's records to `sink` (the supervisor's own way, and that of tests)."""
    global _sink
    _sink = sink


def flush() -> None:
    """Send what waits for the next turn of the event loop."""
    if isinstance(_sink, SocketSink):
        _sink.flush()


def stderr_sink(as_json: bool) -> Sink:
    """A sink that writes one line per record to stderr, at once."""
    line_of = format_json if as_json else format_plain

    def write(record: Record) -> None:
        try:
            sys.stderr.write(line_of(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # a closed terminal must not take the service with it

    return write


class SocketSink:
    """Batches records for the supervisor; never blocks, holds at most BUFFER_BYTES_MAX.

    `on_pending` is called when the first record enters an empty buffer, on the thread of the event loop; whoever
    sets it calls `flush` soon after, once for all that gathered. Records of WARN and above, and those of other
    threads, are sent at once."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.dropped = 0
        self.closed = False
        self.on_pending: Callable[[], None] | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._unsent = b""
        self._unpacker = msgpack.Unpacker(max_buffer_size=4096)
        self._loop_thread = threading.get_ident()
        self._lock = threading.Lock()

    def __call__(self, record: Record) -> None:
        with self._lock:
            if self.closed:
                return
            if self.dropped and self._pending_bytes < BUFFER_BYTES_MAX // 2:
                report = Record(record.time_s, WARN, "agent", "log records dropped", ("count", self.dropped))
                self.dropped = 0
                self._append(pack(report))
            if self._pending_bytes >= BUFFER_BYTES_MAX:
                self.dropped += 1
                return
            first = not self._pending
            self._append(pack(record))
        urgent = record.level >= WARN or threading.get_ident() != self._loop_thread
        if urgent or self.on_pending is None:
            self.flush()
        elif first:
            self.on_pending()

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)

    def flush(self) -> bool:
        """Send what fits. True when nothing is left; False when the socket is full (wait until it is writable)."""
        with self._lock:
            if self._pending:
                self._unsent += b"".join(self._pending)
                self._pending.clear()
            while self._unsent and not self.closed:
                try:
                    sent = self.connection.send(self._unsent)
                except BlockingIOError:
                    break
                except OSError:
                    self.closed = True
                    break
                self._unsent = self._unsent[sent:]
            if self.closed:
                self._unsent = b""
            self._pending_bytes = len(self._unsent)
            return not self._unsent

    def drain(self, timeout_s: float) -> None:
        """Blocks until all is sent, at most `timeout_s`: the last act of a process."""
        deadline = time.monotonic() + timeout_s
        while not self.flush() and (left := deadline - time.monotonic()) > 0:
            select.select([], [self.connection], [], left)

    def read_levels(self) -> bool:
        """Take in levels the supervisor asked for. False when the supervisor is gone."""
        while True:
            try:
                data = self.connection.recv(4096)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            self._unpacker.feed(data)
            for wanted in self._unpacker:
                set_level(int(wanted))


class RecordReader:
    """Supervisor's side of the socket: bytes in, records out. Junk ends the stream with ValueError."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=4 * BUFFER_BYTES_MAX, strict_map_key=False, unicode_errors="replace"
        )

    def feed(self, data: bytes) -> Iterator[Record]:
        try:
            self._unpacker.feed(data)
            for time_s, level, name, message, fields in self._unpacker:
                if type(level) is not int or level not in _BRACKETS or len(fields) % 2:
                    raise ValueError(f"not a log record: level {level!r:.20}, {len(fields)} fields")
                yield Record(float(time_s), level, str(name), str(message), tuple(fields))
        except (msgpack.UnpackException, TypeError, OverflowError) as error:
            raise ValueError(f"not a log record: {error}") from None


def pack(record: Record) -> bytes:
    """A record as it crosses the socket; values msgpack does not know travel as their text. Not thread-safe."""
    try:
        data: bytes = _packer.pack(record)
    except (OverflowError, ValueError):  # an integer of more than 64 bits, a structure nested too deep
        _packer.reset()
    else:
        if len(data) <= TEXT_CHARS_MAX:
            return data
    return _packer.pack(  # type: ignore[no-any-return]
        (record.time_s, record.level, record.name, _cut(record.message), [_cut(go_text(v)) for v in record.fields])
    )


def format_plain(record: Record) -> str:
    """hclog's plain line, without indent and newline:
    `2026-11-21T02:28:48.721Z [INFO]  agent: Synced node info: key=value other="has spaces"`."""
    name = f"{record.name}: " if record.name else ""
    head = f"{_stamp_ms(record.time_s)} {_BRACKETS[record.level]} {name}{record.message}"
    if not record.fields:
        return head
    fields = iter(record.fields)
    return head + ":" + "".join(f" {key}={_quoted(value)}" for key, value in zip(fields, fields, strict=True))


def format_json(record: Record) -> str:
    """hclog's JSON line, without newline: keys sorted, `<>&` escaped, as Go's encoder does."""
    values: dict[str, Any] = {
        "@level": level_name(record.level),
        "@message": record.message,
        "@timestamp": _stamp_us(record.time_s),
    }
    if record.name:
        values["@module"] = record.name
    fields = iter(record.fields)
    values.update(zip(fields, fields, strict=True))
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    for character, escape in _GO_ESCAPES:
        if character in text:
            text = text.replace(character, escape)
    return text


_GO_ESCAPES = (
    ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"),
)  # fmt: skip


def _emit(level: int, name: str, message: str, fields: dict[str, Any]) -> None:
    flat = tuple(part for item in fields.items() for part in item) if fields else ()
    _sink(Record(time.time(), level, name, message, flat))


def _quoted(value: Any) -> str:
    """A value in a plain line. hclog puts quotes around white space and escapes nothing; lists stay bare."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_quoted(item) for item in value)}]"
    text = go_text(value)
    return f'"{text}"' if not _NEEDS_QUOTES.isdisjoint(text) else text


def go_text(value: Any) -> str:
    """What Go's %v prints for the kinds of values that are logged."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return f"map[{' '.join(f'{go_text(k)}:{go_text(value[k])}' for k in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(go_text(item) for item in value)}]"
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else text[:TEXT_CHARS_MAX] + "... (cut)"


def _stamp_ms(time_s: float) -> str:
    """RFC 3339 in the local zone with milliseconds, zone as `Z` or `+0800`."""
    second, zone = _second(int(time_s))
    return f"{second}.{int(time_s % 1 * 1000):03d}{zone}"


def _stamp_us(time_s: float) -> str:
    """The same with microseconds, zone as `Z` or `+08:00`."""
    second, zone = _second(int(time_s))
    return f"{second}.{int(time_s % 1 * 1_000_000):06d}{zone if zone == 'Z' else zone[:3] + ':' + zone[3:]}"


def _second(second: int) -> tuple[str, str]:
    """Text of a whole second and of its zone; the last one is kept, records come many per second."""
    global _last_second
    if _last_second[0] != second:
        local = time.localtime(second)
        zone = "Z" if local.tm_gmtoff == 0 else time.strftime("%z", local)
        _last_second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", local), zone)
    return _last_second[1], _last_second[2]


_packer = msgpack.Packer(default=lambda value: _cut(go_text(value)), unicode_errors="replace")
_last_second: tuple[int, str, str] = (-1, "", "")
_loggers: dict[str, Logger] = {}
_threshold = INFO
_sink: Sink = stderr_sink(False)
