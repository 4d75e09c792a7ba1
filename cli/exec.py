"""`exec`: run a command on many nodes, through the KV store, a session and a user event."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import sys
import threading
import time

from cli.base import gojson, ui
from cli.base.errors import ApiError
from cli.base.flags import BoolFlag, DurationFlag, FlagSet, StringFlag
from cli.base.http import QueryFlags
from cli.base.node_filter import filter_complaint
from cli.base.usage import usage
from cli.exec_results import Ack, Exit, Heartbeat, Output, Results, TargetedText
from cli.locking.kv import KV, Pair, join
from cli.locking.session import SessionExpired, create_session, destroy_session, renew_session
from shared.gotext.json_syntax import JsonSyntaxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from cli.base.client import Client
    from cli.exec_results import Event

NAME = "exec"
SYNOPSIS = "Run a command on nodes of the cluster"

PREFIX = "_rexec"
EVENT = "_rexec"
JOB = "job"
REPLICATION_WAIT_NS = 200_000_000
QUIET_WAIT_NS = 2_000_000_000
SESSION_TTL = "15s"
RENEW_INTERVAL_S = 5.0
BAD_EXIT = 2


class Flags(FlagSet):
    def __init__(self) -> None:
        self.node = StringFlag("node", "Only nodes whose name matches this regular expression.")
        self.prefix = StringFlag("prefix", "Where in the KV store job and results are kept.", PREFIX)
        self.service = StringFlag("service", "Only nodes with a service that matches this regular expression.")
        self.shell = BoolFlag("shell", "Run the command in a shell.", True)
        self.tag = StringFlag("tag", "Only if a tag of that service matches this regular expression; with -service.")
        self.verbose = BoolFlag("verbose", "Tell what is being done.")
        self.wait = DurationFlag("wait", "No answer for so long means that all have answered.", QUIET_WAIT_NS)
        self.wait_repl = DurationFlag(
            "wait-repl",
            "Time for the job to get to all servers before nodes are told of it, so that any server can serve them.",
            REPLICATION_WAIT_NS,
        )
        self.agent = QueryFlags()


def HELP() -> str:
    return usage(
        """
Usage: proconsul exec [options] [-|command...]

  Runs a command on all nodes of the cluster, or on those that the filters let
  through, and shows what it prints there. With - as the command, standard input
  is a script to be run. Nodes take part only if their agents are configured to
  (disable_remote_exec is true by default).
