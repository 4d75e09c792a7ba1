"""Remote execution: the answer of this node to a `consul exec` anywhere in the datacenter.

The event names a place in the KV store. The job lies there; acknowledgement, output and exit code are written beside
it, locked for the session of whoever asked: once that session has ended nothing more can be written.

<prefix>/<session>/job                   what to run
<prefix>/<session>/<node>/ack            this node has begun
<prefix>/<session>/<node>/out/%05x       output piece by piece; an empty one says that the program still runs
<prefix>/<session>/<node>/exit           its exit code"""

from __future__ import annotations

import contextlib
import math
import os
import posixpath
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

import trio

from services.rpc_core.agent_core import AgentCore
from services.rpc_core.errors import RpcError
from services.rpc_core.local import programs
from services.rpc_core.local.events import REMOTE_EXEC
from services.rpc_core.local.user_event import UserEvent
from services.rpc_core.replies import reading
from shared.config.runtime import RuntimeConfig
from shared.gotext.processes import StartError
from shared.log import get_logger
from shared.structs import gojson
from shared.structs.errors import JsonError
from shared.structs.kv import LOCK, DirEntry
from shared.structs.schema import BYTES, DURATION, STR, STRS, Struct, attr

_log = get_logger("agent")

JOBS_WAITING_MAX = 64
JOBS_RUNNING_MAX = 64
"""At the same time; further ones wait. Consul has no such limit."""
OUTPUT_BYTES = 4096
"""Size of a piece of output."""
OUTPUT_IDLE_S = 0.5
"""A smaller piece is written when the program has been silent for so long."""
HEARTBEAT_S_MIN = 0.1
START_FAILED = 255

Call = Callable[[str, Any], Awaitable[Any]]


class JobPlace(Struct):
    """The event's payload."""

    go_name = "remoteExecEvent"
    json_strict = False

    prefix: str = attr("Prefix", STR)
    session: str = attr("Session", STR)


class Job(Struct):
    """What to run: `args` directly, a script or a command in a shell. wait: nanoseconds between signs of life."""

    go_name = "remoteExecSpec"
    json_strict = False

    command: str = attr("Command", STR)
    args: list[str] | None = attr("Args", STRS)
    script: bytes | None = attr("Script", BYTES)
    wait: int = attr("Wait", DURATION)


class _Failed(Exception):
    """The job cannot go on; it was said why."""


