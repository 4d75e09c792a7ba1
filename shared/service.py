"""The frame every service process runs in: one `trio.run`, signals, logging, readiness, reload, watchdog.

    async def main(ctx: ServiceContext) -> None:
        await ctx.wait_turn()                 # before opening listeners
        ... open listeners ...
        ctx.ready()
        await trio.sleep_forever()            # cancelled on SIGTERM or SIGINT

    if __name__ == "__main__":
        run_service("dns_frontend", main)

The same process runs below our supervisor, as a `Type=notify` unit of systemd, under supervisord or by hand."""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import NoReturn

import trio

from shared import log, metrics, notify
from shared.config import runtime
from shared.config.runtime import RuntimeConfig

START_FD_VARIABLE = "PROCONSUL_START_FD"
SUPERVISOR_PID_VARIABLE = "PROCONSUL_SUPERVISOR_PID"
START_ERROR_FIELD = "X_START_ERROR"
"""Field of a notification to our supervisor: why the service cannot start, in one text."""
RELOAD_ERROR_FIELD = "X_RELOAD_ERROR"
"""The same for a reloaded configuration that a part of the service refuses."""

EXIT_OK, EXIT_START_FAILED, EXIT_CRASHED = 0, 1, 2
STOP_GRACE_S = 5.0
"""How long the callbacks of `on_stop`, and then the service's own cleaning up, may take."""

_PR_SET_PDEATHSIG = 1

ReloadCallback = Callable[[RuntimeConfig], object]
StopCallback = Callable[[], Awaitable[object]]
Main = Callable[["ServiceContext"], Awaitable[None]]


class StartError(Exception):
    """The service cannot start, and the reason is not a bug: port in use, directory not writable, bad file.

    The text is all the user sees; it says what to change."""


class ReloadRefusedError(Exception):
    """A part of the service cannot take over a reloaded configuration; the text is what the user has to see."""


class ServiceContext:
    """What a service may ask of the process it runs in."""

    def __init__(self, name: str, config_path: str, config: RuntimeConfig, *, supervised: bool = False) -> None:
        self.name = name
        self.supervised = supervised
        """Whether our supervisor started this process, and not systemd, supervisord or a person."""
        self.config_path = config_path
        self.config = config
        self.is_ready = False
        self.stopping = trio.Event()
        """Set when a stop was asked for, before anything is cancelled."""
        self._on_reload: list[ReloadCallback] = []
        self._on_stop: list[StopCallback] = []

    def logger(self, name: str) -> log.Logger:
        return log.get_logger(name)

    async def wait_turn(self) -> None:
        """Wait until the supervisor opens the start gate; at once when there is none.

        All processes of an agent start together, so that their imports overlap, and pass this point in the
        order of stages. Call it before opening any listener."""
        number = os.environ.pop(START_FD_VARIABLE, None)
        if number is None:
            return
        gate = int(number)
        try:
            await trio.lowlevel.wait_readable(gate)
            if not os.read(gate, 1):  # the supervisor went away before our turn
                raise StartError("the supervisor ended during the start")
        finally:
            os.close(gate)

    def ready(self, status: str = "serving") -> None:
        """Tell the manager that this service serves. The next stage starts on it."""
        if not self.is_ready:
            gc.freeze()  # modules and tables live as long as the process: no collection need look at them again
        self.is_ready = True
        log.flush()  # what the start had to say comes before what the next stage says
        notify.notify("READY=1", f"STATUS={status}")

    def status(self, text: str, extend_start_s: float = 0.0) -> None:
        """One line for `systemctl status`. extend_start_s: a start that takes long may take so much more."""
        extension = (f"EXTEND_TIMEOUT_USEC={int(extend_start_s * 1_000_000)}",) if extend_start_s else ()
        notify.notify(f"STATUS={text}", *extension)

    def on_reload(self, callback: ReloadCallback) -> None:
        """`callback(new_config)`, plain or async, on SIGHUP. `ctx.config` is the new one already.

        A callback may raise ReloadRefusedError: whoever asked for the reload gets its text, and our supervisor gives
        everyone the old configuration back. Callbacks run in the order in which they were added."""
        self._on_reload.append(callback)

    def on_stop(self, callback: StopCallback) -> None:
        """`await callback()` when a stop is asked for, before `main` is cancelled; the last added runs first."""
        self._on_stop.append(callback)

    async def reload(self) -> None:
        """Load the config file again and tell everyone. A file that cannot be read changes nothing."""
        notify.notify_reloading()
        refused: list[str] = []
        try:
            self.config = runtime.load(self.config_path)
            if not self.supervised:  # else the supervisor sends the level
                log.set_level(log.parse_level(self.config.log_level))
            metrics.apply(self.config.telemetry)
            for callback in self._on_reload:
                try:
                    result = callback(self.config)
                    if inspect.isawaitable(result):
                        await result
                except ReloadRefusedError as error:
                    refused.append(str(error))
        except runtime.ConfigFileError as error:
            log.get_logger("agent").error("Reload config failed", error=error)
        except Exception as error:  # a setting one part cannot take over must not end the whole service
            log.get_logger("agent").error("Reload config failed", component=self.name, error=repr(error))
        finally:
            if refused and not self.supervised:
                log.get_logger("agent").error("Reload config failed", error=refused[0])
            if self.is_ready:
                notify.notify("READY=1", *(f"{RELOAD_ERROR_FIELD}={_one_line(text)}" for text in refused[:1]))

    async def _stop(self) -> None:
        self.stopping.set()
        notify.notify("STOPPING=1")
        with trio.move_on_after(STOP_GRACE_S):
            for callback in reversed(self._on_stop):
                await callback()


