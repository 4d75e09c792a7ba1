"""Many blocked queries over many services while one instance of one service flaps.

Every watcher has a connection of its own, as a client of its own would, and asks again as soon as it is answered."""

from __future__ import annotations

import http.client
import json
import re
import resource
import select
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

PORT = 8500
PATIENCE_S = 120.0
_WAIT = "10m"
_CONNECTED_AT_ONCE = 200
_INDEX = re.compile(rb"\r\nX-Consul-Index: (\d+)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """last_ms: from a change until the last watcher of that service has its answer, the median of all changes.
    cpu_ms: of the agent, for one change. woken: answers that watchers of other services got in vain."""

    last_ms: float
    cpu_ms: float
    woken: int


class Watcher:
    """One connection. `answered` says whether the bytes that came complete an answer."""

    __slots__ = ("_buffer", "index", "path", "sock")

    def __init__(self, address: str, service: str) -> None:
        self.path = f"/v1/health/service/{service}"
        self.sock = socket.create_connection((address, PORT), timeout=PATIENCE_S)
        self.index = 0
        self._buffer = b""

    def ask(self) -> None:
        query = f"?index={self.index}&wait={_WAIT}" if self.index else ""
        self.sock.sendall(f"GET {self.path}{query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def answered(self) -> bool:
        """Raises AssertionError for anything but success."""
        data = self.sock.recv(65536)
        assert data, f"the connection that watches {self.path} was closed"
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        assert head.startswith(b"HTTP/1.1 200"), head
        length = _LENGTH.search(head + b"\r\n")
        if not (len(body) >= int(length[1]) if length else body.endswith(b"\r\n0\r\n\r\n")):
            return False
        index = _INDEX.search(head + b"\r\n")
        assert index is not None, head
        self.index, self._buffer = int(index[1]), b""
        return True


class Watchers:
    def __init__(self, address: str, count: int, services: list[str]) -> None:
        """Connects all, and blocks all. Raises AssertionError or OSError if one of them cannot."""
        self._address = address
        self._poll = select.epoll()
        self._by_fd: dict[int, Watcher] = {}
        for start in range(0, count, _CONNECTED_AT_ONCE):
            made = [
                Watcher(address, services[number % len(services)])
                for number in range(start, min(start + _CONNECTED_AT_ONCE, count))
            ]
            for watcher in made:
                self._by_fd[watcher.sock.fileno()] = watcher
                self._poll.register(watcher.sock, select.EPOLLIN)
                watcher.ask()
            self._collect({watcher.path for watcher in made}, len(made))
        for watcher in self._by_fd.values():
            watcher.ask()
        self.settle()

    def settle(self) -> None:
        """Lets the last requests arrive and block: nothing tells from outside that they have."""
        time.sleep(max(0.3, len(self._by_fd) / 5000))
        assert not self._poll.poll(0), "a watcher was answered before anything changed"

    def _collect(self, paths: set[str], wanted: int) -> int:
        """Reads until `wanted` watchers of `paths` have answers; how many others got one, which ask again."""
        others, deadline = 0, time.monotonic() + PATIENCE_S
        while wanted:
            assert time.monotonic() < deadline, f"{wanted} watchers were never answered"
            for fd, _ in self._poll.poll(1.0):
                watcher = self._by_fd[fd]
                if not watcher.answered():
                    continue
                if watcher.path in paths:
                    wanted -= 1
                else:
                    others += 1
                    watcher.ask()
        return others

    def change(self, service: str, write: Callable[[], None]) -> tuple[float, int]:
        """(milliseconds until the last watcher of `service` was answered, answers of others). All block again."""
        path = f"/v1/health/service/{service}"
        concerned = [watcher for watcher in self._by_fd.values() if watcher.path == path]
        started = time.perf_counter()
        write()
        others = self._collect({path}, len(concerned))
        last_ms = (time.perf_counter() - started) * 1000
        for watcher in concerned:
            watcher.ask()
        self.settle()
        return last_ms, others

    def close(self) -> None:
        for watcher in self._by_fd.values():
            watcher.sock.close()
        self._poll.close()


def allow_files(count: int) -> None:
    """This process and those it starts may have `count` open files. Raises ValueError if the system forbids it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ValueError(f"{count} open files are needed, {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def flap(watchers: Watchers, address: str, service: str, body: dict[str, object], changes: int,
         cpu_s: Callable[[], float]) -> Outcome:  # fmt: skip
    """The check of `body` turns critical and passing in turn. cpu_s: seconds the agent has used so far."""

    def write(status: str) -> Callable[[], None]:
        check = {"Node": body["Node"], "CheckID": "flapping", "Name": "flapping", "Status": status}
        text = json.dumps({**body, "SkipNodeUpdate": True, "Check": {**check, "ServiceID": _service_id(body)}})

        def send() -> None:
            connection = http.client.HTTPConnection(address, PORT, timeout=PATIENCE_S)
            connection.request("PUT", "/v1/catalog/register", text)
            assert connection.getresponse().status == 200
            connection.close()

        return send

    watchers.change(service, write("passing"))  # the check is new, which is another thing than its changes
    before, times, woken = cpu_s(), [], 0
    for number in range(changes):
        last_ms, others = watchers.change(service, write("passing" if number % 2 else "critical"))
        times.append(last_ms)
        woken += others
    return Outcome(statistics.median(times), (cpu_s() - before) / changes * 1000, woken)


def _service_id(body: dict[str, object]) -> object:
    service = body["Service"]
    assert isinstance(service, dict)
    return service["ID"]
