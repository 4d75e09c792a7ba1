"""A component that does nothing: stands in for a real one where only its process matters.

    python toy_component.py NAME --config FILE

Its behaviour is in `<run_dir>/toy.json`: {NAME: {"fail": text, "ready_after_s": x, "ignore_term": true, ...}}.
`"ready_when": name` waits for a file of this name in the run directory. `"refuse_level": level` refuses a reload
with that log level."""

from __future__ import annotations

import json
import os
import sys
import time

import trio

from shared.config.runtime import RuntimeConfig
from shared.ipc import RemoteError, Request, Server
from shared.service import ReloadRefusedError, ServiceContext, StartError, run_service

NAME = sys.argv[1]


async def main(ctx: ServiceContext) -> None:
    behaviour = _behaviour(ctx.config)
    if behaviour.get("print"):
        print(behaviour["print"], file=sys.stderr)
    if behaviour.get("exit_early"):
        os._exit(7)
    await ctx.wait_turn()
    log = ctx.logger(f"agent.toy.{NAME}")
    log.debug("turn has come")
    if behaviour.get("fail"):
        raise StartError(behaviour["fail"])
    if behaviour.get("crash"):
        raise RuntimeError("a bug")
    await trio.sleep(behaviour.get("ready_after_s", 0))
    while "ready_when" in behaviour and not await trio.Path(ctx.config.run_dir, behaviour["ready_when"]).exists():
        await trio.sleep(0.01)

    def reloaded(config: RuntimeConfig) -> None:
        log.info("reloaded", level=config.log_level)
        if config.log_level == behaviour.get("refuse_level"):
            raise ReloadRefusedError(f"Failed reloading {NAME}:\n{config.log_level} is not for me")

    ctx.on_reload(reloaded)
    async with trio.open_nursery() as nursery:
        if NAME == "rpc_core":
            await nursery.start(_serve(ctx.config, behaviour).run)
        log.info("ready")
        ctx.ready()
        try:
            await trio.sleep_forever()
        finally:
            log.info("stopping")
            if behaviour.get("ignore_term"):
                time.sleep(60)  # noqa: ASYNC251 - a component that hangs is the point


def _serve(config: RuntimeConfig, behaviour: dict[str, object]) -> Server:
    async def leave(_: Request) -> None:
        if behaviour.get("leave") == "hang":
            await trio.sleep_forever()

    async def join(request: Request) -> int:
        if "nobody" in request.payload["addresses"]:
            raise RemoteError("rpc", "1 error occurred: nobody there")
        return len(request.payload["addresses"])

    server = Server(config.socket_path("rpc"), name="rpc_core")
    server.slow("Agent.Leave", leave)
    server.slow("Agent.Join", join)
    server.fast("Agent.StartSync", lambda request: request.reply())
    return server


def _behaviour(config: RuntimeConfig) -> dict[str, object]:
    try:
        with open(f"{config.run_dir}/toy.json", encoding="utf-8") as file:
            return dict(json.load(file).get(NAME, {}))
    except FileNotFoundError:
        return {}


if __name__ == "__main__":
    run_service(NAME, main, sys.argv[2:])
