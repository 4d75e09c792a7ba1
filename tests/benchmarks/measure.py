"""Single measurements against one running agent: wrk, dnsperf, blocked watchers, CPU and memory of its processes."""

from __future__ import annotations

import re
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_PUT_SCRIPT = """
local n = 0
local id = 0
function setup(thread) thread:set("id", id); id = id + 1 end
request = function()
  n = n + 1
  return wrk.format("PUT", "/v1/kv/bench/" .. ((n * 7919 + id * 104729) % 10000), nil, "value-" .. n)
end
"""
_REGISTER_SCRIPT = """
local n = 0
request = function()
  n = n + 1
  local k = n % 500
  return wrk.format("PUT", "/v1/catalog/register", nil, string.format(
    '{"Node":"node-%d","Address":"10.1.%d.%d","SkipNodeUpdate":%s,"Service":{"Service":"reg-%d","ID":"reg-%d","Port":%d}}',
    k, math.floor(k / 250), k % 250, "false", k % 50, k, 1000 + n % 60000))
end
"""


def wrk(url: str, connections: int, seconds: float, script: str | None = None) -> tuple[float, float]:
    """Requests per second and median latency in ms. Raises AssertionError if any answer was no success."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "20s"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script is not None:
            file.write(script)
            file.flush()
            command += ["-s", file.name]
        result = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 60, check=True)
    text = result.stdout
    assert "Non-2xx" not in text, text
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s|m)", text)
    assert rate is not None, text
    latency_ms = float(median[1]) * _UNITS_MS[median[2]] if median else float("nan")
    return float(rate[1]), latency_ms


def put(base: str, connections: int, seconds: float) -> tuple[float, float]:
    return wrk(base, connections, seconds, _PUT_SCRIPT)


def register(base: str, connections: int, seconds: float) -> tuple[float, float]:
    return wrk(base, connections, seconds, _REGISTER_SCRIPT)


def dnsperf(address: str, names: Iterable[str], seconds: float, clients: int = 16) -> float:
    """Queries per second."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(name + "\n" for name in names)
        file.flush()
        command = ["dnsperf", "-s", address, "-p", "8600", "-d", file.name, "-c", str(clients), "-q", "100"]
        command += ["-l", f"{seconds:g}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    rate = re.search(r"Queries per second:\s+([\d.]+)", result.stdout)
    assert rate is not None, result.stdout
    assert re.search(r"Response codes:\s+NOERROR \d+ \(100\.00%\)", result.stdout), result.stdout
    return float(rate[1])


def _exchange(address: str, request: bytes) -> bytes:
    with socket.create_connection((address, 8500), timeout=20) as sock:
        sock.sendall(request)
        reply = b""
        while b"\r\n\r\n" not in reply:
            data = sock.recv(65536)
            if not data:
                break
            reply += data
        return reply


def watchers(address: str, count: int) -> tuple[float, float]:
    """Milliseconds from a write until the first and the last of `count` blocked queries on its key are answered."""
    key = b"/v1/kv/bench/watched"
    head = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    _exchange(address, b"PUT " + key + head + b"Content-Length: 1\r\n\r\n1")
    reply = _exchange(address, b"GET " + key + head + b"\r\n")
    index = re.search(rb"X-Consul-Index: (\d+)", reply, re.IGNORECASE)
    assert index is not None, reply
    selector = selectors.DefaultSelector()
    sockets = []
    for number in range(count):
        sock = socket.create_connection((address, 8500), timeout=20)
        sock.sendall(b"GET " + key + b"?wait=120s&index=" + index[1] + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
        sockets.append(sock)
        if number % 50 == 49:
            time.sleep(0.01)
    time.sleep(1.0)  # let the last of them arrive and block; nothing tells from outside that they have
    assert not selector.select(0), "a watcher was answered before the write"
    started = time.perf_counter()
    _exchange(address, b"PUT " + key + head + b"Content-Length: 1\r\n\r\n2")
    first_ms, waiting = 0.0, count
    while waiting and time.perf_counter() - started < 60:
        for ready, _ in selector.select(1):
            sock = ready.fileobj
            assert isinstance(sock, socket.socket)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200"), "a watcher got no success"
            selector.unregister(sock)
            first_ms = first_ms or (time.perf_counter() - started) * 1000
            waiting -= 1
    last_ms = (time.perf_counter() - started) * 1000
    for sock in sockets:
        sock.close()
    assert waiting == 0, f"{waiting} of {count} watchers were never answered"
    return first_ms, last_ms


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that the processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def pss_mb(pids: Iterable[int]) -> float:
    """Proportional set size of the processes together, in MiB."""
    total_kb = 0
    for pid in pids:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        total_kb += int(found[1]) if found else 0
    return total_kb / 1024
