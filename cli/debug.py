"""`debug`: an archive with all that can be known of an agent, taken over some minutes."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import tarfile
import tempfile
import threading
import time

from cli.base import ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, DurationFlag, FlagError, FlagSet, HelpWanted, ListFlag, StringFlag
from cli.base.http import AgentFlags
from cli.base.source import describe
from cli.base.usage import usage
from shared.gotext.durations import format_duration_ns
from shared.structs import gojson as go

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

NAME = "debug"
SYNOPSIS = "Record what an agent is doing, for whoever looks for a fault"

SECOND_NS = 1_000_000_000
INTERVAL_NS, DURATION_NS = 30 * SECOND_NS, 120 * SECOND_NS
INTERVAL_NS_MIN, DURATION_NS_MIN = 5 * SECOND_NS, 10 * SECOND_NS
GRACE_S = 2.0
DYNAMIC = ("metrics", "logs", "pprof")
TARGETS = (*DYNAMIC, "host", "agent", "cluster")
FORMAT_VERSION = 1
EXTENSION = ".tar.gz"


class Flags(FlagSet):
    def __init__(self) -> None:
        self.archive = BoolFlag("archive", "Make one compressed file of it, instead of leaving a directory.", True)
        self.capture = ListFlag(
            "capture", f"What to record: {', '.join(TARGETS)}. May be repeated; everything if it is not given."
        )
        self.duration = DurationFlag("duration", "How long to record.", DURATION_NS)
        self.interval = DurationFlag("interval", "How often to record what changes.", INTERVAL_NS)
        self.output = StringFlag(
            "output", "Path of the directory, and with .tar.gz of the file.", f"consul-debug-{int(time.time())}"
        )
        self.agent = AgentFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul debug [options]

  Records for some time what an agent and its host are doing: configuration,
  members, metrics, log lines and profiles of its processes. The result is one
  file in the current directory:

      $ proconsul debug

  Metrics, log and profiles are taken once per interval, as long as it lasts:

      $ proconsul debug -interval=20s -duration=1m

  Only some of it:

      $ proconsul debug -capture metrics -capture agent

  Profiles need enable_debug in the agent's configuration. Tokens are left out by
  the agent, but look at what is in the file before you give it away.
""",
        Flags(),
    )


class _Failed(Exception):
    """The text says what could not be done."""


def _output(text: str) -> None:
    ui.output(f"==> {text}", flush=True)


def _info(text: str) -> None:
    ui.output(f"    {text}", flush=True)


def _error(text: str) -> None:
    ui.error(f"==> {text}")


def run(argv: list[str]) -> int:
    flags = Flags()
    try:
        arguments = flags.parse(argv)
    except HelpWanted:
        raise
    except FlagError as error:
        error.report()
        _error(f"Error parsing flags: {error}")
        return 1
    if arguments:
        _error("debug: Too many arguments provided, expected 0")
        return 1
    recording = _Recording(flags)
    try:
        version = recording.prepare()
    except _Failed as failed:
        _error(f"Capture validation failed: {failed}")
        return 1
    recording.announce(version)
    recording.capture_static()
    if any(target in DYNAMIC for target in recording.targets):
        recording.capture_dynamic()
    return recording.finish(version)


