"""Docker checks: a program is run in a container over Docker's API; its exit code and output count as a script's."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import quote_plus

import trio

from services.rpc_core.local.checks.dial import DialError, dial_tcp, dial_unix
from services.rpc_core.local.checks.http_client import READ_BYTES, connection_ends, read_head, send_request
from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.periodic import Result
from services.rpc_core.local.checks.response import ResponseError, ResponseReader
from services.rpc_core.local.checks.url import UrlError, parse
from shared.gotext.quoting import quote
from shared.log import TRACE, get_logger
from shared.structs.catalog import CRITICAL, PASSING, WARNING
from shared.structs.proxy import CheckType

_log = get_logger("agent")

DEFAULT_HOST = "unix:///var/run/docker.sock"
DEFAULT_TIMEOUT_S = 300.0
"""For all three calls together. Consul waits for ever; a daemon that hangs would then hide that the check does not
run, so a check that takes this long is critical."""
ANSWER_BYTES_MAX = 65536
_STATUSES = {0: PASSING, 1: WARNING}


class DockerError(Exception):
    """The daemon did not do it; the text is the check's output."""


class _CallError(Exception):
    """A call to the daemon brought no answer."""


class DockerHost:
    """Where the daemon is. Raises DockerError for an address that is none."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.protocol, mark, self.address = host.partition("://")
        if not mark:
            raise DockerError(f"unable to parse docker host `{host}`")
        if self.protocol == "tcp":
            try:
                url = parse(host)
            except UrlError as error:
                raise DockerError(str(error)) from None
            self.address = url.host

    async def connect(self, timeout_s: float) -> trio.SocketStream:
        """Raises DialError."""
        if self.protocol == "unix":
            return await dial_unix(self.address, timeout_s)
        return await dial_tcp(self.address, timeout_s)


class DockerProbe:
    """Runs the program of one check in its container."""

    def __init__(self, check: CheckType, output_bytes: int, host: DockerHost | None = None) -> None:
        self._check = check
        self._output_bytes = output_bytes
        self._host = host or DockerHost(os.environ.get("DOCKER_HOST") or DEFAULT_HOST)
        self._timeout_s = check.timeout / 1e9 if check.timeout > 0 else DEFAULT_TIMEOUT_S

    async def __call__(self) -> Result:
        check = self._check
        try:
            with trio.fail_after(self._timeout_s):
                code, output = await self._run(check.docker_container_id)
        except (DockerError, trio.TooSlowError) as error:
            text = "context deadline exceeded" if isinstance(error, trio.TooSlowError) else str(error)
            _log.debug("Check failed", check=check.check_id, error=text)
            return Result(CRITICAL, text)
        text = output.text_and_loss()
        if _log.enabled(TRACE):
            _log.trace("Check output", check=check.check_id, output=text)
        if code:
            _log.debug("Check failed", check=check.check_id, exit_code=code)
        return Result(_STATUSES.get(code, CRITICAL), text)

    async def _run(self, container: str) -> tuple[int, OutputBuffer]:
        """The exit code and the output. Raises DockerError."""
        exec_id = await self._create(container)
        output = await self._start(container, exec_id)
        return await self._inspect(container, exec_id), output

    async def _create(self, container: str) -> str:
        wanted = {
            "AttachStdin": False,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": False,
            "Cmd": self._check.script_args,
        }
        try:
            status, answer = await self._call("POST", f"/containers/{quote_plus(container)}/exec", wanted)
        except _CallError as error:
            raise DockerError(f"create exec failed for container {container}: {error}") from None
        if status == 201:
            found = _field(answer, "Id")
            if not isinstance(found, str):
                raise DockerError(f"create exec response for container {container} cannot be parsed: no Id")
            return found
        if status == 404:
            raise DockerError(f"create exec failed for unknown container {container}")
        if status == 409:
            raise DockerError(f"create exec failed since container {container} is paused or stopped")
        raise DockerError(f"create exec failed for container {container} with status {status}: {answer.text()}")

    async def _start(self, container: str, exec_id: str) -> OutputBuffer:
        try:
            status, output = await self._call(
                "POST", f"/exec/{exec_id}/start", {"Detach": False, "Tty": True}, self._output_bytes
            )
        except _CallError as error:
            raise DockerError(f"start exec failed for container {container}: {error}") from None
        if status == 200:
            return output
        if status == 404:
            raise DockerError(f"start exec failed for container {container}: invalid exec id {exec_id}")
        if status == 409:
            raise DockerError(f"start exec failed since container {container} is paused or stopped")
        raise DockerError(
            f"start exec failed for container {container} with status {status}: body: {output.text()} err: <nil>"
        )

    async def _inspect(self, container: str, exec_id: str) -> int:
        try:
            status, answer = await self._call("GET", f"/exec/{exec_id}/json", None)
        except _CallError as error:
            raise DockerError(f"inspect exec failed for container {container}: {error}") from None
        if status == 200:
            code = _field(answer, "ExitCode")
            if code is not None and not isinstance(code, int):
                raise DockerError(f"inspect exec response for container {container} cannot be parsed: no ExitCode")
            return code or 0
        if status == 404:
            raise DockerError(f"inspect exec failed for container {container}: invalid exec id {exec_id}")
        raise DockerError(f"inspect exec failed for container {container} with status {status}: {answer.text()}")

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None, limit: int = ANSWER_BYTES_MAX
    ) -> tuple[int, OutputBuffer]:
        """Status and the end of the body. Raises _CallError."""
        host = self._host
        name = "docker" if host.protocol == "unix" else host.address
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode("utf-8") + b"\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: Go-http-client/1.1\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Length: {len(data)}\r\nContent-Type: application/json\r\n"
        reader, output = ResponseReader(method), OutputBuffer(limit)
        shown = quote(f"http://{percent_encode(host.address, safe=':')}{path}")
        verb = method.capitalize()
        try:
            stream = await host.connect(self._timeout_s)
        except DialError as error:
            raise _CallError(f"{verb} {shown}: {error}") from None
        async with stream:
            await send_request(stream, head.encode() + b"\r\n" + data)
            try:
                output.write(await read_head(stream, reader, connection_ends(stream)))
            except ResponseError as error:
                raise _CallError(f"{verb} {shown}: {error}") from None
            await _read_rest(stream, reader, output)
        if reader.broken:
            raise _CallError(reader.broken)
        assert reader.head is not None
        return reader.head.status, output


async def _read_rest(stream: trio.SocketStream, reader: ResponseReader, output: OutputBuffer) -> None:
    """The daemon resets some connections after it has said everything: that is an end like any other."""
    while not reader.done:
        try:
            data = await stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError:
            return
        if not data:
            reader.end()
            return
        output.write(reader.feed(bytes(data)))


def _field(answer: OutputBuffer, name: str) -> Any:
    try:
        found = json.loads(answer.text())
    except (ValueError, RecursionError):
        return None
    return found.get(name) if isinstance(found, dict) else None