def run_service(name: str, main: Main, argv: list[str] | None = None) -> NoReturn:
    """Run `main` until it returns or is told to stop, then exit the process.

    Exit code 0: stopped; 1: could not start (StartError, unreadable config); 2: crashed."""
    code = EXIT_CRASHED
    try:
        code = _run(name, main, sys.argv[1:] if argv is None else argv)
    finally:
        sys.stderr.flush()
        os._exit(code)  # no interpreter teardown: nothing is left to do, and memory maps are large


def _run(name: str, main: Main, argv: list[str]) -> int:
    _die_with_the_supervisor()
    config_path = _config_argument(name, argv)
    if config_path is None:
        return EXIT_CRASHED
    sink = log.setup(log.INFO)
    try:
        config = runtime.load(config_path)
    except runtime.ConfigFileError as error:
        return _failed(name, str(error), sink)
    if sink is None:
        log.setup(log.parse_level(config.log_level), config.log_json)
    else:
        log.set_level(log.parse_level(config.log_level))
        sink.read_levels()  # the supervisor may want more than the file says: somebody monitors
    metrics.apply(config.telemetry)
    context = ServiceContext(name, config_path, config, supervised=sink is not None)
    try:
        trio.run(_supervise, context, main, sink)
    except StartError as error:
        return _failed(name, str(error), sink)
    except BaseException as error:
        start_error = _only_start_error(error)
        if start_error is not None:
            return _failed(name, str(start_error), sink)
        _log_crash(name, error)
        _finish(sink)
        return EXIT_CRASHED
    _finish(sink)
    return EXIT_OK


async def _supervise(context: ServiceContext, main: Main, sink: log.SocketSink | None) -> None:
    # The receiver is the outer one: it must live until the task that reads it has ended.
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async with trio.open_nursery() as background:
            body = trio.CancelScope()
            background.start_soon(_handle_signals, signals, context, body)
            background.start_soon(_keep_alive)
            if sink is not None:
                background.start_soon(_pump_log, sink)
                background.start_soon(_follow_levels, sink)
            if metrics.has_sinks(context.config.telemetry):
                from shared.metrics import sinks

                # rpc_core is there in every mode of an agent: it speaks for all.
                whole_agent = context.name == "rpc_core"
                background.start_soon(partial(sinks.run, context.config.telemetry, whole_agent=whole_agent))
            with body:
                await main(context)
            background.cancel_scope.cancel()


