"""Hosts of their own on one machine: network namespaces on a bridge, with links that can be cut.

Needs the rights of root over the network and iproute2; `why_not` says what is missing. A namespace and all in it ends
with `close`. The bridge lives in a namespace too, `entered` from a thread of the test: whatever the thread opens or
starts there can reach every host, and nothing outside can."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_PREFIX = "10.99.0."
_HUB_ADDRESS = f"{_PREFIX}254"
_TIMEOUT_S = 60.0


def why_not() -> str:
    """What keeps this machine from having hosts of its own, "" if nothing does."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        network = Network(1)
    except (OSError, subprocess.SubprocessError) as error:
        return f"no network namespaces here: {error}"
    network.close()
    return ""


class Network:
    """`hosts` namespaces with the addresses `address(0)` and so on, all connected."""

    def __init__(self, hosts: int) -> None:
        self._id = f"pc{os.getpid()}"
        self._hub = f"{self._id}hub"
        self._names = [f"{self._id}n{number}" for number in range(hosts)]
        self._cut: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        for name in (self._hub, *self._names):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "addr", "add", f"{_HUB_ADDRESS}/24", "dev", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        for number, name in enumerate(self._names):
            _ip("-n", self._hub, "link", "add", f"port{number}", "type", "veth", "peer", "eth0", "netns", name)
            _ip("-n", self._hub, "link", "set", f"port{number}", "master", "bridge", "up")
            _ip("-n", name, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")

    def address(self, host: int) -> str:
        return f"{_PREFIX}{host + 1}"

    def command(self, host: int) -> list[str]:
        """What to put before a command for it to run on this host."""
        return ["ip", "netns", "exec", self._names[host]]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread among the hosts, until the end of the block."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            hub = os.open(Path("/run/netns", self._hub), os.O_RDONLY)
            try:
                _enter(hub)
            finally:
                os.close(hub)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    # ---- faults ------------------------------------------------------------------------------------------------

    def cut(self, source: int, target: int) -> None:
        """Nothing that `source` sends reaches `target` from now on; the way back stays."""
        with self._lock:
            if (source, target) not in self._cut:
                _ip("-n", self._names[source], "route", "add", "blackhole", f"{self.address(target)}/32")
                self._cut.add((source, target))

    def part(self, some: set[int]) -> None:
        """Nothing passes between `some` hosts and the others."""
        for one in range(len(self._names)):
            for other in range(len(self._names)):
                if (one in some) != (other in some):
                    self.cut(one, other)

    def heal(self) -> None:
        """All links are whole again."""
        with self._lock:
            for source, target in self._cut:
                _ip("-n", self._names[source], "route", "del", "blackhole", f"{self.address(target)}/32")
            self._cut.clear()

    @contextlib.contextmanager
    def slowed(self, host: int, rate: str) -> Iterator[None]:
        """What is sent to `host` comes no faster than `rate` (as tc writes it), until the end of the block."""
        bucket = ("dev", f"port{host}", "root")
        _run("tc", "-n", self._hub, "qdisc", "add", *bucket, "tbf", "rate", rate, "burst", "16kb", "latency", "1s")
        try:
            yield
        finally:
            _run("tc", "-n", self._hub, "qdisc", "del", *bucket)

    def close(self) -> None:
        for name in (*self._names, self._hub):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                _ip("netns", "del", name)


def _ip(*arguments: str) -> None:
    """Raises OSError with what `ip` said."""
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
