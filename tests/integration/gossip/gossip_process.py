"""One gossip process by itself, as `python -m services.gossip` runs it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import trio

from shared.config import runtime
from shared.config.runtime import RuntimeConfig
from shared.ipc import IpcError, Link

ROOT = Path(__file__).resolve().parents[3]


class GossipProcess:
    """Started with `with`; killed at its end. `config`: changes to a dev agent's configuration."""

    def __init__(self, address: str, directory: Path, name: str, **config: Any) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.address = address
        self.name = name
        self.config = RuntimeConfig.dev(directory, node_name=name, bind_addr=address, **config)
        self._file = directory / "agent.json"
        self._log = directory / "gossip.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "GossipProcess":
        self.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.kill()

    def start(self) -> None:
        if self._file.exists():
            self._file.unlink()
        runtime.dump(self.config, self._file)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PROCONSUL_")}
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.gossip", "--config", str(self._file)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def stop(self, timeout_s: float = 30.0) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def wait_exit(self, timeout_s: float = 30.0) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def rss_bytes(self) -> int:
        assert self.process is not None
        for line in Path("/proc", str(self.process.pid), "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the process is gone")

    def cpu_s(self) -> float:
        assert self.process is not None
        fields = Path("/proc", str(self.process.pid), "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.asynccontextmanager
    async def link(self) -> AsyncIterator["Caller"]:
        async with trio.open_nursery() as nursery:
            link = Link(self.config.socket_path("gossip"), name="test")
            await nursery.start(link.run)
            yield Caller(link)
            nursery.cancel_scope.cancel()


class Caller:
    """Calls to one gossip process."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def __call__(self, method: str, timeout_s: float = 30.0, **payload: Any) -> Any:
        return await self.link.call(f"Gossip.{method}", payload, timeout_s=timeout_s)

    async def keyring(self, operation: str, key: str = "", relay_factor: int = 0) -> Any:
        """The answer of all members of the LAN pool. A query ends before a slow member answers: it is repeated."""
        known = len(await self.statuses())
        with trio.fail_after(30):
            while True:
                answer = await self("Keyring", pool="lan", operation=operation, key=key, relay_factor=relay_factor)
                if answer["NumResp"] == known:
                    return answer

    async def statuses(self, pool: str = "lan") -> dict[str, int]:
        return {one["Name"]: one["Status"] for one in await self("Members", pool=pool)}

    async def wait_statuses(self, expected: dict[str, int], pool: str = "lan", timeout_s: float = 40.0) -> None:
        seen: dict[str, int] = {}
        with trio.move_on_after(timeout_s):
            while True:
                with contextlib.suppress(IpcError):
                    seen = await self.statuses(pool)
                if seen == expected:
                    return
                await trio.sleep(0.02)
        raise AssertionError(f"{pool} members are {seen}, expected {expected}")


async def wait_for(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(0.01)
