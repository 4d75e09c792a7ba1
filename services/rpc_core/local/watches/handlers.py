"""Handlers: a program that gets what has changed on its standard input, or an HTTP request that carries it."""

from __future__ import annotations

import subprocess
from typing import Any

import trio

from services.rpc_core.local import programs
from services.rpc_core.local.checks.http_client import FetchError, fetch, new_request
from services.rpc_core.local.checks.output import OutputBuffer
from services.rpc_core.local.checks.tls import CheckTls
from shared.config.runtime import RuntimeConfig
from shared.gotext.processes import StartError, exit_text
from shared.log import get_logger
from shared.structs import gojson
from shared.watch_plan.http_handler import HttpHandler

_log = get_logger("agent")

OUTPUT_BYTES_MAX = 4096
"""Of a handler's output the end is logged."""


async def run_program(handler: str | list[str], index: int, data: Any) -> None:
    """handler: a command line for the shell, or a program and its arguments. Returns when the program has ended and
    nobody holds its output any more; there is no limit to that, as in Consul. Failures are logged."""
    if isinstance(handler, str):
        command = [programs.shell(), "-c", handler]
    else:
        command = handler
    if not command:
        _log.error("Failed to setup watch", error="need an executable to run")
        return
    output = OutputBuffer(OUTPUT_BYTES_MAX)
    problem = await _run(command, index, gojson.dumps(data) + b"\n", output)
    if problem:
        _log.error("Failed to run watch handler", watch_handler=handler, error=problem)
    _log.debug("watch handler output", watch_handler=handler, output=output.text_and_loss())


async def _run(command: list[str], index: int, given: bytes, output: OutputBuffer) -> str:
    """What went wrong, "" if nothing."""
    try:
        process = await programs.start(
            command, stdin=subprocess.PIPE, variables={"CONSUL_INDEX": str(index)}, own_group=False
        )
    except StartError as error:
        return str(error)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_feed, process, given)
            assert process.stdout is not None
            async for part in process.stdout:
                output.write(part)
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    return exit_text(code)


async def _feed(process: trio.Process, given: bytes) -> None:
    assert process.stdin is not None
    async with process.stdin:
        try:
            await process.stdin.send_all(given)
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()  # it does not want to know


async def send_request(handler: HttpHandler, config: RuntimeConfig, index: int, data: Any) -> None:
    """Failures are logged."""
    headers = {"Content-Type": ["application/json"], "X-Consul-Index": [str(index)]}
    for name, values in handler.headers.items():
        headers.setdefault(_canonical(name), []).extend(map(str, values))
    headers.setdefault("User-Agent", ["Go-http-client/1.1"])
    output = OutputBuffer(OUTPUT_BYTES_MAX)
    try:
        request = new_request(handler.method, handler.url, headers, gojson.dumps(data) + b"\n")
    except FetchError as error:
        _log.error("Failed to setup http watch", error=str(error))
        return
    try:
        head = await fetch(request, CheckTls(config, handler.tls_skip_verify), output, handler.timeout_s)
    except FetchError as error:
        _log.error("Failed to invoke http watch handler", watch=handler.url, error=str(error))
        return
    text = output.text_and_loss()
    if 200 <= head.status <= 299:
        _log.trace("http watch handler output", watch=handler.url, output=text)
    else:
        _log.error("http watch handler failed with output", watch=handler.url, status=head.status_text, output=text)


def _canonical(name: str) -> str:
    """As Go spells header fields."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))
