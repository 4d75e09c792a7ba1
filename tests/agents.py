"""Whole agents as real processes, ours and the real Consul 1.8.7, behind one interface.

    agent = Agent(loopback(), tmp_path)            # or RealConsul(loopback(), tmp_path, binary)
    with agent.running():                          # start, wait until it serves, stop at the end
        assert agent.http("PUT", "/v1/kv/a", b"1").body == b"true"
        agent.kill("raft_node")

Everything is synchronous and has a deadline: in a trio test call it through `trio.to_thread.run_sync`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal as signals
import socket
import struct
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

COMPONENTS = ("raft_node", "gossip", "rpc_core", "dns_frontend", "http_gateway")
T = TypeVar("T")
PATIENCE_S = 30.0
"""How long a condition is waited for that comes in a moment on a machine with nothing else to do."""

ALONE = ("-server", "-bootstrap-expect=1")
_ESTABLISHED, _CLOSE_WAIT = "01", "08"
"""States as in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def wait_until(condition: Callable[[], T], timeout_s: float = PATIENCE_S, what: str = "the condition") -> T:
    """The first truthy value of `condition()`; AssertionError after `timeout_s`. No answer, and one of another shape
    (an error's text, null for what is not there yet), count as not yet."""
    deadline = time.monotonic() + timeout_s
    last_error: Exception | None = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, http.client.HTTPException, TypeError, LookupError, ValueError) as error:
            last_error = error
        if time.monotonic() > deadline:
            found = repr(last_error) if last_error else "stayed false"
            raise AssertionError(f"waited {timeout_s} s in vain for {what}: {found}") from last_error
        time.sleep(0.01)


def is_dead(pid: int) -> bool:
    """Whether a process has ended, with all its threads; who inherited it may take a second to collect it."""
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