async def _handle_signals(signals: AsyncIterator[int], context: ServiceContext, body: trio.CancelScope) -> None:
    async with trio.open_nursery() as nursery:
        async for number in signals:
            if number == signal.SIGHUP:
                nursery.start_soon(context.reload)
            elif context.stopping.is_set():
                os._exit(EXIT_START_FAILED)  # asked twice: at once
            else:
                nursery.start_soon(_stop, context, body)


async def _stop(context: ServiceContext, body: trio.CancelScope) -> None:
    await context._stop()
    body.cancel()


async def _keep_alive() -> None:
    """WATCHDOG=1 as often as the manager asks: it proves that the event loop turns."""
    interval_s = notify.watchdog_interval_s()
    if interval_s is None:
        return
    while True:
        notify.notify("WATCHDOG=1")
        await trio.sleep(interval_s)


async def _pump_log(sink: log.SocketSink) -> None:
    """Send what gathered during one turn of the loop in one call."""
    pending = trio.Event()

    def on_pending() -> None:
        pending.set()

    sink.on_pending = on_pending
    try:
        while not sink.closed:
            await pending.wait()
            pending = trio.Event()
            while not sink.flush():
                await trio.lowlevel.wait_writable(sink.connection)
    finally:
        sink.on_pending = None


async def _follow_levels(sink: log.SocketSink) -> None:
    """Take level changes from the supervisor; without a supervisor there is nothing to run for."""
    while sink.read_levels():
        await trio.lowlevel.wait_readable(sink.connection)
    os.kill(os.getpid(), signal.SIGTERM)


def _config_argument(name: str, argv: list[str]) -> str | None:
    if len(argv) == 2 and argv[0] == "--config":
        return argv[1]
    if len(argv) == 1 and argv[0].startswith("--config="):
        return argv[0].removeprefix("--config=")
    sys.stderr.write(f"usage: python -m services.{name} --config FILE\n")
    return None


def _die_with_the_supervisor() -> None:
    """A child of our supervisor must not outlive it: the next agent needs its ports and its state store."""
    parent = os.environ.get(SUPERVISOR_PID_VARIABLE)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if str(os.getppid()) != parent:  # it died between fork and prctl
        os._exit(EXIT_START_FAILED)


def _failed(name: str, reason: str, sink: log.SocketSink | None) -> int:
    """Below our supervisor the reason travels with the notification, and the supervisor prints it once."""
    if sink is None or not notify.notify(f"{START_ERROR_FIELD}={_one_line(reason)}"):
        log.get_logger("agent").error(f"Error starting {name}", error=reason)
    _finish(sink)
    return EXIT_START_FAILED


def _one_line(text: str) -> str:
    """As the fields of notifications have to be; the supervisor makes lines of it again."""
    return text.replace("\n", "\x1f")


def _finish(sink: log.SocketSink | None) -> None:
    if sink is not None:
        sink.drain(timeout_s=0.5)


def _only_start_error(error: BaseException) -> StartError | None:
    """The StartError in (groups of) exceptions that hold nothing else."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, StartError) else None


def _log_crash(name: str, error: BaseException) -> None:
    """One line that names the place for everyone, the whole traceback for those who debug."""
    logger = log.get_logger("agent")
    innermost = error
    while isinstance(innermost, BaseExceptionGroup):
        innermost = innermost.exceptions[0]
    frames = traceback.extract_tb(innermost.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown"
    logger.error("component crashed", component=name, error=f"{type(innermost).__name__}: {innermost}", at=place)
    if logger.enabled(log.DEBUG):
        logger.debug("".join(["traceback of the crash:\n", *traceback.format_exception(error)]).rstrip())
