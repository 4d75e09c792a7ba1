"""A whole cluster on this host for development: each agent has a loopback address of its own, and the usual ports.

    deploy/run-dev.sh --servers 3 [--clients 2] [--first-address 127.0.0.1] [--data-dir DIR] [-- FLAGS FOR EVERY AGENT]

Prints where everything listens and who leads, then waits; Ctrl-C (or the end of any agent) ends all of them."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

READY_S = 60.0
STOP_S = 20.0
LOOK_INTERVAL_S = 0.2
PORTS = {"HTTP": 8500, "DNS": 8600, "server RPC": 8300, "Serf LAN": 8301, "Serf WAN": 8302}
LAST_LINES = 15
SETTINGS = "performance { raft_multiplier = 1 }"
"""Elections within two seconds instead of ten."""


@dataclass(slots=True)
class Node:
    """One agent. mode: the flags that say what it is. The log is what it prints."""

    name: str
    address: str
    directory: Path
    mode: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / "agent.log"

    @property
    def is_client(self) -> bool:
        return not self.mode

    def start(self, join: Sequence[str], extra: Sequence[str]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "cli.main", "agent", *self.mode]
        command += ["-node", self.name, "-bind", self.address, "-client", self.address]
        command += ["-data-dir", str(self.directory / "data"), "-retry-interval", "1s", "-hcl", SETTINGS]
        for address in join:
            command += ["-retry-join", address]
        with open(self.log, "ab") as log:
            # A session of its own: Ctrl-C reaches this program alone, which then ends the agents in order.
            self.process = subprocess.Popen(
                [*command, *extra], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def exit_code(self) -> int | None:
        return None if self.process is None else self.process.poll()

    def leader(self) -> str:
        """Whom it takes for the leader, "" while there is none or it does not answer."""
        connection = http.client.HTTPConnection(self.address, PORTS["HTTP"], timeout=5)
        try:
            connection.request("GET", "/v1/status/leader")
            return str(json.loads(connection.getresponse().read()))
        except (OSError, ValueError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def last_lines(self) -> str:
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:])
        except OSError:
            return ""


class DevClusterError(Exception):
    """Why there is no cluster (any more). The text says what to do."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="run-dev.sh", description="Start a development cluster on loopback addresses of this host."
    )
    parser.add_argument("--servers", type=int, default=3, metavar="N", help="servers to start (default 3)")
    parser.add_argument("--clients", type=int, default=0, metavar="N", help="client agents to start (default 0)")
    parser.add_argument(
        "--first-address",
        default="127.0.0.1",
        metavar="IP",
        help="loopback address of the first node; the others have those that follow (default 127.0.0.1)",
    )
    parser.add_argument("--data-dir", metavar="DIR", help="keep data and logs here, instead of in a temporary place")
    parser.add_argument("extra", nargs="*", metavar="-- FLAG", help="flags for every agent, behind --")
    options = parser.parse_args(arguments)
    if options.servers < 1:
        parser.error("--servers: a cluster has at least one")
    if options.clients < 0:
        parser.error("--clients: there cannot be less than none")
    try:
        first = ipaddress.IPv4Address(options.first_address)
        last = first + (options.servers + options.clients - 1)
    except ValueError as error:
        parser.error(f"--first-address: {error}")
    if not (first.is_loopback and last.is_loopback):
        parser.error("--first-address: every node needs an address within 127.0.0.0/8")
    return options


def nodes_of(options: argparse.Namespace, directory: Path) -> list[Node]:
    """Servers first."""
    first = ipaddress.IPv4Address(options.first_address)
    names = [f"server{number + 1}" for number in range(options.servers)]
    names += [f"client{number + 1}" for number in range(options.clients)]
    servers = ("-server", f"-bootstrap-expect={options.servers}")
    return [
        Node(name, str(first + number), directory / name, servers if number < options.servers else ())
        for number, name in enumerate(names)
    ]


def check_alive(nodes: Sequence[Node]) -> None:
    """Raises DevClusterError if one has ended."""
    for node in nodes:
        if node.exit_code is not None:
            raise DevClusterError(
                f"{node.name} has ended with exit code {node.exit_code}; the end of {node.log}:\n{node.last_lines()}"
            )


def wait_for_leader(nodes: Sequence[Node]) -> str:
    """The address all agree on. Raises DevClusterError."""
    give_up_at = time.monotonic() + READY_S
    while time.monotonic() < give_up_at:
        check_alive(nodes)
        said = {node.leader() for node in nodes}
        if len(said) == 1 and "" not in said:
            return said.pop()
        time.sleep(LOOK_INTERVAL_S)
    raise DevClusterError(f"no leader within {READY_S:.0f} s; see the logs: {', '.join(str(n.log) for n in nodes)}")


def show(nodes: Sequence[Node], leader: str) -> None:
    width = max(len(node.name) for node in nodes)
    print(f"{_counted(nodes)}, datacenter dc1; ports: " + ", ".join(f"{n} {p}" for n, p in PORTS.items()))
    for node in nodes:
        note = "  (leader)" if leader.partition(":")[0] == node.address else ""
        print(
            f"  {node.name:<{width}}  http://{node.address}:{PORTS['HTTP']}  "
            f"dns {node.address}:{PORTS['DNS']}  log {node.log}{note}"
        )
    print(f"Commands: CONSUL_HTTP_ADDR={nodes[0].address}:{PORTS['HTTP']} proconsul members")
    print("Ctrl-C ends all of it.", flush=True)


def _counted(nodes: Sequence[Node]) -> str:
    clients = sum(node.is_client for node in nodes)
    servers = f"{len(nodes) - clients} server(s)"
    return f"{servers} and {clients} client(s)" if clients else servers


def stop(nodes: Sequence[Node]) -> None:
    """End all agents: they are asked, and after a while made to."""
    running = [node for node in nodes if node.process is not None and node.exit_code is None]
    for node in running:
        _signal(node, signal.SIGTERM)
    give_up_at = time.monotonic() + STOP_S
    for node in running:
        assert node.process is not None
        try:
            node.process.wait(max(0.0, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(node, signal.SIGKILL)
            node.process.wait()


def _signal(node: Node, number: int) -> None:
    assert node.process is not None
    with contextlib.suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            os.killpg(node.process.pid, number)
        else:
            node.process.send_signal(number)


@contextlib.contextmanager
def place(data_dir: str | None) -> Iterator[Path]:
    """Where the agents keep their things; a temporary place goes at the end."""
    if data_dir is not None:
        directory = Path(data_dir).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    directory = Path(tempfile.mkdtemp(prefix="proconsul-dev-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def run(options: argparse.Namespace) -> int:
    """The exit code: 0 after Ctrl-C, 1 if the cluster did not come up, or did not stay."""
    signal.signal(signal.SIGTERM, _interrupt)
    with place(options.data_dir) as directory:
        nodes = nodes_of(options, directory)
        try:
            for node in nodes:
                node.start([other.address for other in nodes if not other.is_client], options.extra)
            print(f"Starting {_counted(nodes)}, logs in {directory} ...", flush=True)
            show(nodes, wait_for_leader(nodes))
            while True:
                time.sleep(LOOK_INTERVAL_S)
                check_alive(nodes)
        except DevClusterError as error:
            print(f"run-dev.sh: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Stopping ...", flush=True)
            return 0
        finally:
            # A second Ctrl-C must not leave agents behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            stop(nodes)


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:])))