class _Process(ABC):
    """What both kinds of agents have in common: a process group, its output in a file, an HTTP port."""

    def __init__(self, address: str, directory: Path, arguments: Sequence[str], http_port: int) -> None:
        self.address = address
        self.directory = directory
        self.arguments = list(arguments)
        self.http_port = http_port
        self.output_path = directory / "output.log"
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def command(self) -> list[str]:
        """The program with its arguments."""

    def environment(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if not key.startswith(("CONSUL_", "PROCONSUL_"))}

    def start(self) -> None:
        """Start without waiting. Output of earlier starts is kept above the new one's."""
        assert self.process is None or self.process.poll() is not None, "already running"
        with open(self.output_path, "ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                start_new_session=True,
            )

    def wait_ready(self, timeout_s: float = 2 * PATIENCE_S) -> None:
        """Wait until there is a leader (writes are accepted) and the start is complete (signals mean what they say)."""

        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"the agent exited with {self.process.returncode}:\n{self.output()}")
            return b":" in self.http("GET", "/v1/status/leader", timeout_s=5).body

        try:
            wait_until(ready, timeout_s, f"a leader at {self.address}")
            if "-log-json" not in self.arguments:
                wait_until(lambda: "==> Consul agent running!" in self.output(), timeout_s, "the end of the start")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None

    @contextlib.contextmanager
    def running(self, timeout_s: float = 2 * PATIENCE_S) -> Iterator[None]:
        try:
            self.start()
            self.wait_ready(timeout_s)
            yield
        finally:
            self.destroy()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def output(self) -> str:
        """All that the agent printed so far, both streams."""
        return self.output_path.read_text("utf-8", "replace") if self.output_path.exists() else ""

    def wait_output(self, text: str, timeout_s: float = PATIENCE_S) -> str:
        """Wait until `text` was printed; the whole output."""
        try:
            wait_until(lambda: text in self.output(), timeout_s, f"{text!r} in the output")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output()}") from None
        return self.output()

    def http(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | list[Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> Response:
        """One request on a connection of its own. Objects are sent as JSON."""
        if isinstance(body, dict | list):
            body = json.dumps(body)
        connection = http.client.HTTPConnection(self.address, self.http_port, timeout=timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait_exit(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code. Negative for a death by signal, as in subprocess."""
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the agent did not exit within {timeout_s} s\n{self.output()}") from None

    def stop(self, number: int = signals.SIGTERM, timeout_s: float = PATIENCE_S) -> int:
        """Signal and wait: the exit code."""
        self.signal(number)
        return self.wait_exit(timeout_s)

    def connections(self, port: int) -> int:
        """How many it has on a TCP port from others: open ones, and those whose client has gone without its notice yet.

        A real server may call itself at any time, from its own address."""
        (address,) = struct.unpack("=I", socket.inet_aton(self.address))
        local = f"{address:08X}:{port:04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return sum(
            row[1] == local and not row[2].startswith(f"{address:08X}:") and row[3] in (_ESTABLISHED, _CLOSE_WAIT)
            for row in rows
        )

    def wait_quiet(self, port: int) -> None:
        """Wait until the clients of earlier tests are gone for the agent, too: they count for its limits until then."""
        wait_until(lambda: self.connections(port) == 0, what=f"the end of all connections to port {port}")

    def children(self) -> dict[int, list[str]]:
        """Direct children of the agent: pid -> command line. Empty for the real Consul."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError):
                stat = Path("/proc", entry, "stat").read_text()
                state, parent = stat.rpartition(")")[2].split()[:2]
                if int(parent) == self.pid and state != "Z":
                    words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
                    found[int(entry)] = [word.decode() for word in words if word]
        return found

    def destroy(self) -> None:
        """End every process of it, whatever state they are in. Safe to call twice."""
        if self.process is None:
            return
        remains = [] if self.process.poll() is not None else list(self.children())
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        for pid in remains:  # the supervisor's death takes them along; this is for the case that it does not
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signals.SIGKILL)


class _Configured(_Process):
    """What both take: where they live, what they are, what they are told.

    dev: a dev agent, else one with a data dir. mode: without `dev` the flags that say what it is; a server alone
    without them. config: what its file says."""

    def __init__(
        self,
        address: str,
        directory: Path,
        arguments: Sequence[str] = (),
        *,
        dev: bool = True,
        node_name: str = "node1",
        config: dict[str, Any] | None = None,
        http_port: int = 8500,
        mode: Sequence[str] | None = None,
    ) -> None:
        super().__init__(address, directory, arguments, http_port)
        self.dev = dev
        self.mode = mode
        self.node_name = node_name
        self.config = config
        self.data_dir = directory / "data"

    @abstractmethod
    def program(self) -> list[str]:
        """What comes before the subcommand."""

    def command(self) -> list[str]:
        command = [*self.program(), "agent", *self._mode()]
        command += ["-bind", self.address, "-client", self.address, "-node", self.node_name]
        if self.config is not None:
            path = self.directory / "config.json"
            path.write_text(json.dumps(self.config))
            command += ["-config-file", str(path)]
        return [*command, *self.arguments]

    def _mode(self) -> list[str]:
        if self.dev:
            return ["-dev"]
        return [*(ALONE if self.mode is None else self.mode), "-data-dir", str(self.data_dir)]

    def cli(self, *arguments: str, timeout_s: float = 2 * PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """The program with `arguments`, asking this agent."""
        environment = {**self.environment(), "CONSUL_HTTP_ADDR": f"{self.address}:{self.http_port}"}
        command = [*self.program(), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)


class Agent(_Configured):
    """`proconsul agent`."""

    def __init__(self, address: str, directory: Path, arguments: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(address, directory, arguments, **settings)
        self.run_dir = directory / "run"

    def program(self) -> list[str]:
        return [sys.executable, "-m", "cli.main"]

    def command(self) -> list[str]:
        return [*super().command(), "-run-dir", str(self.run_dir)]

    def environment(self) -> dict[str, str]:
        own = {"PROCONSUL_RUN_DIR": str(self.run_dir), "XDG_RUNTIME_DIR": str(self.directory)}
        return {**super().environment(), **own}

    def pids(self) -> dict[str, int]:
        """component -> pid of those that live now. A process that has not become Python yet does not count."""
        prefix = "services."
        return {
            word.removeprefix(prefix): pid
            for pid, words in self.children().items()
            for word in words
            if word.startswith(prefix)
        }

    def kill(self, component: str, number: int = signals.SIGKILL) -> int:
        """Signal one component; the pid it had. One that is just being started again is waited for."""
        pid = wait_until(lambda: self.pids().get(component), what=f"a {component} to signal") or 0
        os.kill(pid, number)
        return pid

    def kill_everything(self) -> None:
        """SIGKILL to every process of the agent at once, as a power cut for processes; waits until they are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signals.SIGSTOP)  # it must not start anew what dies a moment before it
        everyone = [*self.children(), self.pid]
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signals.SIGKILL)
        self.wait_exit()
        wait_until(lambda: all(is_dead(pid) for pid in everyone[:-1]), what="their end")

    def wait_restarted(self, component: str, old_pid: int, timeout_s: float = PATIENCE_S) -> int:
        """Wait until another process stands in for `old_pid`; its pid."""

        def successor() -> int | None:
            pid = self.pids().get(component)
            return pid if pid != old_pid else None

        return wait_until(successor, timeout_s, f"a new {component}") or 0


class RealConsul(_Configured):
    """The real Consul 1.8.7, started with the same settings as `Agent`."""

    def __init__(
        self, address: str, directory: Path, binary: Path, arguments: Sequence[str] = (), **settings: Any
    ) -> None:
        super().__init__(address, directory, arguments, **settings)
        self.binary = binary

    def program(self) -> list[str]:
        return [str(self.binary)]


@contextlib.contextmanager
def all_running(*agents: Agent | RealConsul) -> Iterator[None]:
    """They start side by side, for each waits more than it computes; all serve inside."""
    try:
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.wait_ready()
        yield
    finally:
        for agent in agents:
            agent.destroy()


def wait_settled(agent: Agent | RealConsul) -> None:
    """Waits until the agent has written its own node, service and check, after which nothing moves by itself."""

    def settled() -> bool:
        name = agent.node_name
        answers = [agent.http("GET", path) for path in (f"/v1/health/node/{name}", f"/v1/catalog/node/{name}")]
        if any(answer.status != 200 for answer in answers):
            return False
        checks, entry = (answer.json() for answer in answers)
        if not checks or not entry:
            return False
        return bool(entry["Node"]["TaggedAddresses"] and entry["Node"]["ID"] and "consul" in entry["Services"])

    wait_until(settled, 2 * PATIENCE_S, f"{agent.node_name} in the catalog of {agent.address}")
