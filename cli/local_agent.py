"""The agent on this host: finding its run directory, and asking its supervisor over the local socket.

Not a command: what `ps` and `restart` share. Unlike the other commands they do not go over HTTP, so that they
work while http_gateway is down."""

from __future__ import annotations

import os

from cli.base.flags import FlagSet, StringFlag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUN_DIR_VARIABLE = "PROCONSUL_RUN_DIR"
_SOCKET = "supervisor.sock"
_TIMEOUT_S = 5.0


class LocalAgentError(Exception):
    """There is no such agent, or it does not answer. The text says what to do."""


class LocalFlags(FlagSet):
    """The flags that choose an agent."""

    def __init__(self) -> None:
        self.run_dir = StringFlag(
            "run-dir",
            "The agent's run directory. This can also be specified via the PROCONSUL_RUN_DIR environment variable. "
            "Not needed while one agent runs on this host.",
        )
        self.data_dir = StringFlag("data-dir", "The agent's data directory, instead of its run directory.")

    def find_run_dir(self) -> str:
        """The run directory meant. Raises LocalAgentError."""
        given = self.run_dir.value or ("" if self.data_dir.value else os.environ.get(RUN_DIR_VARIABLE, ""))
        if given:
            if not os.path.exists(os.path.join(given, _SOCKET)):
                raise LocalAgentError(f"no agent runs in {given}: there is no {_SOCKET}")
            return given
        if self.data_dir.value:
            return _run_dir_of(os.path.abspath(self.data_dir.value))
        return _only_agent()


def ask(run_dir: str, method: str, payload: Any = None, timeout_s: float = _TIMEOUT_S) -> Any:
    """One call to the supervisor. Raises LocalAgentError with the supervisor's own words where it has some."""
    import trio  # a tenth of a second that help texts need not pay

    from shared.ipc import DeadlineError, IpcError, Link, SocketPathError

    async def call() -> Any:
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            try:
                return await link.call(method, payload, timeout_s=timeout_s)
            except DeadlineError as error:
                return LocalAgentError(f"the supervisor in {run_dir} does not answer: {error}")
            except IpcError as error:
                return LocalAgentError(str(error))
            finally:
                nursery.cancel_scope.cancel()

    try:
        link = Link(os.path.join(run_dir, _SOCKET), name="proconsul")
    except SocketPathError as error:
        raise LocalAgentError(str(error)) from None
    answer = trio.run(call)
    if isinstance(answer, LocalAgentError):
        raise answer
    return answer


def _run_dir_of(data_dir: str) -> str:
    beside = os.path.join(data_dir, "run")
    if os.path.exists(os.path.join(beside, _SOCKET)):
        return beside
    for run_dir, config in _running():
        if config.data_dir and os.path.realpath(config.data_dir) == os.path.realpath(data_dir):
            return run_dir
    raise LocalAgentError(f"no agent runs on the data directory {data_dir}")


def _only_agent() -> str:
    running = _running()
    if not running:
        raise LocalAgentError("no agent of this user runs on this host; name another user's with -run-dir")
    if len(running) > 1:
        rows = [f"    {run_dir}  (node {config.node_name})" for run_dir, config in running]
        raise LocalAgentError("\n".join(["several agents run on this host, choose one with -run-dir:", *rows]))
    return running[0][0]


def _running() -> list[tuple[str, Any]]:
    """(run_dir, RuntimeConfig) of the agents of this user."""
    from shared.config import registry, runtime
    from shared.config.options import ConfigError

    found = []
    try:
        for agent in registry.running_agents():
            path = os.path.join(agent.run_dir, runtime.CONFIG_FILE_NAME)
            if os.path.exists(path):
                found.append((agent.run_dir, runtime.load(path)))
    except (ConfigError, runtime.ConfigFileError) as error:
        raise LocalAgentError(str(error)) from None
    return found