""",
        Flags(),
    )


def run(argv: list[str]) -> int:
    flags = Flags()
    arguments = flags.parse(argv)
    spec: dict[str, Any] = {}
    if arguments == ["-"]:
        if not flags.shell.value:
            ui.error("Cannot configure -shell=false when reading from stdin")
            return 1
        spec["Script"] = sys.stdin.buffer.read()
    elif flags.shell.value:
        spec["Command"] = " ".join(arguments)
    else:
        spec["Args"] = arguments
    if not any(spec.values()):
        for text in ("Must specify a command to execute", "", HELP()):
            ui.error(text)
        return 1
    if complaint := filter_complaint(flags.node, flags.service, flags.tag):
        ui.error(complaint)
        return 1
    client = flags.agent.client()
    try:
        here = client.get("/v1/agent/self")["Config"]
    except ApiError as error:
        ui.error(f"Error querying Consul agent: {error}")
        return 1
    with contextlib.ExitStack() as cleanup:
        return _Execution(flags, client, here).run(spec, cleanup)


class _Failed(Exception):
    """The text says what could not be done."""


class _Execution:
    """One job from its upload to the last answer. here: configuration of the agent asked."""

    def __init__(self, flags: Flags, client: Client, here: dict[str, Any]) -> None:
        self._flags, self._client, self._here = flags, client, here
        self._kv = KV(client)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._session = ""
        self._directory = ""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._events.put(None)

    def _tell(self, text: str) -> None:
        if self._flags.verbose.value:
            ui.output(text, flush=True)

    def run(self, spec: dict[str, Any], cleanup: contextlib.ExitStack) -> int:
        """The exit status. What is left behind is removed by `cleanup`."""
        try:
            self._create_session()
            cleanup.callback(self._end_session)
            self._upload(spec)
            cleanup.callback(self._remove_data)
            # Results that come later than this are refused: the session they would be written for has ended.
            cleanup.callback(self._end_session)
            with contextlib.suppress(queue.Empty):
                self._events.get(timeout=max(self._flags.wait_repl.value, 0) / 1e9)
                return 1
            self._fire()
        except _Failed as failed:
            ui.error(str(failed))
            return 1
        results = Results(KV(self._flags.agent.client()), self._directory, self._flags.wait.value, self._events.put)
        cleanup.callback(results.stop)
        results.start()
        return self._wait()

    # -- the job -------------------------------------------------------------------------------------

    def _create_session(self) -> None:
        """Raises _Failed."""
        fields: dict[str, Any] = {"Name": "Remote Exec", "Behavior": "delete", "TTL": SESSION_TTL}
        datacenter = self._flags.agent.datacenter.value
        try:
            if datacenter and datacenter != self._here["Datacenter"]:
                self._tell("Remote exec in foreign datacenter, using Session TTL")
                fields.update(self._foreign_node(datacenter))
            self._session = create_session(self._client, fields)
        except (ApiError, _Failed) as error:
            raise _Failed(f"Failed to create session: {error}") from None
        self._directory = join(self._flags.prefix.value, self._session)
        threading.Thread(target=self._renew, name="renew session", daemon=True).start()
        self._tell(f"Created remote execution session: {self._session}")

    def _foreign_node(self, datacenter: str) -> dict[str, Any]:
        """The agent's node is unknown elsewhere: a server there has to stand in. Raises ApiError, _Failed."""
        missing = "Failed to find Consul server in remote datacenter"
        try:
            servers = self._client.get("/v1/health/service/consul", {"passing": "1"})
        except ApiError as error:
            raise _Failed(f"{missing}: {error}") from None
        if not servers:
            raise _Failed(missing)
        node = servers[0]["Node"]["Node"]
        self._tell(f"Binding session to remote node {node}@{datacenter}")
        name = f"Remote Exec via {self._here['NodeName']}@{self._here['Datacenter']}"
        return {"Name": name, "Node": node, "NodeChecks": []}

    def _renew(self) -> None:
        client = self._flags.agent.client()
        while not self._ended.wait(RENEW_INTERVAL_S):
            try:
                renew_session(client, self._session)
            except SessionExpired:
                continue
            except ApiError as error:
                ui.error(f"Session renew failed: {error}")
                return

    def _upload(self, spec: dict[str, Any]) -> None:
        """Raises _Failed."""
        given = {name: value for name, value in spec.items() if value}
        if script := given.get("Script"):
            import base64

            given["Script"] = base64.b64encode(script).decode()
        body = json.dumps({**given, "Wait": self._flags.wait.value}, separators=(",", ":")).encode()
        job = Pair(join(self._flags.prefix.value, self._session, JOB), body, session=self._session)
        try:
            if not self._kv.acquire(job):
                raise _Failed(f"Failed to create job file: failed to acquire key {job.key}")
        except ApiError as error:
            raise _Failed(f"Failed to create job file: {error}") from None
        self._tell("Uploaded remote execution spec")

    def _fire(self) -> None:
        """Raises _Failed."""
        flags = self._flags
        filters = {"node": flags.node.value, "service": flags.service.value, "tag": flags.tag.value}
        params = {name: value for name, value in filters.items() if value}
        payload = json.dumps({"Prefix": flags.prefix.value, "Session": self._session}, separators=(",", ":"))
        try:
            answer = self._client.put(f"/v1/event/fire/{EVENT}", params, payload.encode())
            event_id = gojson.decode_first(answer)["ID"]
        except (ApiError, JsonSyntaxError) as error:
            raise _Failed(f"Failed to fire event: {error}") from None
        self._tell(f"Fired remote execution event: {event_id}")

    def _end_session(self) -> None:
        self._ended.set()
        with contextlib.suppress(ApiError):
            destroy_session(self._client, self._session)

    def _remove_data(self) -> None:
        with contextlib.suppress(ApiError):
            self._kv.delete_tree(self._directory)

    # -- the answers ---------------------------------------------------------------------------------

    def _wait(self) -> int:
        """Until nothing has come for a while, twice as long if nodes are known to be at work."""
        started_s = time.monotonic()
        acknowledged = completed = bad = 0
        while True:
            wait_s = self._flags.wait.value / 1e9 * (2 if acknowledged > completed else 1)
            try:
                event = self._events.get(timeout=max(wait_s, 0))
            except queue.Empty:
                break
            if event is None:
                return 1
            if isinstance(event, Ack):
                acknowledged += 1
                self._tell_of(event.node, "acknowledged")
            elif isinstance(event, Heartbeat):
                self._tell_of(event.node, "heartbeat received")
            elif isinstance(event, Output):
                ui.output(TargetedText(event.node).output(event.data), flush=True)
            elif isinstance(event, Exit):
                completed += 1
                bad += event.code != 0
                ui.output(TargetedText(event.node).info(f"finished with exit code {event.code}"), flush=True)
        ui.output(f"{completed} / {acknowledged} node(s) completed / acknowledged")
        self._tell(f"Completed in {time.monotonic() - started_s:.2f} seconds")
        return BAD_EXIT if bad or completed < acknowledged else 0

    def _tell_of(self, node: str, text: str) -> None:
        if self._flags.verbose.value:
            ui.output(TargetedText(node).info(text), flush=True)