class _Recording:
    """One run of the command."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._client = flags.agent.client()
        self._directory = flags.output.value
        self._events: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        """("done" or "failed", text), ("stop", "")."""
        self._writing = threading.Lock()
        self._ended = False
        self.targets = list(flags.capture.value) or list(TARGETS)

    # -- before ----------------------------------------------------------------------------------

    def prepare(self) -> str:
        """Checks everything and makes the directory; the agent's version. Raises _Failed."""
        duration_ns, interval_ns = self._flags.duration.value, self._flags.interval.value
        shortest = format_duration_ns(DURATION_NS_MIN)
        if duration_ns < DURATION_NS_MIN:
            raise _Failed(f"duration must be longer than {shortest}")
        if interval_ns < INTERVAL_NS_MIN:
            raise _Failed(f"interval must be longer than {shortest}")
        if duration_ns < interval_ns:
            duration, interval = format_duration_ns(duration_ns), format_duration_ns(interval_ns)
            raise _Failed(f"duration ({duration}) must be longer than interval ({interval})")
        try:
            agent = self._client.get("/v1/agent/self")
        except ApiError as error:
            raise _Failed(f"error querying target agent: {error}. verify connectivity and agent address") from None
        version = (agent.get("Config") or {}).get("Version")
        debug_enabled = (agent.get("DebugConfig") or {}).get("EnableDebug")
        if not isinstance(version, str):
            raise _Failed("agent response did not contain version key")
        if not isinstance(debug_enabled, bool):
            raise _Failed("agent response did not contain debug key")
        if not debug_enabled and "pprof" in self.targets:
            self.targets = [target for target in self.targets if target != "pprof"]
            ui.error("[WARN] Unable to capture pprof. Set enable_debug to true on target agent to enable profiling.")
        for target in self.targets:
            if target not in TARGETS:
                raise _Failed(f"target not found: {target}")
        if os.path.exists(self._directory):
            raise _Failed(f"output directory already exists: {self._directory}")
        try:
            os.makedirs(self._directory, mode=0o755)
        except OSError as error:
            reason = describe(error, "mkdir", self._directory)
            raise _Failed(f"could not create output directory: {reason}") from None
        return version

    @property
    def _result(self) -> str:
        return self._directory + (EXTENSION if self._flags.archive.value else "")

    def announce(self, version: str) -> None:
        _output("Starting debugger and capturing static information...")
        _info(f" Agent Version: '{version}'")
        _info(f"      Interval: '{format_duration_ns(self._flags.interval.value)}'")
        _info(f"      Duration: '{format_duration_ns(self._flags.duration.value)}'")
        _info(f"        Output: '{self._result}'")
        _info(f"       Capture: '{', '.join(self.targets)}'")

    # -- what does not change --------------------------------------------------------------------

    def capture_static(self) -> None:
        asked = {
            "host": ("/v1/agent/host", {}),
            "agent": ("/v1/agent/self", {}),
            "cluster": ("/v1/agent/members", {"wan": "1"}),
        }
        problems = []
        for target, (path, parameters) in asked.items():
            if target not in self.targets:
                continue
            try:
                found = self._client.get(path, parameters)
            except ApiError as error:
                problems.append(str(error))
                found = None
            self._write(f"{target}.json", _indented(found if target == "cluster" else _sorted(found)))
        if problems:
            listed = "".join(f"\t* {problem}\n" for problem in problems)
            count = f"{len(problems)} error{'s' if len(problems) > 1 else ''} occurred"
            ui.error(f"Static capture failed: {count}:\n{listed}\n")

    # -- what does -------------------------------------------------------------------------------

    def capture_dynamic(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        end = time.monotonic() + self._flags.duration.value / SECOND_NS + GRACE_S
        _output(f"Beginning capture interval {_go_time(time.time_ns())} (0)")
        count = 0
        self._begin()
        while (left := end - time.monotonic()) > 0:
            try:
                kind, text = self._events.get(timeout=left)
            except queue.Empty:
                return
            if kind == "failed":
                _error(f"Capture failure {text}")
            elif kind == "stop":
                _error("Error encountered during collection: stopping collection due to shutdown signal")
                return
            else:
                count += 1
                _output(f"Capture successful {_go_time(int(text) * SECOND_NS)} ({count})")
                self._begin()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._events.put(("stop", ""))

    def _begin(self) -> None:
        threading.Thread(target=self._capture, daemon=True).start()

    def _capture(self) -> None:
        """One interval: everything that is wanted, at the same time."""
        timestamp = str(int(time.time()))
        jobs = {"metrics": self._capture_metrics, "pprof": self._capture_profiles, "logs": self._capture_log}
        threads = [
            threading.Thread(target=self._guarded, args=(job, timestamp), daemon=True)
            for target, job in jobs.items()
            if target in self.targets
        ]
        with self._writing:
            if self._ended:
                return
            os.makedirs(os.path.join(self._directory, timestamp), mode=0o755, exist_ok=True)
        until = time.monotonic() + self._flags.interval.value / SECOND_NS
        for thread in threads:
            thread.start()
        for thread, target in zip(threads, (t for t in jobs if t in self.targets), strict=True):
            # The log has no end: its lines are taken as long as the interval lasts.
            thread.join(max(0.0, until - time.monotonic()) if target == "logs" else None)
        time.sleep(max(0.0, until - time.monotonic()))
        self._events.put(("done", timestamp))

    def _guarded(self, job: Any, timestamp: str) -> None:
        try:
            job(timestamp)
        except (ApiError, OSError, ValueError) as error:
            self._events.put(("failed", str(error)))

    def _capture_metrics(self, timestamp: str) -> None:
        found = self._flags.agent.client().get("/v1/agent/metrics")
        self._write(f"{timestamp}/metrics.json", _indented(found))

    def _capture_profiles(self, timestamp: str) -> None:
        seconds = str(max(1, int(self._flags.interval.value / SECOND_NS)))
        heap = self._flags.agent.client().require_ok("GET", "/debug/pprof/heap").read()
        self._write(f"{timestamp}/heap.prof", heap)
        timed = [
            threading.Thread(target=self._guarded, args=(self._timed(kind, file, seconds), timestamp), daemon=True)
            for kind, file in (("profile", "profile.prof"), ("trace", "trace.out"))
        ]
        for thread in timed:
            thread.start()
        tasks = self._flags.agent.client().require_ok("GET", "/debug/pprof/goroutine").read()
        self._write(f"{timestamp}/goroutine.prof", tasks)
        for thread in timed:
            thread.join()

    def _timed(self, kind: str, file: str, seconds: str) -> Any:
        def job(timestamp: str) -> None:
            client = self._flags.agent.client()
            found = client.require_ok("GET", f"/debug/pprof/{kind}", {"seconds": seconds}).read()
            self._write(f"{timestamp}/{file}", found)

        return job

    def _capture_log(self, timestamp: str) -> None:
        until = time.monotonic() + self._flags.interval.value / SECOND_NS
        path = f"{timestamp}/consul.log"
        self._write(path, b"")
        for line in self._flags.agent.client().stream_lines("/v1/agent/monitor", {"loglevel": "DEBUG"}):
            if time.monotonic() > until:
                return
            self._write(path, line + b"\n", append=True)

    # -- files -----------------------------------------------------------------------------------

    def _write(self, name: str, data: bytes, append: bool = False) -> None:
        with self._writing:
            if not self._ended:  # what comes late would change files that are being packed
                with open(os.path.join(self._directory, name), "ab" if append else "wb") as file:
                    file.write(data)

    def finish(self, version: str) -> int:
        index = {
            "Version": FORMAT_VERSION,
            "AgentVersion": version,
            "Interval": format_duration_ns(self._flags.interval.value),
            "Duration": format_duration_ns(self._flags.duration.value),
            "Targets": self.targets,
        }
        try:
            self._write("index.json", _indented(index))
        except OSError as error:
            _error(f"Error creating index document: {describe(error, 'open', f'{self._directory}/index.json')}")
            return 1
        with self._writing:
            self._ended = True
        if self._flags.archive.value:
            try:
                self._pack()
            except OSError as error:
                ui.error(f"Archive creation failed: {error}")
                return 1
        _info(f"Saved debug archive: {self._result}")
        return 0

    def _pack(self) -> None:
        """One file of the directory, which goes."""
        parent = os.path.dirname(self._result) or "."
        descriptor, temporary = tempfile.mkstemp(prefix=f"{os.path.basename(self._result)}.tmp", dir=parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with tarfile.open(fileobj=file, mode="w:gz") as tar:
                    tar.add(self._directory, arcname=os.path.basename(self._directory.rstrip("/")))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._result)
        except OSError:
            os.unlink(temporary)
            raise
        shutil.rmtree(self._directory)


def _indented(value: Any) -> bytes:
    return go.dumps_indent(value, "\t").encode()


def _sorted(value: Any) -> Any:
    """Maps in the order Go writes them in."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _go_time(at_ns: int) -> str:
    """As Go prints a local time: "2026-11-21 06:45:00.4668 +0000 UTC"."""
    seconds, rest = divmod(at_ns, SECOND_NS)
    local = time.localtime(seconds)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return time.strftime("%Y-%m-%d %H:%M:%S", local) + fraction + time.strftime(" %z %Z", local)