class RemoteExec:
    """One per agent: `received` takes the events, `run` does what they ask for."""

    def __init__(self, core: AgentCore, call: Call) -> None:
        """call: Consul's RPC methods by name, wherever they are answered."""
        self._core, self._call = core, call
        self._events_in, self._events_out = trio.open_memory_channel[UserEvent](JOBS_WAITING_MAX)

    def received(self, event: UserEvent) -> None:
        """For `Events.on_event`. Events of other names are none of ours."""
        if event.name == REMOTE_EXEC:
            try:
                self._events_in.send_nowait(event)
            except trio.WouldBlock:
                _log.error("too many remote exec jobs are waiting", id=event.id)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; programs that run then are killed."""
        task_status.started()
        room = trio.Semaphore(JOBS_RUNNING_MAX)
        async with trio.open_nursery() as nursery:
            async for event in self._events_out:
                await room.acquire()
                nursery.start_soon(self._run_one, event, room)

    async def _run_one(self, event: UserEvent, room: trio.Semaphore) -> None:
        try:
            await _Run(self._core.config, self._call, event).run()
        finally:
            room.release()


class _Run:
    """One job. Nothing that goes wrong with it reaches beyond it."""

    def __init__(self, config: RuntimeConfig, call: Call, event: UserEvent) -> None:
        self._config, self._call, self._event = config, call, event
        self._directory = ""
        self._session = ""

    async def run(self) -> None:
        """Until the program has ended and its exit code is written, or nothing can be written any more."""
        try:
            await self._perform()
        except Exception as error:  # a bug met by one job must not end the agent's other work
            _log.error("remote exec job failed", id=self._event.id, error=repr(error))

    async def _perform(self) -> None:
        _log.debug("received remote exec event", id=self._event.id)
        try:
            job = await self._accept()
        except _Failed:
            return
        code = START_FAILED
        try:
            with _script_file(job.script) as script:
                code = await self._execute(job, script)
        except _Failed:
            pass
        except OSError as error:
            _log.debug("failed to make tmp file", error=str(error))
        with contextlib.suppress(_Failed):
            await self._write("exit", b"%d" % code, "failed to write exit code for remote exec job")

    async def _accept(self) -> Job:
        try:
            place = JobPlace.from_json(gojson.loads(self._event.payload or b""))
        except JsonError as error:
            _log.error("failed to decode remote exec event", error=str(error))
            raise _Failed from None
        self._session = place.session
        self._directory = posixpath.normpath("/".join(part for part in (place.prefix, place.session) if part))
        job = await self._fetch()
        await self._write("ack", None, "failed to ack remote exec job")
        return job

    async def _fetch(self) -> Job:
        """The job, from any server; from the leader if it has not got there yet."""
        for stale in (True, False):
            key = f"{self._directory}/job"
            query = {"Datacenter": self._config.datacenter, "Key": key, "AllowStale": stale, "Token": self._token()}
            try:
                reply = await self._call("KVS.Get", query)
                with reading("KVS.Get"):
                    entries = [DirEntry.from_wire(each) for each in reply["Entries"] or ()]
            except RpcError as error:
                _log.error("failed to get remote exec job", error=str(error))
                raise _Failed from None
            if entries:
                break
            if stale:
                _log.debug("trying consistent fetch of remote exec job spec")
        else:
            _log.debug("remote exec aborted, job spec missing")
            raise _Failed
        try:
            return Job.from_json(gojson.loads(entries[0].value or b""))
        except JsonError as error:
            _log.error("failed to decode remote exec spec", error=str(error))
            raise _Failed from None

    def _token(self) -> str:
        tokens = self._config.acl.tokens
        return tokens.agent or tokens.default

    async def _write(self, name: str, value: bytes | None, failure: str) -> None:
        """Write one of our keys for the session. Raises _Failed, after saying `failure`."""
        entry = {"Key": f"{self._directory}/{self._config.node_name}/{name}", "Value": value, "Session": self._session}
        request = {"Datacenter": self._config.datacenter, "Op": LOCK, "DirEnt": entry, "Token": self._token()}
        try:
            if await self._call("KVS.Apply", request):
                return
            reason = "write failed"
        except RpcError as error:
            reason = str(error)
        _log.error(failure, error=reason)
        raise _Failed

    async def _execute(self, job: Job, script: str) -> int:
        """Run it and write its output; the exit code, -1 if a signal ended it. Raises _Failed."""
        command = script or job.command
        _log.info("remote exec script", script=command)
        try:
            process = await programs.start(job.args or [programs.shell(), "-c", command])
        except StartError as error:
            _log.debug("failed to start remote exec", error=str(error))
            return START_FAILED
        ended = False
        try:
            assert process.stdout is not None
            number = 0
            async with contextlib.aclosing(_pieces(process.stdout, max(job.wait / 1e9, HEARTBEAT_S_MIN))) as pieces:
                async for piece in pieces:
                    name = f"out/{number:05x}"
                    await self._write(name, piece or None, "failed to write output for remote exec job")
                    number += 1
            code = await process.wait()
            ended = True
            return max(code, -1)
        finally:
            if not ended:
                await programs.end(process)


@contextlib.contextmanager
def _script_file(script: bytes | None) -> Iterator[str]:
    """Name of an executable file with the script while it is needed, "" without one. Raises OSError."""
    if not script:
        yield ""
        return
    import tempfile

    handle, path = tempfile.mkstemp(prefix="rexec")
    try:
        os.fchmod(handle, 0o750)
        with open(handle, "wb") as file:
            file.write(script)
        yield path
    finally:
        os.unlink(path)


async def _pieces(stream: trio.abc.ReceiveStream, heartbeat_s: float) -> AsyncGenerator[bytes, None]:
    """Output in pieces of OUTPUT_BYTES, a smaller one after a silence; b"" whenever there was none for a while."""
    waiting = bytearray()
    given_at = heard_at = trio.current_time()
    while True:
        silent_at = heard_at + OUTPUT_IDLE_S if waiting else math.inf
        data = None
        with trio.move_on_at(min(silent_at, given_at + heartbeat_s)):
            data = await stream.receive_some(OUTPUT_BYTES)
        now = trio.current_time()
        if data is None:
            silent = now >= silent_at
            yield bytes(waiting) if silent else b""
            if silent:
                waiting.clear()
            given_at = trio.current_time()
            continue
        waiting += data
        heard_at = now
        while len(waiting) >= OUTPUT_BYTES or (waiting and not data):
            yield bytes(waiting[:OUTPUT_BYTES])
            del waiting[:OUTPUT_BYTES]
            given_at = trio.current_time()
        if not data:
            return
